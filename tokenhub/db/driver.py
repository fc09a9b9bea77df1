"""Statements of the hot paths, handed to the database's driver as they are: a tenth of what SQLAlchemy costs each.

Inside a transaction of `Database`, next to other statements:

    cursor = Cursor(connection)
    cursor.run(sql("UPDATE owner SET batch = ? WHERE id = ?"), (serial, owner_id))

Errors are SQLAlchemy's, as everywhere; a `Changes` that records the transaction hears of them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, NoReturn, cast

from sqlalchemy import Connection

from tokenhub.db import changes as row_changes
from tokenhub.db.changes import Changes
from tokenhub.db.prepared import raised


class Sql(NamedTuple):
    """One statement in the words of both databases."""

    sqlite: str
    postgresql: str


def sql(words: str, *, lock: str = "") -> Sql:
    """A statement with `?` for its values; `lock` is what PostgreSQL needs at its end (on SQLite a writer is alone)."""
    return Sql(words, f"{words.replace('?', '%s')} {lock}".rstrip())


class Cursor:
    """The driver's cursor of a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._which = 1 if connection.dialect.name == "postgresql" else 0
        self._cursor: Any = connection.connection.cursor()
        self._refusals = cast(type[Exception], connection.dialect.loaded_dbapi.Error)
        changes: Changes | None = connection.get_execution_options().get(row_changes.OPTION)
        self._changes = changes if changes is not None and changes.active else None

    @property
    def on_postgres(self) -> bool:
        """True if the values of a statement may be lists."""
        return self._which == 1

    def run(self, statement: Sql, values: Sequence[Any] = ()) -> int:
        """Run it once; returns how many rows it changed."""
        self._execute(statement, values)
        return cast(int, self._cursor.rowcount)

    def many(self, statement: Sql, rows: Sequence[Sequence[Any]]) -> None:
        """Run it for each row of values; nothing if there is none."""
        if not rows:
            return
        words = self._words(statement)
        try:
            self._cursor.executemany(words, rows)
        except self._refusals as error:
            self._fail(words, error)

    def all(self, statement: Sql, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows it finds."""
        self._execute(statement, values)
        return cast(list[tuple[Any, ...]], self._cursor.fetchall())

    def _execute(self, statement: Sql, values: Sequence[Any]) -> None:
        words = self._words(statement)
        try:
            self._cursor.execute(words, values)
        except self._refusals as error:
            self._fail(words, error)

    def _words(self, statement: Sql) -> str:
        words = statement[self._which]
        if self._changes is not None:
            self._changes.note_text(words)
        return words

    def _fail(self, words: str, error: Exception) -> NoReturn:
        raise raised(self._connection, words, None, error, self._refusals) from error


def placeholders(columns: int, rows: int) -> str:
    """`(?, ?), (?, ?)` and so on."""
    return ", ".join(["(" + ", ".join("?" * columns) + ")"] * rows)


def int_array(values: Iterable[int]) -> str:
    """PostgreSQL's text of an array; its driver takes ten times as long."""
    return "{" + ",".join(map(str, values)) + "}"
