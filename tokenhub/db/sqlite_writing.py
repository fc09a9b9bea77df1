"""How writers of a SQLite file take turns, and when its write-ahead log is copied into it.

SQLite lets one transaction write and lets the others ask again after pauses that grow to a tenth of a second; who asks
often wins. So the threads of a process stand in a line of ours and are called in order, and a process asks for the
file every millisecond or so.

What was committed is copied from the log into the file (a checkpoint, with two waits for the disk) by a thread beside
the writers. A writer does it itself only if that thread does not get ahead of it.
"""

import sqlite3
import threading
import time
from collections import deque
from typing import Any, cast

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from tokenhub.db.prepared import Prepared

log = structlog.get_logger()
WAIT_S = 10.0
"""Longest that a writer waits; then the database "did not answer in time"."""
PAUSE_S, PAUSE_MAX_S = 0.0002, 0.002
"""Between two questions whether another process has finished writing."""
PAGES_MAX = 8192
"""Pages of the log at which the writer itself copies them."""
COMMITS = 128
"""After so many the thread copies; each leaves some ten pages."""
_BEGIN = Prepared(text("BEGIN IMMEDIATE"))


class Line:
    """Threads that want to write one file, called in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        if called.acquire(timeout=WAIT_S):
            return
        with self._lock:
            if called in self._waiting:
                self._waiting.remove(called)
                raise _too_long()
        # Called in this very moment.

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


def begin_writing(connection: Connection) -> None:
    """`BEGIN IMMEDIATE`, asked again while another process writes. Raises: OperationalError after `WAIT_S`."""
    driver = cast(sqlite3.Connection, connection.connection.dbapi_connection)
    until, pause = time.monotonic() + WAIT_S, PAUSE_S
    while time.monotonic() < until:
        try:
            driver.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                break
        time.sleep(pause)
        pause = min(pause * 1.5, PAUSE_MAX_S)
    _BEGIN.rows(connection, {})


class Checkpoints:
    """The thread that copies what was committed; begins with the first writer that gives it work."""

    def __init__(self) -> None:
        self._wanted: set[Engine] = set()
        self._commits: dict[Engine, int] = {}
        self._work = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def committed(self, engine: Engine) -> None:
        """Count a commit; called by whoever wrote, one at a time for each engine."""
        count = self._commits[engine] = self._commits.get(engine, 0) + 1
        if count % COMMITS == 0:
            with self._work:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                    self._thread.start()
                self._wanted.add(engine)
                self._work.notify()

    def close(self) -> None:
        """End the thread."""
        with self._work:
            self._closed = True
            self._work.notify()
        if self._thread is not None:
            self._thread.join(WAIT_S)

    def _run(self) -> None:
        files: dict[Engine, sqlite3.Connection] = {}
        while True:
            with self._work:
                self._work.wait_for(lambda: self._closed or self._wanted)
                if self._closed:
                    break
                engine = self._wanted.pop()
            try:
                if engine not in files:
                    files[engine] = sqlite3.connect(cast(str, engine.url.database), isolation_level=None)
                files[engine].execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error as error:  # the writers' own checkpoint remains
                log.warning("checkpoint_failed", file=engine.url.database, error=str(error))
        for file in files.values():
            file.close()


def _too_long() -> Exception:
    """What SQLite would say, as SQLAlchemy would say it."""
    return OperationalError("BEGIN IMMEDIATE", {}, cast(Any, sqlite3.OperationalError("database is locked")))
