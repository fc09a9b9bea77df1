"""Keys as people see them: never the secret, always whose they are and whether they count."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BindParameter, Connection, Row, Select, bindparam, func, or_, select
from sqlalchemy.types import String

from tokenhub.identity.errors import KeyNotFound
from tokenhub.identity.tables import api_keys, key_secrets, projects, service_accounts, teams, users
from tokenhub.identity.types import Principal

KeyStatus = Literal["live", "expired", "revoked", "disabled"]


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key of the organisation."""

    id: str
    name: str
    prefix: str
    """First characters of the newest secret; empty for a key that has none (a console session's)."""
    owner: str
    """Name of its user or service account; empty if it has none."""
    user_id: str | None
    service_account_id: str | None
    team: str | None
    project: str | None
    scopes: list[str]
    models: list[str] | None
    app: str
    parent_key_id: str | None
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    status: KeyStatus


def list_keys(
    connection: Connection,
    org_id: str,
    *,
    user_id: str | None,
    apps: bool,
    after: str | None,
    limit: int,
    at_ms: int,
) -> list[KeyEntry]:
    """At most `limit + 1` keys, newest first; of one user if given, without the apps' own unless asked."""
    query = _query(org_id).order_by(api_keys.c.id.desc()).limit(limit + 1)
    if user_id is not None:
        query = query.where(api_keys.c.user_id == user_id)
    if not apps:
        query = query.where(api_keys.c.app == "")
    if after is not None:
        query = query.where(api_keys.c.id < after)
    return [_entry(row, at_ms) for row in connection.execute(query)]


def find_entry(
    connection: Connection, org_id: str, named: str, *, at_ms: int, visible_to: Principal
) -> KeyEntry:
    """The key with this id, shown prefix or (if only one has it) name, among those that the caller may see:
    their own, or with the scope admin the organisation's. Raises: KeyNotFound.
    """
    whose = {"org_": org_id, "named_": named, "key_": visible_to.key_id, "user_": visible_to.user_id}
    rows = connection.execute(_NAMED[visible_to.allows("admin")], whose).all()
    entries = [
        _entry(row, at_ms) for row in rows if named in (row.id, row.name, row.prefix)
    ]  # an older secret's prefix names nothing
    exact = [entry for entry in entries if entry.id == named]
    live = [entry for entry in entries if entry.status == "live" and not entry.app]
    for candidates in (exact, live, entries):
        if len(candidates) == 1:
            return candidates[0]
    problem = f"Several keys are called {named!r}; name one by its id." if entries else f"No key {named!r}."
    raise KeyNotFound(problem, param="key", hint="List them with `hub key list`.")


def _newest_prefix() -> Any:
    return (
        select(key_secrets.c.prefix)
        .where(key_secrets.c.key_id == api_keys.c.id)
        .order_by(key_secrets.c.created_at_ms.desc(), key_secrets.c.expires_at_ms.is_not(None))
        .limit(1)
        .scalar_subquery()
    )


def _query(org_id: str | BindParameter[str]) -> Select[*tuple[Any, ...]]:
    return (
        select(
            api_keys,
            _newest_prefix().label("prefix"),
            func.coalesce(users.c.name, service_accounts.c.name, "").label("owner"),
            func.coalesce(users.c.disabled_at_ms, service_accounts.c.disabled_at_ms).label("disabled_at_ms"),
            teams.c.name.label("team"),
            projects.c.name.label("project"),
        )
        .select_from(
            api_keys.outerjoin(users, users.c.id == api_keys.c.user_id)
            .outerjoin(service_accounts, service_accounts.c.id == api_keys.c.service_account_id)
            .outerjoin(projects, projects.c.id == api_keys.c.project_id)
            .outerjoin(
                teams,
                teams.c.id
                == func.coalesce(
                    api_keys.c.team_id, projects.c.team_id, users.c.team_id, service_accounts.c.team_id
                ),
            )
        )
        .where(api_keys.c.org_id == org_id)
    )


def _named_query(*, everyones: bool) -> Select[*tuple[Any, ...]]:
    """By id, name or a secret's prefix; asked so that not every key's newest secret has to be found first."""
    named: BindParameter[str] = bindparam("named_")
    prefixed = select(key_secrets.c.key_id).where(key_secrets.c.prefix == named)
    query = _query(bindparam("org_")).where(
        or_(api_keys.c.id == named, api_keys.c.name == named, api_keys.c.id.in_(prefixed))
    )
    if not everyones:
        mine = or_(api_keys.c.id == bindparam("key_"), api_keys.c.user_id == bindparam("user_", type_=String))
        query = query.where(mine)
    return query.limit(20)


_NAMED = {everyones: _named_query(everyones=everyones) for everyones in (True, False)}


def _entry(row: Row[Any], at_ms: int) -> KeyEntry:
    status: KeyStatus = "live"
    if row.revoked_at_ms is not None:
        status = "revoked"
    elif row.disabled_at_ms is not None:
        status = "disabled"
    elif row.expires_at_ms is not None and row.expires_at_ms <= at_ms:
        status = "expired"
    return KeyEntry(
        id=row.id,
        name=row.name,
        prefix=row.prefix or "",
        owner=row.owner,
        user_id=row.user_id,
        service_account_id=row.service_account_id,
        team=row.team,
        project=row.project,
        scopes=json.loads(row.scopes),
        models=None if row.models is None else json.loads(row.models),
        app=row.app,
        parent_key_id=row.parent_key_id,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        revoked_at_ms=row.revoked_at_ms,
        status=status,
    )
