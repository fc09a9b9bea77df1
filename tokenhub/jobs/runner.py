"""Run queued jobs: in the worker, several at a time; or one inline, in the command line, without a hub.

A handler runs in a thread. Its reports renew a lease; when a worker dies, the lease ends and the next worker
runs the job again from its start (handlers resume by themselves, for instance a download from its last byte).
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping

import structlog

from tokenhub.db.engine import Database
from tokenhub.jobs import store
from tokenhub.jobs.types import Handler, Job, JobCancelled, Progress
from tokenhub.kernel.errors import HubError
from tokenhub.kernel.ids import new_id

log = structlog.get_logger()
REPORT_EVERY_S = 0.5
POLL_S = 0.25


class _Stopped(Exception):
    """The worker stops; the job goes back into the queue."""


class _RowReporter:
    """Writes progress to the job's row, at most twice a second, and tells the handler when to give up."""

    def __init__(self, database: Database, job: Job, *, runner: str, stop: threading.Event) -> None:
        self._database, self._job, self._runner, self._stop = database, job, runner, stop
        self._next_s = 0.0
        self.listener: Callable[[Progress], None] | None = None

    def report(self, progress: Progress) -> None:
        if self._stop.is_set():
            raise _Stopped
        if self.listener is not None:
            self.listener(progress)
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + REPORT_EVERY_S
        with self._database.write("hub") as connection:
            if not store.heartbeat(connection, self._job.id, runner=self._runner, progress=progress):
                raise JobCancelled


def run_job(
    database: Database,
    job: Job,
    handler: Handler,
    *,
    runner: str,
    stop: threading.Event,
    on_progress: Callable[[Progress], None] | None = None,
) -> Job:
    """Run one claimed job to its end and return it as it then stands; never raises for what the job does."""
    reporter = _RowReporter(database, job, runner=runner, stop=stop)
    reporter.listener = on_progress
    result: dict[str, str] = {}
    with _heartbeats(database, job, runner=runner):
        try:
            result = dict(handler(job.arguments, reporter))
            state, error = "succeeded", ""
        except JobCancelled:
            state, error = "cancelled", "Cancelled."
        except _Stopped:
            state, error = "queued", ""
        except HubError as failure:
            state, error = "failed", failure.message
        except Exception as failure:
            log.exception("job_crashed", job_id=job.id, kind=job.kind)
            again = job.attempts < store.ATTEMPTS_MAX
            state = "queued" if again else "failed"
            error = f"{job.kind} failed unexpectedly ({type(failure).__name__}: {failure})."
    with database.write("hub") as connection:
        store.finish(connection, job.id, runner=runner, state=state, result=result, error=error)
        ended = store.get_job(connection, job.id)
    log.info(
        "job_ended", job_id=job.id, kind=job.kind, subject=job.subject, state=ended.state, error=ended.error
    )
    return ended


def run_job_inline(
    database: Database,
    kind: str,
    handler: Handler,
    *,
    subject: str,
    arguments: Mapping[str, str],
    on_progress: Callable[[Progress], None] | None = None,
) -> Job:
    """Queue, claim and run one job in this thread (the command line without a running hub).

    If a worker has claimed the same work already, waits for it instead and passes its progress on.
    Ctrl-C cancels the job.
    """
    runner = new_id("inline")
    with database.write("hub") as connection:
        job = store.enqueue(connection, kind, subject=subject, arguments=arguments)
        claimed = store.take_one(connection, job.id, runner=runner)
    try:
        if claimed is not None:
            return run_job(
                database, claimed, handler, runner=runner, stop=threading.Event(), on_progress=on_progress
            )
        return wait_for_job(database, job.id, on_progress=on_progress)
    except KeyboardInterrupt:
        with database.write("hub") as connection:
            if store.get_job(connection, job.id).live:
                store.cancel(connection, job.id)
        raise


def wait_for_job(
    database: Database, job_id: str, *, on_progress: Callable[[Progress], None] | None = None
) -> Job:
    """Poll a job until it has ended."""
    while True:
        with database.read("hub") as connection:
            job = store.get_job(connection, job_id)
        if on_progress is not None:
            on_progress(job.progress)
        if not job.live:
            return job
        time.sleep(POLL_S)


async def run_jobs(
    database: Database, handlers: Mapping[str, Handler], *, stop: asyncio.Event, parallel: int = 2
) -> None:
    """Take and run jobs until `stop`; what then still runs goes back into the queue."""
    runner = new_id("runner")
    halted = threading.Event()
    running: set[asyncio.Task[None]] = set()
    kinds = list(handlers)
    try:
        while not stop.is_set():
            job = await asyncio.to_thread(_take, database, kinds, runner) if len(running) < parallel else None
            if job is None:
                await _sleep(stop, POLL_S)
                continue
            task = asyncio.create_task(_run_async(database, job, handlers[job.kind], runner, halted))
            running.add(task)
            task.add_done_callback(running.discard)
    finally:
        halted.set()
        if running:
            await asyncio.wait(running, timeout=5.0)


def _take(database: Database, kinds: list[str], runner: str) -> Job | None:
    with database.read("hub") as connection:
        if not store.anything_waits(connection, kinds=kinds):
            return None
    with database.write("hub") as connection:
        return store.take(connection, kinds=kinds, runner=runner)


async def _run_async(
    database: Database, job: Job, handler: Handler, runner: str, halted: threading.Event
) -> None:
    await asyncio.to_thread(run_job, database, job, handler, runner=runner, stop=halted)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


class _heartbeats:
    """Renews the lease from a thread while the handler is busy without reporting."""

    def __init__(self, database: Database, job: Job, *, runner: str) -> None:
        self._database, self._job, self._runner = database, job, runner
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name=f"heartbeat-{job.id}")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._done.wait(store.LEASE_MS / 3000):
            with self._database.write("hub") as connection:
                store.heartbeat(connection, self._job.id, runner=self._runner, progress=None)
