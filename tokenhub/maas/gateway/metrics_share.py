"""A scrape of any gateway shows all gateways of this machine.

Connections are spread over the gateways by the system, so a scraper meets a different one each time; counters would
seem to jump. Each gateway therefore tells its own text to whoever connects to `run/metrics-<index>.sock`, and the one
that is scraped asks the others. A gateway that does not answer in `ANSWER_S` is left out of this scrape.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import structlog

ANSWER_S = 0.5
_log = structlog.get_logger()


async def share(render: Callable[[], bytes], folder: Path, index: int) -> asyncio.Server | None:
    """Tell `render()` to everyone who connects, until the server is closed; None where no socket can be made (a
    folder whose path is too long for one): each gateway then shows itself only."""

    def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(render())
        writer.close()

    place = _place(folder, index)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.unlink(
            missing_ok=True
        )  # of a gateway that is gone, or that drains while this one takes its place
        listener.bind(str(place))
        place.chmod(0o600)
        listener.setblocking(False)
        return await asyncio.start_unix_server(tell, sock=listener)
    except OSError as error:
        listener.close()
        _log.warning("metrics_not_shared", index=index, error=str(error))
        return None


async def gather(own: bytes, folder: Path, index: int) -> bytes:
    """The exposition text of this gateway and of every other that answers."""
    places = [place for place in sorted(folder.glob("metrics-*.sock")) if place != _place(folder, index)]
    return merged([own, *await asyncio.gather(*[_ask(place) for place in places])]) if places else own


def merged(texts: Iterable[bytes]) -> bytes:
    """Texts of several gateways as one: the format wants all lines of a metric in one group, under one TYPE line."""
    groups: dict[bytes, list[bytes]] = {}
    for text in texts:
        lines: list[bytes] = []
        for line in text.splitlines(keepends=True):
            if line.startswith(b"# TYPE "):
                lines = groups.setdefault(line, [])
            else:
                lines.append(line)
    return b"".join(b"".join([head, *lines]) for head, lines in groups.items())


async def _ask(place: Path) -> bytes:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(str(place))
            try:
                return await reader.read()
            finally:
                writer.close()
    return b""


def _place(folder: Path, index: int) -> Path:
    return folder / f"metrics-{index}.sock"
