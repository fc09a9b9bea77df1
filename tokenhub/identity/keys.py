"""API keys: make, find, load, delegate, rotate, revoke.

A key has an id, by which limits and books know it, and one or more secrets: a rotation adds a secret and lets
the old one expire after an overlap, so budgets and usage stay with the key. A key is live while it, its owner
and its parent are; a gateway learns of any change by `db.revision`, bumped in the same transaction.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, or_, select, update

from tokenhub.db import revision
from tokenhub.identity.errors import KeyNotFound
from tokenhub.identity.scopes import ROLES, narrow
from tokenhub.identity.secrets import hash_hex, hash_secret, new_secret, shown_prefix
from tokenhub.identity.tables import api_keys, key_secrets, projects, service_accounts, users
from tokenhub.identity.types import CreatedKey, KeyRecord, Principal
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import InvalidRequest, Unauthenticated
from tokenhub.kernel.ids import new_id

__all__ = [
    "KeySpec",
    "add_secret",
    "authenticate",
    "create_key",
    "delegate",
    "find_key",
    "hash_secret",
    "load_keys",
    "principal_of",
    "revoke_key",
    "rotate_key",
]

_NO_KEY = "No such API key, or it was revoked or has expired. Make one with `hub key create`."
_parent = api_keys.alias("parent")


@dataclass(frozen=True, slots=True)
class KeySpec:
    """What a new key is for. At most one of `user_id` and `service_account_id`."""

    org_id: str
    name: str
    scopes: frozenset[str]
    user_id: str | None = None
    service_account_id: str | None = None
    team_id: str | None = None
    project_id: str | None = None
    models: frozenset[str] | None = None
    expires_at_ms: int | None = None
    app: str = ""
    parent_key_id: str | None = None
    grant_id: str | None = None


def create_key(connection: Connection, spec: KeySpec, *, at_ms: int, secret: str | None = None) -> CreatedKey:
    """Insert a key with one secret; `secret` only for the first admin key of a scripted install."""
    key_id = insert_key(connection, spec, at_ms=at_ms)
    shown = secret or new_secret()
    _add_secret(connection, key_id, shown, at_ms=at_ms)
    revision.bump(connection)
    return CreatedKey(key_id, shown, shown_prefix(shown), spec.expires_at_ms)


def insert_key(connection: Connection, spec: KeySpec, *, at_ms: int) -> str:
    """Insert a key without a secret (console sessions act as one); returns its id."""
    key_id = new_id("key")
    connection.execute(
        insert(api_keys).values(
            id=key_id,
            org_id=spec.org_id,
            team_id=spec.team_id,
            project_id=spec.project_id,
            user_id=spec.user_id,
            service_account_id=spec.service_account_id,
            name=spec.name,
            scopes=json.dumps(sorted(spec.scopes)),
            models=None if spec.models is None else json.dumps(sorted(spec.models)),
            app=spec.app,
            parent_key_id=spec.parent_key_id,
            grant_id=spec.grant_id,
            created_at_ms=at_ms,
            expires_at_ms=spec.expires_at_ms,
        )
    )
    return key_id


def delegate(
    connection: Connection, principal: Principal, *, app: str, ttl_ms: int, at_ms: int | None = None
) -> CreatedKey:
    """A short-lived child of the caller's key, for one of the hub's own apps.

    It can do no more than its parent, ends with it, and counts on the parent's limits too. A child of a child
    hangs on the same root, so a chain is never longer than one.
    """
    at_ms = now_ms() if at_ms is None else at_ms
    ends = at_ms + ttl_ms
    spec = KeySpec(
        org_id=principal.org_id,
        name=f"{app} for {principal.actor}",
        scopes=principal.scopes,
        user_id=principal.user_id,
        service_account_id=principal.service_account_id,
        team_id=principal.team_id,
        project_id=principal.project_id,
        models=principal.models,
        expires_at_ms=ends if principal.expires_at_ms is None else min(ends, principal.expires_at_ms),
        app=app,
        parent_key_id=principal.parent_key_id or principal.key_id,
        grant_id=principal.grant_id,
    )
    return create_key(connection, spec, at_ms=at_ms)


def add_secret(connection: Connection, key_id: str, *, ttl_ms: int, at_ms: int) -> str:
    """One more secret of a key of the hub's own apps, for a while; the key's id, and so its books, stay the same."""
    secret = new_secret()
    _add_secret(connection, key_id, secret, at_ms=at_ms, expires_at_ms=at_ms + ttl_ms)
    revision.bump_secrets(connection)
    return secret


def rotate_key(
    connection: Connection, key_id: str, *, org_id: str, overlap_ms: int, at_ms: int
) -> CreatedKey:
    """Give the key a new secret; its old ones stop `overlap_ms` from now. Id, limits and books stay.

    Raises: NotFound; InvalidRequest for a revoked or delegated key.
    """
    row = connection.execute(
        select(api_keys).where(api_keys.c.id == key_id, api_keys.c.org_id == org_id)
    ).one_or_none()
    if row is None:
        raise KeyNotFound(f"No key {key_id!r}.", param="key")
    if row.revoked_at_ms is not None or row.app:
        raise InvalidRequest(f"Key {key_id} is revoked or belongs to an app; make a new one.", param="key")
    ends = at_ms + overlap_ms
    connection.execute(
        update(key_secrets)
        .where(
            key_secrets.c.key_id == key_id,
            func.coalesce(key_secrets.c.expires_at_ms, ends) >= ends,
        )
        .values(expires_at_ms=ends)
    )
    secret = new_secret()
    _add_secret(connection, key_id, secret, at_ms=at_ms)
    revision.bump(connection)
    return CreatedKey(key_id, secret, shown_prefix(secret), row.expires_at_ms)


def revoke_key(connection: Connection, key_id: str, *, org_id: str, at_ms: int) -> bool:
    """End a key and, through it, its children; True if it was live. Raises: NotFound."""
    mine = (api_keys.c.id == key_id) & (api_keys.c.org_id == org_id)
    changed = connection.execute(
        update(api_keys).where(mine, api_keys.c.revoked_at_ms.is_(None)).values(revoked_at_ms=at_ms)
    ).rowcount
    if not changed and connection.execute(select(api_keys.c.id).where(mine)).one_or_none() is None:
        raise KeyNotFound(f"No key {key_id!r}.", param="key")
    revision.bump(connection)
    return bool(changed)


def load_keys(connection: Connection, *, at_ms: int | None = None) -> list[KeyRecord]:
    """Every live key with every live secret, for a gateway's snapshot.

    `principal.expires_at_ms` is the earliest end of secret, key and parent: compare it on each request,
    because a key that expires changes no revision.
    """
    at_ms = now_ms() if at_ms is None else at_ms
    ahead = [
        or_(column.is_(None), column > at_ms)
        for column in (api_keys.c.expires_at_ms, key_secrets.c.expires_at_ms)
    ]
    rows = connection.execute(_secrets_query().where(api_keys.c.revoked_at_ms.is_(None), *ahead))
    return [_record(row) for row in rows if _dead(row, at_ms) is None]


def find_key(connection: Connection, hash: bytes, *, at_ms: int | None = None) -> KeyRecord | None:
    """The live key of one hash, or None; for a secret younger than the gateway's snapshot."""
    row = connection.execute(_BY_SECRET, {"hash_": hash.hex()}).one_or_none()
    if row is None or _dead(row, now_ms() if at_ms is None else at_ms) is not None:
        return None
    return _record(row)


