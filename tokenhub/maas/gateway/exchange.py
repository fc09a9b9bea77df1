"""One HTTP request and its answer, as the rest of the gateway sees them."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from tokenhub.maas.gateway.chunks import unframed
from tokenhub.maas.gateway.errors import ClientGone, error_body, error_event, error_headers
from tokenhub.maas.gateway.strand import Strand

if TYPE_CHECKING:
    from tokenhub.identity.types import Principal
    from tokenhub.kernel.errors import HubError
    from tokenhub.maas.gateway.connection import ClientConnection
    from tokenhub.maas.gateway.idempotency import Recorder
    from tokenhub.maas.gateway.snapshot import Snapshot


STATUS_LINE: dict[int, bytes] = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
CHUNK_END = b"0\r\n\r\n"
JSON = b"content-type: application/json\r\n"


def header_block(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they stand in a head: `name: value`, each line ended."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


_NO_HEADERS: dict[bytes, bytes] = {}


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
        "echo",
        "framed",
        "header_list",
        "headers",
        "http11",
        "keep_alive",
        "method",
        "path",
        "principal",
        "query",
        "recorder",
        "request_id",
        "responded",
        "snapshot",
        "started_ms",
        "status",
        "strand",
        "streamed_body",
        "target",
        "valve",
        "whole",
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
        self.echo = b""
        """Header lines of the request that every answer repeats (`x-client-request-id`)."""
        self.principal: Principal | None = None
        """Whose key came with the head, as far as the snapshot knows it."""
        self.snapshot: Snapshot | None = None
        """The snapshot that said so."""
        self.started_ms = 0
        self.status = 0
        self.framed = False
        """The answer is chunked."""
        self.responded = False
        """The answer is complete."""
        self.whole = False
        """It ended as it should; false after an error in mid-answer."""
        self.recorder: Recorder | None = None
        """Takes a copy of the body (idempotency)."""
        self.strand: Strand | None = None
        self.valve: Valve | None = None

    @property
    def gone(self) -> bool:
        """The client is no longer there."""
        return self.connection.closed

    def drop_head(self) -> None:
        """The headers are read for the last time: a stream may last for minutes, and there are many."""
        self.connection.header_list = self.header_list = []
        self.headers = _NO_HEADERS

    def respond(self, status: int, headers: bytes, body: bytes = b"") -> None:
        """The whole answer at once. `headers`: see `header_block`."""
        self.status = status
        connection = b"" if self.keep_alive and self.http11 else _CONNECTION[self.keep_alive]
        head = b"%b%bcontent-length: %d\r\nx-request-id: %b\r\n%b%b%b" % (
            STATUS_LINE[status],
            headers,
            len(body),
            self.request_id.encode(),
            self.echo,
            connection,
            self.connection.server.date_header,
        )
        if self.recorder is not None:
            self.recorder.add(body)
        self.whole = True
        self._write(head if self.method == b"HEAD" else head + body)
        self._done()

    def begin(self, status: int, headers: bytes, first: bytes = b"", *, sized: bool = False) -> None:
        """Status and headers of an answer that comes in parts. `first`: bytes already framed.

        `sized`: its length is in the headers or it has no body; else it is chunked.
        """
        self.status = status
        self.framed = self.http11 and not sized
        if self.recorder is not None:
            self.recorder.content_type = "text/event-stream; charset=utf-8"
            self.recorder.add(unframed(first))
        if not self.http11 and not sized:
            self.keep_alive = False
        self._write(
            b"%b%bx-request-id: %b\r\n%b%b%b%b%b"
            % (
                STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status,
                headers,
                self.request_id.encode(),
                self.echo,
                b"transfer-encoding: chunked\r\n" if self.framed else b"",
                b"" if self.keep_alive and self.http11 else _CONNECTION[self.keep_alive],
                self.connection.server.date_header,
                first,
            )
        )

    def write(self, data: bytes) -> None:
        """Bytes of the answer, framed here."""
        if data:
            if self.recorder is not None:
                self.recorder.add(data)
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self.framed else data)

    def write_framed(self, data: bytes) -> None:
        """Whole chunks, framing included, as an upstream sent them. Only when `framed`."""
        if self.recorder is not None:
            self.recorder.add(unframed(data))
        self._write(data)

    def finish(self, data: bytes = b"") -> None:
        """The last bytes and the end of the answer, in one write."""
        self.whole = True
        if self.recorder is not None:
            self.recorder.add(data)
        if self.framed:
            self._write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else CHUNK_END)
        elif data:
            self._write(data)
        self._done()

    def fail(self, error: "HubError") -> None:
        """An error answer; after the answer has begun an SSE error event and the end of the connection."""
        if self.responded or self.connection.closed:
            return
        if not self.status:
            self.respond(error.status, header_block(error_headers(error)), error_body(error))
            return
        self.keep_alive = False
        self.finish(error_event(error))
        self.whole = False

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


_CONNECTION = {True: b"connection: keep-alive\r\n", False: b"connection: close\r\n"}
