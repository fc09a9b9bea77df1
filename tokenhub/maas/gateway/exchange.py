"""One HTTP request and its answer, as the rest of the gateway sees them."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from tokenhub.maas.gateway.errors import ClientGone, error_body, error_event, error_headers
from tokenhub.maas.gateway.strand import Strand

if TYPE_CHECKING:
    from tokenhub.kernel.errors import HubError
    from tokenhub.maas.gateway.connection import ClientConnection

Headers = Sequence[tuple[bytes, bytes]]

STATUS_LINE: dict[int, bytes] = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
CHUNK_END = b"0\r\n\r\n"


class Valve(Protocol):
    """Whoever produces the answer's bytes: told to pause while the client does not take them."""

    def pause(self) -> None:
        """Produce no more for now."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...


class Exchange:
    """Request in, answer out. Exactly one of `respond` or `begin … finish` ends it.

    The answer of a HTTP/1.0 client is never chunked; it ends with the connection.
    """

    __slots__ = (
        "body",
        "body_complete",
        "body_limit",
        "body_received",
        "body_sink",
        "connection",
        "framed",
        "header_list",
        "headers",
        "http11",
        "keep_alive",
        "method",
        "path",
        "query",
        "request_id",
        "responded",
        "started_ms",
        "status",
        "strand",
        "streamed_body",
        "target",
        "valve",
    )

    def __init__(self, connection: "ClientConnection", target: bytes) -> None:
        self.connection = connection
        self.target = target
        self.path = target
        self.query = b""
        self.method = b""
        self.header_list: list[tuple[bytes, bytes]] = []
        self.headers: dict[bytes, bytes] = {}
        """Names in lower case; of a repeated header the last."""
        self.http11 = True
        self.keep_alive = True
        self.body: list[bytes] = []
        self.body_received = 0
        self.body_complete = False
        self.body_limit = 0
        """Largest body, in bytes; set by `GatewayServer.classify`."""
        self.streamed_body = False
        """The body goes to `body_sink` as it arrives (proxied paths)."""
        self.body_sink: Callable[[bytes], None] | None = None
        self.request_id = ""
        self.started_ms = 0
        self.status = 0
        self.framed = False
        """The answer is chunked."""
        self.responded = False
        """The answer is complete."""
        self.strand: Strand | None = None
        self.valve: Valve | None = None

    @property
    def gone(self) -> bool:
        """The client is no longer there."""
        return self.connection.closed

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """The whole answer at once."""
        self.status = status
        parts = [STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"content-length: %d\r\nx-request-id: %s\r\n" % (len(body), self.request_id.encode()))
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        elif not self.http11:
            parts.append(b"connection: keep-alive\r\n")
        parts.append(self.connection.server.date_header)
        if self.method != b"HEAD":
            parts.append(body)
        self._write(b"".join(parts))
        self._done()

    def begin(self, status: int, headers: Headers, first: bytes = b"", *, sized: bool = False) -> None:
        """Status and headers of an answer that comes in parts. `first`: bytes already framed.

        `sized`: its length is in the headers or it has no body; else it is chunked.
        """
        self.status = status
        self.framed = self.http11 and not sized
        if not self.http11 and not sized:
            self.keep_alive = False
        parts = [STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"x-request-id: %s\r\n" % self.request_id.encode())
        if self.framed:
            parts.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (self.connection.server.date_header, first)
        self._write(b"".join(parts))

    def write(self, data: bytes) -> None:
        """Bytes of the answer, framed here."""
        if data:
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self.framed else data)

    def write_framed(self, data: bytes) -> None:
        """Whole chunks, framing included, as an upstream sent them. Only when `framed`."""
        self._write(data)

    def finish(self, data: bytes = b"") -> None:
        """The last bytes and the end of the answer, in one write."""
        if self.framed:
            self._write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else CHUNK_END)
        elif data:
            self._write(data)
        self._done()

    def finish_framed(self, data: bytes) -> None:
        """Whole chunks that include the last one."""
        self._write(data)
        self._done()

    def fail(self, error: "HubError") -> None:
        """An error answer; after the answer has begun an SSE error event and the end of the connection."""
        if self.responded or self.connection.closed:
            return
        if not self.status:
            self.respond(error.status, error_headers(error), error_body(error))
            return
        self.keep_alive = False
        self.finish(error_event(error))

    def abort(self) -> None:
        """Cut the connection: the answer cannot be completed and must not look complete."""
        self.responded = True
        self.connection.abort()

    def _write(self, data: bytes) -> None:
        if self.connection.closed:
            raise ClientGone
        self.connection.write(data)

    def _done(self) -> None:
        self.responded = True
        self.connection.exchange_done(self)
