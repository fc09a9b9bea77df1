"""Statements are compiled once in a test process, as in a hub's, where one `Database` lives as long as the process.

A test has a database of its own and so engines of its own, and SQLAlchemy keeps compiled statements with the engine:
nearly half of a suite's time would go into compiling the same few hundred statements for each test again.
"""

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

_STATEMENTS_MAX = 4000
_compiled: dict[type, LRUCache[Any, Any]] = {}


def compile_once() -> None:
    """Let every engine of a kind (SQLite, PostgreSQL) look into the same compiled statements."""
    for kind in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        _compiled[kind] = LRUCache(_STATEMENTS_MAX)
        kind.__hash__ = _hash  # type: ignore[method-assign]  # a dialect is a part of the cache's keys
        kind.__eq__ = _equal  # type: ignore[method-assign]
    event.listen(Engine, "engine_connect", _share)


def _share(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_compiled[type(connection.dialect)])


def _hash(dialect: object) -> int:
    return hash(type(dialect))


def _equal(dialect: object, other: object) -> bool:
    return type(dialect) is type(other)
