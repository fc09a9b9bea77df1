"""Statements that run for every command: compiled once, then put to the driver without SQLAlchemy in between.

What a short statement costs is mostly its making; this leaves the driver's own part. Only for texts, whole numbers and
null, and only inside a transaction that is open: errors are the ones that SQLAlchemy would raise.
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DBAPIError


class _Cursor(Protocol):
    description: object | None
    rowcount: int

    def execute(self, sql: str, parameters: Any) -> object: ...
    def fetchall(self) -> list[tuple[Any, ...]]: ...


_KEPT = "prepared"
"""Under which a connection keeps the cursors of statements."""


class Prepared:
    """One statement with named parameters."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, tuple[str, ...] | None]] = {}

    def rows(self, connection: Connection, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run it; the rows that it gives, in the order of its columns. Raises: DBAPIError."""
        dialect = connection.dialect
        found = self._compiled.get(dialect.name)
        if found is None:
            compiled: Any = cast(Any, self._statement).compile(dialect=dialect)
            found = (str(compiled), tuple(compiled.positiontup) if compiled.positional else None)
            self._compiled[dialect.name] = found
        sql, order = found
        values = parameters if order is None else tuple([parameters[name] for name in order])
        driver = cast(type[Exception], cast(Any, dialect).loaded_dbapi.Error)
        cursor = self._cursor(connection)
        try:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description is not None else []
        except driver as error:
            raise raised(connection, sql, values, error, driver) from error

    def _cursor(self, connection: Connection) -> _Cursor:
        """This statement's own on this connection: psycopg's knows from the last time how to read what it gives."""
        kept: dict[Prepared, _Cursor] = connection.info.setdefault(_KEPT, {})
        found = kept.get(self)
        if found is None:
            found = kept[self] = cast(_Cursor, connection.connection.cursor())
        return found


def raised(
    connection: Connection, sql: str, values: Any, error: Exception, driver: type[Exception]
) -> BaseException:
    """What SQLAlchemy makes of a driver's error."""
    dialect = connection.dialect
    lost = dialect.is_disconnect(cast(Any, error), connection.connection, None)
    if lost:
        connection.invalidate(error)
    return DBAPIError.instance(sql, values, error, driver, connection_invalidated=lost, dialect=dialect)
