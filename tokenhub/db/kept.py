"""A connection for one thread that works on a database all the time."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine

from tokenhub.db.driver import Cursor, Sql, sql

_DATA_VERSION = sql("PRAGMA data_version")


class Kept:
    """One connection that is kept between transactions, and with it what the database remembers for it: a transaction
    costs a third of one on a pooled connection. Opened when it is needed; given up after an error. Not thread-safe.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._version = -1

    @contextmanager
    def write(self) -> Generator[Connection, None, None]:
        """As `Database.write`."""
        with self._open() as connection, connection.begin():
            yield connection

    def look(self, statement: Sql, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows that one statement finds, in a transaction of its own."""
        with self._open() as connection:
            found = Cursor(connection).all(statement, values)
            connection.connection.rollback()
        return found

    def changed(self) -> bool:
        """True unless it is known that no other connection has changed anything since this was asked last."""
        if self._engine.dialect.name != "sqlite":
            return True
        [(version,)] = self.look(_DATA_VERSION, ())
        before, self._version = self._version, version
        return version != before

    def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        self._version = -1
        if connection is not None:
            with suppress(Exception):
                connection.invalidate()
            connection.close()

    @contextmanager
    def _open(self) -> Generator[Connection, None, None]:
        if self._connection is None:
            self._connection = self._engine.connect()
        whole = False
        try:
            yield self._connection
            whole = True
        finally:
            if not whole:
                self.close()
