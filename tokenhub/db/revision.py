"""Revision counters: how a process learns, within a poll, that its in-memory snapshot is old.

Whoever changes keys, prices, routes, models or limits calls `bump` in the same transaction; a gateway
compares `current` with what it loaded and reloads on a difference.
"""

from sqlalchemy import Connection, text

from tokenhub.db.prepared import Prepared

_BUMP = text(
    "INSERT INTO revision (name, counter) VALUES (:name, 1) "
    "ON CONFLICT (name) DO UPDATE SET counter = revision.counter + 1"
)

_CURRENT = text("SELECT SUM(counter) FROM revision WHERE name IN ('snapshot', 'secrets')")
_COUNTERS = Prepared(text("SELECT name, counter FROM revision WHERE name <> 'secrets' ORDER BY name"))


def bump(connection: Connection) -> None:
    """Count one change of what gateways hold in memory; part of the caller's transaction."""
    connection.execute(_BUMP, {"name": "snapshot"})


def bump_authority(connection: Connection) -> None:
    """Count one change of who may do what (policies, grants, stops, departments); gateways do not care."""
    connection.execute(_BUMP, {"name": "authority"})


def bump_secrets(connection: Connection) -> None:
    """Count one secret more or less of a key that gateways know or forget; nobody's permission changes."""
    connection.execute(_BUMP, {"name": "secrets"})


def current(connection: Connection) -> int:
    """What moves whenever gateways must look again; 0 before the first change."""
    return int(connection.execute(_CURRENT).scalar() or 0)


def counters(connection: Connection) -> tuple[tuple[str, int], ...]:
    """Every counter but that of secrets; while it stays the same, whatever was read of identity and policies still holds."""
    return tuple((str(row[0]), int(row[1])) for row in _COUNTERS.rows(connection, {}))
