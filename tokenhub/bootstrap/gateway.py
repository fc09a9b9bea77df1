"""The gateway role: the data plane on its listening socket. Loads no web framework and no command."""

import asyncio
import signal
import socket

import uvloop

from tokenhub.adapters.engines import gateway_adapters, prompt_counter
from tokenhub.bootstrap.logs import configure_logs
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.maas.gateway.server import serve


def run_gateway(settings: Settings, *, index: int = 0, listen_fd: int | None = None) -> None:
    """Run until SIGTERM or SIGINT, then drain. `listen_fd`: a listening socket inherited from the supervisor."""
    configure_logs(settings)
    uvloop.run(_main(settings, index=index, listen_fd=listen_fd))


async def _main(settings: Settings, *, index: int, listen_fd: int | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    database = Database(settings)
    try:
        await serve(
            settings,
            database,
            index=index,
            adapters=gateway_adapters(),
            prompt_counter=prompt_counter(),
            stop=stop,
            sock=None if listen_fd is None else socket.socket(fileno=listen_fd),
        )
    finally:
        database.close()