def authenticate(connection: Connection, secret: str, *, at_ms: int | None = None) -> Principal:
    """The principal of a secret. Raises: Unauthenticated, saying why where the secret is a real one."""
    row = connection.execute(_BY_SECRET, {"hash_": hash_hex(secret)}).one_or_none()
    if row is None:
        raise Unauthenticated(_NO_KEY)
    reason = _dead(row, now_ms() if at_ms is None else at_ms)
    if reason is not None:
        raise Unauthenticated(f"{reason} Make a new key with `hub key create`.")
    return _record(row).principal


def principal_of(connection: Connection, key_id: str, *, at_ms: int) -> Principal:
    """The principal of a key that is known by id (a console session's). Raises: Unauthenticated."""
    row = connection.execute(_BY_ID, {"id_": key_id}).one_or_none()
    reason = _NO_KEY if row is None else _dead(row, at_ms)
    if row is None or reason is not None:
        raise Unauthenticated(reason or _NO_KEY)
    return _principal(row, ends=_earliest((row.expires_at_ms, row.parent_expires_at_ms)))


def why_ended(connection: Connection, key_id: str, *, at_ms: int) -> str | None:
    """Why this key counts no more; None if it does, or if there is none of this id (the owner of the state folder)."""
    row = connection.execute(_keys_query().where(api_keys.c.id == key_id)).one_or_none()
    return None if row is None else _dead(row, at_ms)


