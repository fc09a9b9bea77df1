"""Revision counters: how a process learns, within a poll, that its in-memory snapshot is old.

Whoever changes keys, prices, routes, models or limits calls `bump` in the same transaction; a gateway
compares `current` with what it loaded and reloads on a difference.
"""

from sqlalchemy import Connection, text

_BUMP = text(
    "INSERT INTO revision (name, counter) VALUES (:name, 1) "
    "ON CONFLICT (name) DO UPDATE SET counter = revision.counter + 1"
)


def bump(connection: Connection) -> None:
    """Count one change of what gateways hold in memory; part of the caller's transaction."""
    connection.execute(_BUMP, {"name": "snapshot"})


def bump_authority(connection: Connection) -> None:
    """Count one change of who may do what (policies, grants, stops, departments); gateways do not care."""
    connection.execute(_BUMP, {"name": "authority"})


def current(connection: Connection) -> int:
    """The counter, 0 before the first change."""
    return int(connection.execute(text("SELECT counter FROM revision WHERE name = 'snapshot'")).scalar() or 0)


def counters(connection: Connection) -> tuple[tuple[str, int], ...]:
    """Every counter; while it stays the same, whatever was read of identity and policies still holds."""
    rows = connection.exec_driver_sql("SELECT name, counter FROM revision ORDER BY name").all()
    return tuple((row[0], row[1]) for row in rows)
