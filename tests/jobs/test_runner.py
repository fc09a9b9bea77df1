"""The durable queue: claimed once, resumed after a dead worker, cancelled, failed with one sentence."""

import asyncio
import threading
import time

import pytest

from tokenhub.db.engine import Database
from tokenhub.jobs import store
from tokenhub.jobs.runner import run_job_inline, run_jobs
from tokenhub.jobs.types import Arguments, Job, Progress, Reporter
from tokenhub.kernel.errors import Conflict, InvalidRequest


def _enqueue(database: Database, kind: str, subject: str = "s") -> Job:
    with database.write("hub") as connection:
        return store.enqueue(connection, kind, subject=subject, arguments={"a": "1"})


def _get(database: Database, job: Job) -> Job:
    with database.read("hub") as connection:
        return store.get_job(connection, job.id)


async def _run_until(database: Database, handlers: dict, done) -> None:  # type: ignore[no-untyped-def]
    stop = asyncio.Event()
    task = asyncio.create_task(run_jobs(database, handlers, stop=stop))
    deadline = time.monotonic() + 10
    while not done() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    stop.set()
    await task
    assert done()


async def test_jobs_run_and_fail_with_one_sentence(database: Database) -> None:
    def good(arguments: Arguments, reporter: Reporter) -> Arguments:
        reporter.report(Progress("half", 1, 2))
        return {"got": arguments["a"]}

    def bad(arguments: Arguments, reporter: Reporter) -> Arguments:
        raise InvalidRequest("No such thing.")

    first, second = _enqueue(database, "good"), _enqueue(database, "bad")
    await _run_until(
        database,
        {"good": good, "bad": bad},
        lambda: not (_get(database, first).live or _get(database, second).live),
    )
    assert _get(database, first).state == "succeeded"
    assert _get(database, first).result == {"got": "1"}
    assert (_get(database, second).state, _get(database, second).error) == ("failed", "No such thing.")


def test_one_live_job_per_subject(database: Database) -> None:
    first = _enqueue(database, "pull", "m")
    assert _enqueue(database, "pull", "m").id == first.id
    assert _enqueue(database, "pull", "other").id != first.id


def test_a_job_is_claimed_once_and_taken_over_from_the_dead(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _enqueue(database, "k")
    with database.write("hub") as connection:
        taken = store.take(connection, kinds=["k"], runner="r1")
        assert taken is not None and taken.attempts == 1
        assert store.take(connection, kinds=["k"], runner="r2") is None
    monkeypatch.setattr(store, "now_ms", lambda: time.time_ns() // 1_000_000 + store.LEASE_MS + 1)
    with database.write("hub") as connection:
        again = store.take(connection, kinds=["k"], runner="r2")
        assert again is not None and again.id == job.id and again.attempts == 2
        assert not store.heartbeat(connection, job.id, runner="r1", progress=None)
        assert not store.finish(connection, job.id, runner="r1", state="succeeded")


async def test_cancelled_while_running(database: Database) -> None:
    started = threading.Event()

    def slow(arguments: Arguments, reporter: Reporter) -> Arguments:
        started.set()
        for _ in range(500):
            reporter.report(Progress("slow"))
            time.sleep(0.02)
        return {}

    job = _enqueue(database, "slow")
    cancelled = False

    def done() -> bool:
        nonlocal cancelled
        if started.is_set() and not cancelled:
            with database.write("hub") as connection:
                store.cancel(connection, job.id)
            cancelled = True
        return cancelled and _get(database, job).state == "cancelled"

    await _run_until(database, {"slow": slow}, done)
    with database.write("hub") as connection, pytest.raises(Conflict):
        store.cancel(connection, job.id)


async def test_stopping_puts_a_running_job_back(database: Database) -> None:
    started = threading.Event()

    def slow(arguments: Arguments, reporter: Reporter) -> Arguments:
        started.set()
        for _ in range(500):
            reporter.report(Progress("slow"))
            time.sleep(0.02)
        return {}

    job = _enqueue(database, "slow")
    await _run_until(database, {"slow": slow}, started.is_set)
    assert _get(database, job).state == "queued"


def test_inline_without_a_worker(database: Database) -> None:
    seen: list[int] = []

    def work(arguments: Arguments, reporter: Reporter) -> Arguments:
        reporter.report(Progress("x", 3, 4))
        return {"ok": "1"}

    job = run_job_inline(
        database,
        "k",
        work,
        subject="s",
        arguments={},
        on_progress=lambda progress: seen.append(progress.done),
    )
    assert job.state == "succeeded" and seen == [3]


def test_a_crash_is_retried_then_failed(database: Database) -> None:
    def crash(arguments: Arguments, reporter: Reporter) -> Arguments:
        raise RuntimeError("boom")

    job = run_job_inline(database, "k", crash, subject="s", arguments={})
    assert job.state == "queued" and "boom" in job.error
    for _ in range(store.ATTEMPTS_MAX - 1):
        job = run_job_inline(database, "k", crash, subject="s", arguments={})
    assert job.state == "failed" and "boom" in job.error
