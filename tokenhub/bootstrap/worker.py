"""The worker role: engines, jobs and periodic sweeps."""

import asyncio
import signal

from tokenhub.bootstrap.logs import configure_logs
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.worker import run_worker as run


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
    try:
        await run(settings, database, stop=stop)
    finally:
        database.close()