def _add_secret(
    connection: Connection, key_id: str, secret: str, *, at_ms: int, expires_at_ms: int | None = None
) -> None:
    connection.execute(
        insert(key_secrets).values(
            hash=hash_hex(secret),
            key_id=key_id,
            prefix=shown_prefix(secret),
            created_at_ms=at_ms,
            expires_at_ms=expires_at_ms,
        )
    )


_COLUMNS = (
    api_keys.c.id,
    api_keys.c.org_id,
    func.coalesce(api_keys.c.team_id, projects.c.team_id, users.c.team_id, service_accounts.c.team_id).label(
        "team_id"
    ),
    func.coalesce(api_keys.c.project_id, service_accounts.c.project_id).label("project_id"),
    api_keys.c.user_id,
    api_keys.c.service_account_id,
    api_keys.c.scopes,
    api_keys.c.models,
    api_keys.c.app,
    api_keys.c.parent_key_id,
    api_keys.c.grant_id,
    api_keys.c.expires_at_ms,
    api_keys.c.revoked_at_ms,
    func.coalesce(users.c.role, service_accounts.c.role).label("role"),
    func.coalesce(users.c.disabled_at_ms, service_accounts.c.disabled_at_ms).label("disabled_at_ms"),
    _parent.c.scopes.label("parent_scopes"),
    _parent.c.expires_at_ms.label("parent_expires_at_ms"),
    _parent.c.revoked_at_ms.label("parent_revoked_at_ms"),
)


def _joined() -> Any:
    return (
        api_keys.outerjoin(users, users.c.id == api_keys.c.user_id)
        .outerjoin(service_accounts, service_accounts.c.id == api_keys.c.service_account_id)
        .outerjoin(
            projects,
            projects.c.id == func.coalesce(api_keys.c.project_id, service_accounts.c.project_id),
        )
        .outerjoin(_parent, _parent.c.id == api_keys.c.parent_key_id)
    )


def _keys_query() -> Select[*tuple[Any, ...]]:
    return select(*_COLUMNS).select_from(_joined())


def _secrets_query() -> Select[*tuple[Any, ...]]:
    return select(
        *_COLUMNS, key_secrets.c.hash, key_secrets.c.expires_at_ms.label("secret_expires_at_ms")
    ).select_from(_joined().join(key_secrets, key_secrets.c.key_id == api_keys.c.id))


_BY_SECRET = _secrets_query().where(key_secrets.c.hash == bindparam("hash_"))
_BY_ID = _keys_query().where(api_keys.c.id == bindparam("id_"))
"""Made once: with every request, making them costs more than asking them."""


def _dead(row: Row[Any], at_ms: int) -> str | None:
    """Why the key of this row does not count at `at_ms`; None if it does."""
    fields = row._mapping  # pyright: ignore[reportPrivateUsage]  (SQLAlchemy's public name)
    if fields["revoked_at_ms"] is not None or fields["parent_revoked_at_ms"] is not None:
        return "This API key was revoked."
    if fields["disabled_at_ms"] is not None:
        return "The owner of this API key is disabled."
    ends = _earliest(
        (fields["expires_at_ms"], fields["parent_expires_at_ms"], fields.get("secret_expires_at_ms"))
    )
    return "This API key has expired." if ends is not None and ends <= at_ms else None


def _record(row: Row[Any]) -> KeyRecord:
    ends = _earliest((row.expires_at_ms, row.parent_expires_at_ms, row.secret_expires_at_ms))
    return KeyRecord(bytes.fromhex(row.hash), _principal(row, ends=ends))


def _principal(row: Row[Any], *, ends: int | None) -> Principal:
    scopes = frozenset(json.loads(row.scopes))
    if row.role is not None:
        scopes = narrow(scopes, ROLES[row.role])
    if row.parent_scopes is not None:
        scopes = narrow(scopes, json.loads(row.parent_scopes))
    return Principal(
        key_id=row.id,
        org_id=row.org_id,
        team_id=row.team_id,
        project_id=row.project_id,
        user_id=row.user_id,
        service_account_id=row.service_account_id,
        scopes=scopes,
        models=None if row.models is None else frozenset(json.loads(row.models)),
        expires_at_ms=ends,
        app=row.app,
        parent_key_id=row.parent_key_id,
        grant_id=row.grant_id,
    )


def _earliest(instants: Iterable[int | None]) -> int | None:
    return min((instant for instant in instants if instant is not None), default=None)
