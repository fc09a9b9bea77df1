"""The parts of the worker role: engines, jobs and periodic sweeps."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from tokenhub.adapters.engines.llama_cpp_process import LlamaCppLauncher
from tokenhub.adapters.handlers import job_handlers
from tokenhub.adapters.mcp.servers import OutsideServers
from tokenhub.adapters.notify.webhook import WebhookCarrier
from tokenhub.agents.dispatch import Dispatcher, Engine
from tokenhub.agents.loop import Loop
from tokenhub.agents.mcp.courier import run_courier
from tokenhub.agents.model import Gateway, Secrets
from tokenhub.bootstrap.app import gateway_url_of
from tokenhub.bootstrap.commands import registry
from tokenhub.clearing.reconcile import ResidualSweep
from tokenhub.clearing.recovery import recover_dead_owners
from tokenhub.commands.door import Runtime
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.identity.sweep import sweep as sweep_sessions
from tokenhub.jobs.types import Handler
from tokenhub.kernel.clock import now_ms
from tokenhub.ledger.buckets import prune
from tokenhub.maas.deployments.engine import EngineCounts, EngineLauncher
from tokenhub.maas.deployments.supervisor import RecordCount
from tokenhub.metering.store import record_engine_count
from tokenhub.work.clockwork import Clockwork
from tokenhub.work.delivery import Deliverer

RECOVER_EVERY_S = 5.0
RESIDUALS_EVERY_S = 3.0
PRUNE_EVERY_S = 900.0
WINDOWS_KEPT_MS = 24 * 3_600_000
SESSIONS_EVERY_S = 600.0
OUTBOX_EVERY_S = 1.0
CLOCKWORK_EVERY_S = 2.0
CARRIERS = 4
"""So many letters of the outbox are under way at once, one for each receiver: whoever is slow delays nobody else."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Something to do every `every_s` seconds, in a thread."""

    name: str
    every_s: float
    run: Callable[[], object]


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What the worker runs."""

    launchers: Mapping[str, EngineLauncher]
    record_count: RecordCount
    handlers: Mapping[str, Handler]
    sweeps: tuple[Sweep, ...]
    parts: Mapping[str, Callable[[asyncio.Event], Awaitable[None]]]
    """Loops of their own, by name, until the event is set."""


def worker_parts(settings: Settings, database: Database) -> WorkerParts:
    """Engines of our own, jobs by kind, and what is done now and then."""

    def record(engine_boot: str, counts: EngineCounts) -> None:
        with database.write("ledger") as connection:
            record_engine_count(
                connection,
                engine_boot,
                at_ms=now_ms(),
                prompt_tokens=counts.prompt_tokens,
                output_tokens=counts.output_tokens,
            )

    def end_sessions() -> None:
        with database.write("hub") as connection:
            sweep_sessions(connection, at_ms=now_ms())

    async def carry_calls(stop: asyncio.Event) -> None:
        await run_courier(database, OutsideServers(settings.home), stop)

    halt = threading.Event()
    dispatcher = Dispatcher(database, lambda: _engine(settings, database, halt), halt)
    webhooks = WebhookCarrier(settings.outbox_private_hosts.split(","))
    carriers = [Deliverer(database, webhooks) for _ in range(CARRIERS)]
    clockwork = Clockwork(database, settings, registry())
    residuals = ResidualSweep()

    def book_residuals() -> None:
        residuals.run(database, now_ms=now_ms())

    def prune_windows() -> None:
        with database.write("ledger") as connection:
            prune(connection, before_ms=now_ms() - WINDOWS_KEPT_MS)

    return WorkerParts(
        launchers={"llama.cpp": LlamaCppLauncher(settings.log_dir)},
        record_count=record,
        handlers=job_handlers(database, settings),
        sweeps=(
            Sweep("recover-books", RECOVER_EVERY_S, lambda: recover_dead_owners(database, settings)),
            Sweep("book-residuals", RESIDUALS_EVERY_S, book_residuals),
            Sweep("prune-windows", PRUNE_EVERY_S, prune_windows),
            Sweep("end-sessions", SESSIONS_EVERY_S, end_sessions),
            Sweep("clockwork", CLOCKWORK_EVERY_S, clockwork.run),
            *(Sweep(f"outbox-{number}", OUTBOX_EVERY_S, one.run) for number, one in enumerate(carriers)),
        ),
        parts={"mcp-calls": carry_calls, "agents": dispatcher.run},
    )


def _engine(settings: Settings, database: Database, halt: threading.Event) -> Engine:
    """What carries runs; loaded when the first one is there, because it is large."""
    worker = f"{os.uname().nodename}:{settings.home}"  # the same in its next life, which takes up its runs
    gateway = Gateway(gateway_url_of(settings), Secrets(database))
    turn = threading.Semaphore(1 if database.dialect == "sqlite" else 8)
    loop = Loop(registry(), Runtime(database, settings), gateway, worker, halt, turn)
    durable = import_module("tokenhub.adapters.durable")
    return durable.DurableEngine(settings, loop.advance, worker=worker)
