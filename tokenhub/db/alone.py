"""Transactions that must not overlap, though they touch no common row."""

from sqlalchemy import Connection, func, select


def one_at_a_time(connection: Connection, *what: str) -> None:
    """Wait until no other transaction holds this name, and hold it to the end of this one.

    On SQLite a writer is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("/".join(what), 0))))
