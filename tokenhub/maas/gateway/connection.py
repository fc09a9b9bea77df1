"""A client's connection: HTTP/1.1 bytes to `Exchange`s, one at a time and in order, and the answers back.

httptools (llhttp, strict) parses; this file adds what it leaves open: bounds on everything, one Host, exactly
`Transfer-Encoding: chunked`, no absolute-form targets. A connection that breaks the rules gets one error answer
and is closed, because what follows on it cannot be trusted.
"""

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from tokenhub.kernel.errors import HubError, InvalidRequest, PayloadTooLarge
from tokenhub.maas.gateway.errors import (
    ClientGone,
    ExpectationFailed,
    HeaderFieldsTooLarge,
    RequestTimeout,
    UriTooLong,
)
from tokenhub.maas.gateway.exchange import Exchange
from tokenhub.maas.gateway.heads import describe, read_head, size_of, too_large

if TYPE_CHECKING:
    from tokenhub.maas.gateway.fast_path import FastRequest, KnownHead
    from tokenhub.maas.gateway.server import GatewayServer

HEAD_BYTES_MAX = 64 * 1024
HEADER_COUNT_MAX = 100
TARGET_BYTES_MAX = 8 * 1024
BACKLOG_BYTES_MAX = 256 * 1024
"""Pipelined bytes kept while an answer is in flight; beyond it reading stops."""
OVERHEAD_BYTES_MAX = 1024 * 1024
"""Chunk framing and trailers that a body may carry beside its own bytes, plus one for eight of them."""
WRITE_HIGH_WATER = 256 * 1024
LINGER_S = 2.0


