"""Calls that overlap: all at once, or one held in the middle of its transaction while others overtake it."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.work.world import World
from tokenhub.commands import Envelope

Call = Callable[[], Envelope]
PATIENCE_S = 1.0
"""How long one that should run or wait in a moment may take to do either."""


def told(answer: Envelope) -> str:
    """Its status, or the code of its error."""
    return answer.error.code if answer.error is not None else answer.status


def together(*calls: Callable[[], Any]) -> list[Any]:
    """All at once, each in a thread of its own; what they give, in the order of the calls."""
    start = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def run(place: int, call: Callable[[], Any]) -> None:
        start.wait()
        answers[place] = call()

    threads = [threading.Thread(target=run, args=(place, call)) for place, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def overtaken(world: World, lock: str, *calls: Call) -> list[Envelope]:
    """The first call is held where it wants the rows of `lock`; meanwhile each of the others runs as far as it gets.

    `lock` is a query of PostgreSQL (`SELECT … FOR UPDATE`), there others may pass the one that is held. On SQLite
    everyone waits for the writer, and goes on in any order.
    """
    answers: list[Any] = [None] * len(calls)

    def run(place: int, call: Call) -> None:
        answers[place] = call()

    threads = [threading.Thread(target=run, args=(place, call)) for place, call in enumerate(calls)]
    with _holding(world, lock) as waiting:
        for number, thread in enumerate(threads):
            thread.start()
            ends = time.monotonic() + PATIENCE_S
            while thread.is_alive() and waiting() <= number and time.monotonic() < ends:
                time.sleep(0.002)
    for thread in threads:
        thread.join()
    return answers


@contextmanager
def _holding(world: World, lock: str) -> Iterator[Callable[[], int]]:
    """Holds the lock; gives a count of those that wait for anything."""
    url = world.settings.database_url
    if not url:
        held = sqlite3.connect(world.settings.home / "hub.db", isolation_level=None)
        held.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        yield lambda: 99 if time.monotonic() - began > 0.03 else 0
        held.execute("ROLLBACK")
        held.close()
        return
    count = (
        "SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE NOT l.granted AND a.datname = current_database()"
    )
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as eye:
        holder.execute("SET search_path TO hub")
        holder.execute(lock.encode())

        def waiting() -> int:
            row = eye.execute(count).fetchone()
            assert row is not None
            return int(row[0])

        yield waiting
        holder.rollback()


def whole(world: World) -> None:
    """The audit chains of everyone and the books are as they have to be."""
    for who in ("admin", "eve"):
        shown = world.call(who, "audit.verify")
        if shown.error is None and shown.data is not None:
            assert shown.data["holds"], shown.data
    assert world.do("admin", "ledger.verify")["whole"]


def trail(world: World, *commands: str) -> list[tuple[str, str]]:
    """What the audit trail says of these commands, in the order of the chain: (command, outcome)."""
    items = world.do("admin", "audit.list", limit=60)["items"]
    found = sorted(
        (item["seq"], item["command"], item["outcome"]) for item in items if item["command"] in commands
    )
    return [(command, outcome) for _, command, outcome in found]
