"""Writers of a SQLite file: called in order, patient with other processes, relieved of copying the log."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tokenhub.config import Settings
from tokenhub.db import sqlite_writing
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.db.sqlite_writing import COMMITS, Line

COUNT = text("INSERT INTO revision (name, counter) VALUES (:name, 1)")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    settings = Settings(home=tmp_path)
    made = Database(settings)
    migrate(made, settings)
    yield made
    made.close()


@contextmanager
def writing(home: Path) -> Iterator[sqlite3.Connection]:
    """Another process, as SQLite sees it."""
    other = sqlite3.connect(home / "hub.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_threads_are_called_in_the_order_in_which_they_came() -> None:
    line, came = Line(), list[int]()

    def wait(number: int) -> None:
        with line:
            came.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
    with line:
        for place, thread in enumerate(threads):
            thread.start()
            while len(line._waiting) <= place:  # pyright: ignore[reportPrivateUsage]
                time.sleep(0.001)
    for thread in threads:
        thread.join(5)
    assert came == list(range(8))
    with line:
        pass


def test_a_writer_waits_for_another_process(file: Database, tmp_path: Path) -> None:
    with writing(tmp_path) as other:
        threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
        with file.write("hub") as connection:
            connection.execute(COUNT, {"name": "after"})


def test_who_waits_too_long_is_told_and_leaves_the_line(
    file: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writing, "WAIT_S", 0.1)
    with (
        writing(tmp_path),
        pytest.raises(OperationalError, match="database is locked"),
        file.write("hub"),
    ):
        pass
    with (
        file.write("hub") as connection,
        pytest.raises(OperationalError, match="database is locked"),
        file.write("hub"),
    ):
        pass
    with file.write("hub") as connection:
        connection.execute(COUNT, {"name": "free"})


def test_what_was_committed_gets_into_the_file_without_a_writer(file: Database, tmp_path: Path) -> None:
    for number in range(COMMITS):
        with file.write("hub") as connection:
            connection.execute(COUNT, {"name": str(number)})
    until = time.monotonic() + 10
    while (found := _in_the_file_alone(tmp_path)) < COMMITS and time.monotonic() < until:
        time.sleep(0.05)
    assert found >= COMMITS


def _in_the_file_alone(home: Path) -> int:
    copy = shutil.copy(home / "hub.db", home / "copy.db")
    alone = sqlite3.connect(copy)
    try:
        return int(alone.execute("SELECT count(*) FROM revision").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        alone.close()