class ClientConnection(asyncio.Protocol):
    """One accepted socket."""

    __slots__ = (
        "_awaited",
        "_backlog",
        "_body_wire",
        "_exchange",
        "_fault",
        "_fresh",
        "_head_wire",
        "_in_head",
        "_lingering",
        "_parser",
        "_queue",
        "_target",
        "closed",
        "closing",
        "deadline",
        "fast",
        "header_list",
        "peer",
        "server",
        "transport",
        "unknown_head",
        "write_paused",
    )

    def __init__(self, server: "GatewayServer") -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self.deadline = 0.0
        self.closed = False
        """The socket is gone."""
        self.closing = False
        """Nothing more is read."""
        self.peer = ""
        self.header_list: list[tuple[bytes, bytes]] = []
        self.fast: FastRequest | None = None
        """The request that is on its way by the fast path; nothing else is in work then."""
        self.unknown_head: bytes | None = None
        """The head in the parser, as the fast path would know it."""
        self._awaited: tuple[KnownHead, bytes, int] | None = None  # a known head whose body is to come
        self._parser = httptools.HttpRequestParser(self)
        self._queue: list[Exchange] = []
        self._exchange: Exchange | None = None  # being received
        self._fault: HubError | None = None
        self._target = b""
        self._backlog = b""
        self._fresh = b""  # the start of a request, until the turn's work begins
        self._in_head = False
        self._head_wire = 0
        self._body_wire = 0
        self.write_paused = False
        """The client does not keep up."""
        self._lingering = False

    # -- socket ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        peer: object = self.transport.get_extra_info("peername")
        self.peer = str(cast(tuple[object, ...], peer)[0]) if isinstance(peer, tuple) and peer else ""
        self.server.timers.watch(self)
        if not self.server.opened(self):
            return
        self._set_deadline(self.server.settings.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone: whatever works for it is cancelled."""
        self.closed = self.closing = True
        self.server.timers.forget(self)
        self.server.lost(self)
        if self.fast is not None:
            self.fast.cancel()
        receiving, self._exchange = self._exchange, None
        waiting, self._queue = self._queue, []
        if receiving is not None and receiving not in waiting:
            waiting.append(receiving)
        for exchange in waiting:
            if exchange.strand is not None:
                exchange.strand.cancel(ClientGone())
        self._backlog = b""
        del self._parser  # it knows this connection: neither would be freed before a collection

    def eof_received(self) -> bool:
        """The client sends no more. It is taken as gone: a closed socket looks the same."""
        return False

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self.closing:
            return
        if self.fast is not None or self._backlog or (self._queue and self._queue[0].body_complete):
            self._backlog += data
            if len(self._backlog) > BACKLOG_BYTES_MAX and self.transport is not None:
                self.transport.pause_reading()
            return
        if self._exchange is not None or self._in_head or self._queue:
            self._feed(data)
        elif self._fresh:
            self._fresh += data
        else:
            self._fresh = data
            self.server.turn.soon(self._begin)

    def _begin(self) -> None:
        """A request starts with what came in this turn (or its body came, if its head was known)."""
        data, self._fresh = self._fresh, b""
        if self.closing:
            return
        if self._awaited is not None:
            known, head, length = self._awaited
            self._awaited = None
            data = head + data
            if len(data) == length and self.server.fast_path.run(self, known, data, len(head)):
                return
        elif self.server.fast_path.take(self, data):
            return
        self._feed(data)

    def pause_writing(self) -> None:
        """The client does not keep up: its producer stops, and it gets `write_timeout_s` to take some bytes."""
        self.write_paused = True
        self._set_deadline(self.server.settings.write_timeout_s)
        if self._queue and self._queue[0].valve is not None:
            self._queue[0].valve.pause()

    def resume_writing(self) -> None:
        """The client took enough."""
        self.write_paused = False
        if self._lingering:
            return
        self.deadline = 0.0
        if self._queue:
            if self._queue[0].valve is not None:
                self._queue[0].valve.resume()
        elif self.fast is None and not self.closing:
            self._set_deadline(self.server.settings.idle_timeout_s)

    def on_deadline(self) -> None:
        """Too slow."""
        if self._awaited is not None:
            head, self._awaited = self._awaited[1], None
            self._feed(head)
        if self.write_paused or self._lingering:
            self.abort()
        elif self._queue and not self._queue[0].body_complete:
            self._refuse(RequestTimeout("The request body did not arrive in time."))
        elif self._in_head and not self._queue:
            self._refuse(RequestTimeout("The request headers did not arrive in time."))
        elif not self._queue:
            self.close()

    # -- answers --------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """To the socket; `Valve`s keep the buffer bounded."""
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        """Close after what is buffered has been sent.

        With a request not read to its end the socket lingers, its input discarded: a close with unread input
        would reset the connection and take the answer with it.
        """
        self.closing = True
        if self.transport is None or self._lingering:
            return
        self._lingering = True
        self._backlog = b""
        if self._exchange is None and not self._in_head:
            self.transport.close()
            self._set_deadline(self.server.settings.write_timeout_s)
        else:
            self.transport.write_eof()
            self._set_deadline(LINGER_S)

    def abort(self) -> None:
        """Close now."""
        self.closing = True
        if self.transport is not None:
            self.transport.abort()

    def throttle_body(self, full: bool) -> None:
        """The taker of a streamed body is full, or takes more again."""
        if self.transport is not None and not self.closed:
            if full:
                self.transport.pause_reading()
                self.deadline = 0.0
            else:
                self.transport.resume_reading()
                self._set_deadline(self.server.settings.body_timeout_s)

    @property
    def loopback(self) -> bool:
        """The client is on this machine."""
        return self.peer.startswith("127.") or self.peer in ("::1", "")

    @property
    def idle(self) -> bool:
        """No request is being received or answered."""
        return (
            not self._queue
            and self.fast is None
            and self._awaited is None
            and not self._fresh
            and self._exchange is None
            and not self._in_head
        )

    def expect_body(self, known: "KnownHead", head: bytes, length: int) -> None:
        """A known head came alone; its body of `length` bytes is to follow."""
        self._awaited = known, head, len(head) + length
        self._set_deadline(self.server.settings.body_timeout_s)

    def long_way(self, data: bytes) -> None:
        """The request on the fast path goes through the parser after all."""
        self.fast = None
        self._feed(data)

    def adopt(self, exchange: Exchange) -> None:
        """An unusual answer to the request on the fast path is given as an exchange's."""
        self.fast = None
        self._queue.append(exchange)

    def fast_answer(self, answer: bytes) -> None:
        """The whole answer to the request on the fast path."""
        self.fast = None
        server = self.server
        if self.transport is not None:
            self.transport.write(answer)
        if server.draining:
            self.close()
            return
        if not self.write_paused:
            self.deadline = server.timers.now + server.settings.idle_timeout_s
        if self._backlog:
            server.loop.call_soon(self._next)

    def exchange_done(self, exchange: Exchange) -> None:
        """Its answer is complete: on to the next request."""
        self.server.answered(exchange)
        if self._queue and self._queue[0] is exchange:
            del self._queue[0]
        if self.closed:
            return
        if not exchange.keep_alive or self.server.draining or not exchange.body_complete:
            self.close()
            return
        if not self.write_paused:
            self._set_deadline(self.server.settings.idle_timeout_s)
        if self._queue or self._fault is not None or self._backlog:
            self.server.loop.call_soon(self._next)

    def _next(self) -> None:
        """The next pipelined request; in a loop turn of its own, so that many of them do not nest."""
        if self.closed:
            return
        if self._queue:
            head = self._queue[0]
            if head.strand is None and (head.body_complete or head.streamed_body):
                self._start(head)
        elif self._fault is not None:
            self._answer_fault()
        if self._backlog and not self.closing and not (self._queue and self._queue[0].body_complete):
            data, self._backlog = self._backlog, b""
            if self.transport is not None:
                self.transport.resume_reading()
            self._feed(data)

    # -- parser ---------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        size = len(data)
        if self._in_head:
            self._head_wire += size
        elif self._exchange is not None:
            self._body_wire += size
        else:
            self._head_wire, self._body_wire = size, 0
            if data[:1] in (b"\x16", b"\x80"):
                self.abort()  # TLS to a plain port: nothing we could say would be understood
                return
            if not self._queue:
                self._set_deadline(self.server.settings.header_timeout_s)
            self._in_head = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fault = self._fault or InvalidRequest(
                "This connection cannot be upgraded.", code="upgrade_unsupported"
            )
        except httptools.HttpParserCallbackError as error:
            if self._fault is None:
                raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            self._fault = self._fault or describe(error, data)
        if self._fault is not None:
            self._broken()
        elif self._in_head and self._head_wire > HEAD_BYTES_MAX:
            self._refuse(HeaderFieldsTooLarge(f"Request headers exceed {HEAD_BYTES_MAX} bytes."))
        elif (
            self._exchange is not None
            and self._body_wire > OVERHEAD_BYTES_MAX + 9 * self._exchange.body_received // 8
        ):
            self._refuse(PayloadTooLarge("The chunked body has too much framing."))

    def on_message_begin(self) -> None:
        """Parser: a request starts."""
        self._target = b""
        self.header_list = []
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Parser: (a part of) the target."""
        self._target += url
        if len(self._target) > TARGET_BYTES_MAX:
            self._stop(UriTooLong(f"The request target exceeds {TARGET_BYTES_MAX} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: one header (after the head: a trailer, ignored)."""
        if self._in_head:
            self.header_list.append((name, value))
            if len(self.header_list) > HEADER_COUNT_MAX:
                self._stop(HeaderFieldsTooLarge(f"More than {HEADER_COUNT_MAX} request headers."))

    def on_headers_complete(self) -> None:
        """Parser: the head is complete."""
        if self._head_wire > HEAD_BYTES_MAX and size_of(self.header_list) > HEAD_BYTES_MAX:
            self._stop(HeaderFieldsTooLarge(f"Request headers exceed {HEAD_BYTES_MAX} bytes."))
        self._in_head = False
        self._head_wire = self._body_wire = 0
        exchange = Exchange(self, self._target)
        fault = self._check_head(exchange)
        exchange.request_id = self.server.request_id(exchange)
        if fault is not None:
            self._exchange = exchange
            self._stop(fault)
        self._exchange = exchange
        self._queue.append(exchange)
        head, self.unknown_head = self.unknown_head, None
        if head is not None:
            self.server.fast_path.learn(head, exchange)
        if exchange.streamed_body:
            if self._queue[0] is exchange:
                self._start(exchange)
            return
        expect = exchange.headers.get(b"expect")
        if expect is not None:
            if expect.lower() != b"100-continue":
                self._stop(ExpectationFailed("Only `Expect: 100-continue` is understood."))
            if self._queue[0] is exchange and exchange.http11:
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Parser: a part of the body."""
        exchange = self._exchange
        assert exchange is not None
        exchange.body_received += len(body)
        if exchange.body_sink is not None:
            exchange.body_sink(body)
            return
        if exchange.body_received > exchange.body_limit and not exchange.responded:
            self._stop(too_large(exchange.body_limit))
        if not exchange.responded:
            exchange.body.append(body)
        if not self.write_paused:
            self.deadline = self.server.timers.now + self.server.settings.body_timeout_s

    def on_message_complete(self) -> None:
        """Parser: the request is complete."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.body_complete = True
        if not self.write_paused:
            self.deadline = 0.0
        if exchange.streamed_body:
            if exchange.body_sink is not None:
                exchange.body_sink(b"")
        elif self._queue[0] is exchange:
            self._start(exchange)

    # -- inside ---------------------------------------------------------------------------------------------

    def _check_head(self, exchange: Exchange) -> HubError | None:
        fault = read_head(self._parser, exchange, self.header_list)
        if fault is None:
            self.server.classify(exchange)
            length = exchange.headers.get(b"content-length")
            if length is not None and int(length) > exchange.body_limit:
                return too_large(exchange.body_limit)
        return fault

    def _start(self, exchange: Exchange) -> None:
        if not exchange.body_complete:
            self._set_deadline(self.server.settings.body_timeout_s)
        self.server.handle(exchange)

    def _stop(self, fault: HubError) -> None:
        """Stop the parser from inside a callback."""
        self._fault = fault
        raise fault

    def _refuse(self, fault: HubError) -> None:
        self._fault = fault
        self._broken()

    def _broken(self) -> None:
        """Nothing after this point is read; the fault is answered when its turn comes."""
        self.closing = True
        head = self._queue[0] if self._queue else None
        if head is None or (not head.body_complete and head.strand is None):
            self._answer_fault()
        elif not head.body_complete and head.strand is not None:
            head.strand.cancel(ClientGone())
            self._answer_fault()

    def _answer_fault(self) -> None:
        fault, self._fault = self._fault, None
        assert fault is not None
        exchange = self._exchange or (self._queue[0] if self._queue else Exchange(self, self._target))
        if exchange.status:
            self.abort()
            return
        self._queue.clear()
        self._queue.append(exchange)
        exchange.keep_alive = False
        exchange.request_id = exchange.request_id or self.server.request_id(exchange)
        exchange.fail(fault)

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self.server.timers.now + seconds
