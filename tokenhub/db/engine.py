"""One `Database` per process: two engines (`hub`, `ledger`) and the transactions on them.

SQLite: files `hub.db` and `ledger.db` in `home`, WAL, `BEGIN IMMEDIATE` for every writer, so a writer waits
(up to 10 s) and never fails half-way. PostgreSQL: schemas `hub` and `ledger` of one database.
One request or job is one transaction, opened and committed here, at the edge; stores never commit.
"""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from tokenhub.config import Settings
from tokenhub.db import changes as row_changes
from tokenhub.db.changes import Changes
from tokenhub.db.kept import Kept

Name = Literal["hub", "ledger"]
BUSY_TIMEOUT_MS = 10_000


class Database:
    """Engines and transactions. Thread-safe; one per process, made after any fork.

    cache_kib: pages that SQLite keeps in memory for each connection, in KiB.
    """

    def __init__(self, settings: Settings, *, cache_kib: int = 2000) -> None:
        self.dialect: Literal["sqlite", "postgresql"] = "postgresql" if settings.database_url else "sqlite"
        self._engines: dict[Name, Engine] = {
            "hub": _make_engine(settings, "hub", cache_kib),
            "ledger": _make_engine(settings, "ledger", cache_kib),
        }
        for engine in self._engines.values():
            row_changes.listen(engine)

    def engine(self, name: Name) -> Engine:
        """The engine itself, for migrations and bulk work."""
        return self._engines[name]

    @contextmanager
    def write(self, name: Name, *, changes: Changes | None = None) -> Generator[Connection, None, None]:
        """One read-write transaction: committed on leaving, rolled back on an exception.

        `changes` records what it does to rows, while it is active.
        """
        options = {} if changes is None else {row_changes.OPTION: changes}
        with self._engines[name].connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self, name: Name) -> Generator[Connection, None, None]:
        """One read-only transaction (a stable snapshot); never waits for a writer."""
        options: dict[str, Any] = {"tokenhub_read": True}
        if self.dialect == "postgresql":
            options["isolation_level"] = "REPEATABLE READ"
        with self._engines[name].connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def keep(self, name: Name) -> Kept:
        """A connection for a thread that works on this database all the time."""
        return Kept(self._engines[name])

    def close(self) -> None:
        """Close every pooled connection."""
        for engine in self._engines.values():
            engine.dispose()


def _make_engine(settings: Settings, name: Name, cache_kib: int) -> Engine:
    if settings.database_url:
        return _postgres_engine(settings, name)
    return _sqlite_engine(settings, name, cache_kib)


def _postgres_engine(settings: Settings, name: Name) -> Engine:
    url = make_url(settings.database_url).set(drivername="postgresql+psycopg")
    options = f"-csearch_path={name} -cstatement_timeout=60000"
    if settings.durability == "process":
        # Our processes may die, the server does not lose what it acknowledged unless the machine loses power.
        options += " -csynchronous_commit=off"
    return create_engine(
        url, pool_size=8, max_overflow=16, pool_pre_ping=True, connect_args={"options": options}
    )


def _sqlite_engine(settings: Settings, name: Name, cache_kib: int) -> Engine:
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        f"sqlite:///{settings.home / f'{name}.db'}",
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
        pool_size=8,
        max_overflow=16,
    )
    synchronous = "FULL" if settings.durability == "full" else "NORMAL"

    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None  # we emit BEGIN ourselves
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA cache_size=-{cache_kib}")

    def on_begin(connection: Connection) -> None:
        options: dict[str, Any] = dict(connection.get_execution_options())
        connection.exec_driver_sql("BEGIN" if options.get("tokenhub_read") else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine
