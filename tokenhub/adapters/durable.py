"""Stretches of agent runs as DBOS workflows: begun once by their id, taken up again by the worker's next life.

DBOS keeps its own database: `agents.db` beside ours, or the schema `dbos` of our PostgreSQL. A stretch has no DBOS
steps; the run's own journal is finer and commits with the effects (decision 0014). Imported only by a worker that has
a run, because it costs 50 MB and a second.
"""

import sqlite3
import threading
import time
from collections.abc import Callable

import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from tokenhub.agents.dispatch import STRETCHES_MAX
from tokenhub.config import Settings

log = structlog.get_logger()
CLOSE_S = 5
BEGIN_S = 5.0
"""A stretch that has no thread by then was known to DBOS as ended."""
FORGET_EVERY = 200
POOL = 4
BUSY_MS = 30_000
_engine: "DurableEngine | None" = None


@DBOS.workflow(name="stretch", max_recovery_attempts=100_000)
def _stretch(run_id: str, segment: int) -> None:
    engine = _engine
    if engine is not None:
        engine.carry(run_id, segment)


class DurableEngine:
    """`agents.dispatch.Engine` on DBOS; one per process."""

    def __init__(self, settings: Settings, advance: Callable[[str, int], None], *, worker: str) -> None:
        global _engine
        self._advance = advance
        self._lock = threading.Lock()
        self._begun: dict[str, float] = {}
        """Runs whose stretch was handed to DBOS and has no thread yet, with the moment."""
        self._carried: set[str] = set()
        self._ended: list[str] = []
        _engine = self
        config: DBOSConfig = {
            "name": "tokenhub",
            "system_database_url": _url(settings),
            "dbos_system_schema": "dbos",
            "application_version": "1",  # a newer hub takes up what an older one began: the journal is the contract
            "executor_id": worker,
            "max_executor_threads": STRETCHES_MAX * 2,
            "sys_db_pool_size": POOL,
            "log_level": "WARNING",
            "console_log_level": "WARNING",
        }
        self._file = None if settings.database_url else _file_engine(settings)
        if self._file is not None:
            config["system_database_engine"] = self._file
        DBOS(config=config)
        DBOS.launch()

    def start(self, run_id: str, segment: int) -> None:
        """Begin a stretch; harmless if it was begun."""
        with self._lock:
            self._begun[run_id] = time.monotonic()
        with SetWorkflowID(f"{run_id}:{segment}"):
            DBOS.start_workflow(_stretch, run_id, segment)

    def running(self) -> int:
        """Stretches under way in this process."""
        with self._lock:
            return len(self._begun.keys() | self._carried)

    def busy(self, run_id: str) -> bool:
        """True while this process works on the run."""
        with self._lock:
            begun = self._begun.get(run_id)
            if begun is not None and time.monotonic() - begun > BEGIN_S:  # it had ended in a former life
                del self._begun[run_id]
            return run_id in self._begun or run_id in self._carried

    def carry(self, run_id: str, segment: int) -> None:
        """One stretch in its thread; a run is advanced by one thread at a time."""
        with self._lock:
            self._begun.pop(run_id, None)
            if run_id in self._carried:
                return
            self._carried.add(run_id)
        try:
            self._advance(run_id, segment)
        finally:
            with self._lock:
                self._carried.discard(run_id)
                self._ended.append(f"{run_id}:{segment}")
        self._forget()

    def close(self) -> None:
        """Wait for what runs, a few seconds."""
        until = time.monotonic() + CLOSE_S
        while self._carried and time.monotonic() < until:
            time.sleep(0.02)
        DBOS.destroy(workflow_completion_timeout_sec=0)
        if self._file is not None:
            self._file.dispose()

    def _forget(self) -> None:
        """What has ended is of no use to DBOS any more; the journal tells it."""
        with self._lock:
            if len(self._ended) < FORGET_EVERY:
                return
            done, self._ended = self._ended[:-STRETCHES_MAX], self._ended[-STRETCHES_MAX:]
        DBOS.delete_workflows(done)


def _file_engine(settings: Settings) -> Engine:
    """DBOS's file with a write-ahead log, as ours have: its own engine waits for the disk twice with each change."""
    engine = create_engine(_url(settings), pool_size=POOL)

    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = "IMMEDIATE"
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if settings.durability == 'full' else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys=ON")

    event.listen(engine, "connect", on_connect)
    return engine


def _url(settings: Settings) -> str:
    if settings.database_url:
        return settings.database_url.replace("postgresql+psycopg://", "postgresql://")
    return f"sqlite:///{settings.home / 'agents.db'}"
