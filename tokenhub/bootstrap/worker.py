"""The worker role: engines, jobs and periodic sweeps."""

import asyncio
import signal

from tokenhub.adapters.engines.llama_cpp_process import LlamaCppLauncher
from tokenhub.adapters.handlers import job_handlers
from tokenhub.bootstrap.logs import configure_logs
from tokenhub.clearing.recovery import recover_dead_owners
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.identity.sessions import sweep as sweep_sessions
from tokenhub.kernel.clock import now_ms
from tokenhub.maas.deployments.engine import EngineCounts
from tokenhub.metering.store import record_engine_count
from tokenhub.worker import Sweep
from tokenhub.worker import run_worker as run

RECOVER_EVERY_S = 5.0
SESSIONS_EVERY_S = 600.0


def run_worker(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    configure_logs(settings)
    asyncio.run(_main(settings))


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    database = Database(settings)

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

    try:
        await run(
            settings,
            database,
            launchers={"llama.cpp": LlamaCppLauncher(settings.log_dir)},
            record_count=record,
            handlers=job_handlers(database, settings),
            sweeps=(
                Sweep("recover-books", RECOVER_EVERY_S, lambda: recover_dead_owners(database, settings)),
                Sweep("end-sessions", SESSIONS_EVERY_S, end_sessions),
            ),
            stop=stop,
        )
    finally:
        database.close()
