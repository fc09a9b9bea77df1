"""A small HTTP/1.1 client for one purpose: call the gateway and read its answer as it streams.

Asyncio streams and httptools, one connection a request, closed by whoever opened it: leaving `open_request` aborts the
connection at once, which is how a stop reaches the engine.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httptools

from tokenhub.kernel.errors import UpstreamError, UpstreamTimeout

READ_BYTES = 65_536
CONNECT_TIMEOUT_S = 5.0


class Reply:
    """Status and headers (names in lower case) of an answer, and its body as it comes."""

    def __init__(self, reader: asyncio.StreamReader, *, idle_timeout_s: float) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._reader = reader
        self._idle_timeout_s = idle_timeout_s
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._headers_done = False
        self._done = False

    async def body(self) -> AsyncIterator[bytes]:
        """Pieces of the body until its end. Raises: UpstreamError when it is cut, UpstreamTimeout when it stalls."""
        while True:
            while self._chunks:
                yield self._chunks.pop(0)
            if self._done:
                return
            await self._feed()

    async def lines(self) -> AsyncIterator[bytes]:
        """The body's lines without their ends."""
        rest = b""
        async for piece in self.body():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.rstrip(b"\r")
        if rest:
            yield rest

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.body()])

    async def head(self) -> None:
        """Read until status and headers are known."""
        while not self._headers_done:
            await self._feed()

    async def _feed(self) -> None:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                data = await self._reader.read(READ_BYTES)
        except TimeoutError as error:
            raise UpstreamTimeout("The gateway sent nothing for too long; try again.") from error
        except OSError as error:
            raise UpstreamError("The connection to the gateway broke; try again.") from error
        if not data:
            if self._done or (
                self._headers_done and "content-length" not in self.headers and not self._chunked
            ):
                self._done = True
                return
            raise UpstreamError("The gateway closed the connection before the answer ended; try again.")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise UpstreamError("The gateway answered something that is not HTTP.") from error

    @property
    def _chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "")

    # httptools calls these
    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._headers_done = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._done = self._headers_done


@asynccontextmanager
async def open_request(
    base_url: str,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    idle_timeout_s: float = 330.0,
) -> AsyncGenerator[Reply]:
    """Send one request to `base_url + path`; the reply's status and headers are known on entering.

    Raises: UpstreamError, UpstreamTimeout. Leaving closes the connection, whatever is still to come.
    """
    url = urlsplit(base_url)
    host = url.hostname or "127.0.0.1"
    port = url.port or (443 if url.scheme == "https" else 80)
    context = ssl.create_default_context() if url.scheme == "https" else None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError) as error:
        raise UpstreamError("The gateway cannot be reached; is the hub still starting?") from error
    try:
        lines = [
            f"{method} {url.path.rstrip('/')}{path} HTTP/1.1",
            f"host: {url.netloc}",
            "connection: close",
        ]
        lines += [f"content-length: {len(body)}"] if body or method != "GET" else []
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        reply = Reply(reader, idle_timeout_s=idle_timeout_s)
        await reply.head()
        yield reply
    finally:
        writer.transport.abort()
