"""The gateway role: the data plane on its listening socket. Loads no web framework and no command."""

import asyncio
import ctypes
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import uvloop

from tokenhub.adapters.engines import gateway_adapters, prompt_counter
from tokenhub.bootstrap.logs import configure_logs
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.maas.gateway.server import serve


def run_gateway(
    settings: Settings,
    *,
    index: int = 0,
    listener: socket.socket | None = None,
    on_ready: Callable[[], None] = lambda: None,
    on_leaving: Callable[[], None] = lambda: None,
) -> None:
    """Run until SIGTERM or SIGINT, then drain. `listener`: a listening socket inherited from the supervisor.

    on_leaving is called when the drain begins: another gateway may take over the listener.
    """
    configure_logs(settings)
    uvloop.run(_main(settings, index=index, listener=listener, on_ready=on_ready, on_leaving=on_leaving))


async def _main(
    settings: Settings,
    *,
    index: int,
    listener: socket.socket | None,
    on_ready: Callable[[], None],
    on_leaving: Callable[[], None],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def leave() -> None:
        stop.set()
        on_leaving()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)

    def serves(_port: int) -> None:
        with suppress(OSError, AttributeError):  # glibc: gives back what importing and loading have freed
            ctypes.CDLL(None).malloc_trim(0)
        on_ready()

    database = Database(settings, cache_kib=512)
    try:
        await serve(
            settings,
            database,
            index=index,
            adapters=gateway_adapters(),
            prompt_counter=prompt_counter(),
            stop=stop,
            sock=listener,
            on_ready=serves,
        )
    finally:
        database.close()
