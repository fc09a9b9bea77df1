"""The worker: engines of our own, the job runner, and periodic sweeps. One process; no part stops another.

`run_worker` runs the parts it is given (bootstrap composes them) until `stop` is set.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping

import structlog

from tokenhub.bootstrap.logs import configure_logs
from tokenhub.bootstrap.worker import Sweep, worker_parts
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.jobs.runner import run_jobs
from tokenhub.jobs.types import Handler
from tokenhub.maas.deployments.engine import EngineLauncher
from tokenhub.maas.deployments.supervisor import EngineSupervisor, RecordCount

log = structlog.get_logger()
RESTART_S = 1.0
Part = Callable[[asyncio.Event], Awaitable[None]]


def main(settings: Settings, *, on_ready: Callable[[], None] = lambda: None) -> None:
    """The worker role: run until SIGTERM or SIGINT."""
    configure_logs(settings)
    asyncio.run(_main(settings, on_ready))


async def _main(settings: Settings, on_ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    database = Database(settings)
    parts = worker_parts(settings, database)
    on_ready()
    try:
        await run_worker(
            settings,
            database,
            launchers=parts.launchers,
            record_count=parts.record_count,
            handlers=parts.handlers,
            sweeps=parts.sweeps,
            others=parts.parts,
            stop=stop,
        )
    finally:
        database.close()


async def run_worker(
    settings: Settings,
    database: Database,
    *,
    launchers: Mapping[str, EngineLauncher],
    record_count: RecordCount,
    handlers: Mapping[str, Handler],
    sweeps: tuple[Sweep, ...] = (),
    others: Mapping[str, Part] | None = None,
    stop: asyncio.Event,
) -> None:
    """Run engines, jobs and sweeps until `stop`; engines and unfinished jobs are then left in good order."""
    engines = EngineSupervisor(database, settings, launchers=launchers, record_count=record_count)
    async with asyncio.TaskGroup() as group:
        group.create_task(_keep("engines", engines.run, stop))
        group.create_task(_keep("jobs", lambda halt: run_jobs(database, handlers, stop=halt), stop))
        for name, part in (others or {}).items():
            group.create_task(_keep(name, part, stop))
        for sweep in sweeps:
            group.create_task(_keep(sweep.name, _every(sweep), stop))


async def _keep(name: str, part: Part, stop: asyncio.Event) -> None:
    """Run one part; if it fails, say so and run it again."""
    while not stop.is_set():
        try:
            await part(stop)
        except Exception:
            log.exception("worker_part_failed", part=name)
            await _pause(stop, RESTART_S)


def _every(sweep: Sweep) -> Part:
    async def loop(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.to_thread(sweep.run)
            await _pause(stop, sweep.every_s)

    return loop


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
