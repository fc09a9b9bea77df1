"""Revision counters: how a process learns, within a poll, that its in-memory snapshot is old.

Whoever changes keys, prices, routes, models or limits calls `bump` in the same transaction; a gateway
compares `current` with what it loaded and reloads on a difference.
"""

from sqlalchemy import Connection, text


def bump(connection: Connection) -> None:
    """Count one change of what gateways hold in memory; part of the caller's transaction."""
    connection.execute(
        text(
            "INSERT INTO revision (name, counter) VALUES ('snapshot', 1) "
            "ON CONFLICT (name) DO UPDATE SET counter = revision.counter + 1"
        )
    )


def current(connection: Connection) -> int:
    """The counter, 0 before the first change."""
    return int(connection.execute(text("SELECT counter FROM revision WHERE name = 'snapshot'")).scalar() or 0)
