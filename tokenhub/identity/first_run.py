"""The first start: one organisation, one owner, one admin key, one key for the CLI on this machine."""

import json
import os
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from tokenhub.config import Settings
from tokenhub.db.upsert import insert_for
from tokenhub.identity.keys import KeySpec, create_key
from tokenhub.identity.tables import organizations, users
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import InvalidRequest, Unavailable
from tokenhub.kernel.ids import new_id

ADMIN_KEY_LENGTH_MIN = 8


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What the first start made."""

    org_id: str
    user_id: str
    admin_key: str
    """The secret; print it once."""
    generated: bool
    """False if it came from TOKENHUB_ADMIN_KEY."""


def ensure_first_run(
    connection: Connection, settings: Settings, *, at_ms: int | None = None
) -> FirstRun | None:
    """Make the first organisation, user and keys exactly once; None if they exist.

    Also writes `home/credentials` (mode 0600), the CLI's key on this machine, before the caller commits, so
    no committed hub is without it. Raises: InvalidRequest if TOKENHUB_ADMIN_KEY is too short or no header could carry it.
    """
    at_ms = now_ms() if at_ms is None else at_ms
    if settings.admin_key and len(settings.admin_key) < ADMIN_KEY_LENGTH_MIN:
        raise InvalidRequest(
            f"TOKENHUB_ADMIN_KEY must have at least {ADMIN_KEY_LENGTH_MIN} characters.", param="admin_key"
        )
    if any(not "!" <= character <= "~" for character in settings.admin_key):
        raise InvalidRequest(
            "TOKENHUB_ADMIN_KEY must be letters, digits and signs of ASCII without spaces: it travels in a header.",
            param="admin_key",
        )
    org_id = _claim(connection, at_ms=at_ms)
    if org_id is None:
        return None
    user_id = new_id("user")
    connection.execute(
        insert(users).values(id=user_id, org_id=org_id, name="admin", role="owner", created_at_ms=at_ms)
    )
    admin = KeySpec(org_id=org_id, name="admin", scopes=frozenset({"*"}), user_id=user_id)
    created = create_key(connection, admin, at_ms=at_ms, secret=settings.admin_key or None)
    cli = KeySpec(org_id=org_id, name="cli", scopes=frozenset({"*"}), user_id=user_id)
    _write_credentials(settings, create_key(connection, cli, at_ms=at_ms).secret)
    return FirstRun(org_id, user_id, created.secret, generated=not settings.admin_key)


def local_operator(connection: Connection) -> Principal:
    """The owner of the state folder, who commands this hub without a key.

    Raises: Unavailable before the first start.
    """
    row = connection.execute(
        select(users.c.id, users.c.org_id)
        .where(users.c.role == "owner", users.c.disabled_at_ms.is_(None))
        .order_by(users.c.id)
        .limit(1)
    ).one_or_none()
    if row is None:
        raise Unavailable("This hub has not been started yet. Run `hub up` first.")
    return Principal(
        key_id="local",
        org_id=row.org_id,
        team_id=None,
        project_id=None,
        user_id=row.id,
        service_account_id=None,
        scopes=frozenset({"*"}),
        models=None,
        expires_at_ms=None,
        app="cli",
        parent_key_id=None,
    )


def operates(connection: Connection, principal: Principal) -> bool:
    """True for an administrator in person of the organisation that came with the hub: whose machine it is."""
    first = connection.execute(select(func.min(organizations.c.id))).scalar_one()
    return principal.administers and principal.org_id == first


def _claim(connection: Connection, *, at_ms: int) -> str | None:
    """The id of the first organisation if this transaction is the one that makes it."""
    if connection.execute(select(func.count()).select_from(organizations)).scalar_one():
        return None
    org_id = new_id("org")
    values = {"id": org_id, "name": "default", "created_at_ms": at_ms}
    claim = insert_for(connection, organizations).values(values).on_conflict_do_nothing()
    return connection.execute(claim.returning(organizations.c.id)).scalar_one_or_none()


def _write_credentials(settings: Settings, secret: str) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    path = settings.home / "credentials"
    new = path.with_name("credentials.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        json.dump({"key": secret}, handle)
    new.replace(path)
