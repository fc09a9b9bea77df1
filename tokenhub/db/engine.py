"""One `Database` per process: two engines (`hub`, `ledger`) and the transactions on them.

SQLite: files `hub.db` and `ledger.db` in `home`, WAL, `BEGIN IMMEDIATE` for every writer, so a writer waits
(up to 10 s) and never fails half-way; how, is in `sqlite_writing.py`. PostgreSQL: schemas `hub` and `ledger` of one
database. One request or job is one transaction, opened and committed here, at the edge; stores never commit.
"""

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from tokenhub.config import Settings
from tokenhub.db import changes as row_changes
from tokenhub.db.changes import Changes
from tokenhub.db.kept import Kept
from tokenhub.db.prepared import Prepared
from tokenhub.db.sqlite_writing import PAGES_MAX, WAIT_S, Checkpoints, Line, begin_writing

Name = Literal["hub", "ledger"]
PING_S = 1.0
"""A connection to PostgreSQL that lay idle for longer is tried before it is used."""


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
        self._settings, self._cache_kib = settings, cache_kib
        self._kept: list[Engine] = []
        self._writers = self._engines
        self._lines: dict[Name, Line] = {}
        self._checkpoints = Checkpoints()
        if self.dialect == "sqlite":
            # One connection writes, so its pages stay in memory; whoever waits for it waits in line.
            self._writers = {name: _sqlite_writer(settings, name, cache_kib) for name in self._engines}
            self._lines = {name: Line() for name in self._engines}
        for engine in {*self._engines.values(), *self._writers.values()}:
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
        line = self._lines.get(name)
        if line is None:
            with self._writers[name].connect().execution_options(**options) as connection, connection.begin():
                yield connection
            return
        with line:
            with self._writers[name].connect().execution_options(**options) as connection, connection.begin():
                yield connection
            self._checkpoints.committed(self._writers[name])

    @contextmanager
    def read(self, name: Name) -> Generator[Connection, None, None]:
        """One read-only transaction (a stable snapshot); never waits for a writer."""
        options: dict[str, Any] = {"tokenhub_read": True}
        if self.dialect == "postgresql":
            options["isolation_level"] = "REPEATABLE READ"
        with self._engines[name].connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def keep(self, name: Name) -> Kept:
        """A connection for a thread that works on this database all the time; closed with this database."""
        if self.dialect == "postgresql":
            return Kept(self._engines[name])
        engine = _sqlite_writer(self._settings, name, self._cache_kib, checkpoints=True)
        self._kept.append(engine)
        return Kept(engine)

    @contextmanager
    def look(self, name: Name) -> Generator[Connection, None, None]:
        """For one statement that only reads: no transaction around it, which on PostgreSQL is two ways to the server."""
        if self.dialect == "sqlite":
            with self.read(name) as connection:
                yield connection
            return
        with self._engines[name].connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self._checkpoints.close()
        for engine in {*self._engines.values(), *self._writers.values(), *self._kept}:
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
    engine = create_engine(
        url, pool_size=8, max_overflow=16, pool_use_lifo=True, connect_args={"options": options}
    )

    def on_checkin(_connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["used"] = time.monotonic()

    def on_checkout(connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
        """A server that was restarted has closed what lay idle; one that answered just now need not be asked."""
        if time.monotonic() - entry.info.get("used", 0.0) < PING_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError("The server closed this connection.") from error

    event.listen(engine, "checkin", on_checkin)
    event.listen(engine, "checkout", on_checkout)
    return engine


def _sqlite_engine(settings: Settings, name: Name, cache_kib: int) -> Engine:
    """What reads, and what migrates."""
    engine = _sqlite(settings, name, cache_kib, pool_size=8, max_overflow=16)

    def on_begin(connection: Connection) -> None:
        options: dict[str, Any] = dict(connection.get_execution_options())
        (_BEGIN if options.get("tokenhub_read") else _BEGIN_IMMEDIATE).rows(connection, {})

    event.listen(engine, "begin", on_begin)
    return engine


def _sqlite_writer(settings: Settings, name: Name, cache_kib: int, *, checkpoints: bool = False) -> Engine:
    """What writes: one connection, which does not wait by itself.

    checkpoints: it copies its log into the file now and then; else a thread beside it does (`sqlite_writing`).
    """
    engine = _sqlite(settings, name, cache_kib, pool_size=1, max_overflow=0)

    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.execute("PRAGMA busy_timeout=0")
        if not checkpoints:
            connection.execute(f"PRAGMA wal_autocheckpoint={PAGES_MAX}")

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", begin_writing)
    return engine


def _sqlite(settings: Settings, name: Name, cache_kib: int, *, pool_size: int, max_overflow: int) -> Engine:
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        f"sqlite:///{settings.home / f'{name}.db'}",
        connect_args={"check_same_thread": False, "timeout": WAIT_S},
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_use_lifo=True,  # the one that was used last still knows its pages
    )
    synchronous = "FULL" if settings.durability == "full" else "NORMAL"

    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None  # we emit BEGIN ourselves
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA cache_size=-{cache_kib}")

    event.listen(engine, "connect", on_connect)
    return engine


_BEGIN, _BEGIN_IMMEDIATE = Prepared(text("BEGIN")), Prepared(text("BEGIN IMMEDIATE"))
