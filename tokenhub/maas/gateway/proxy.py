"""Every path that is not a token path goes to the app's unix socket, streaming both ways."""

from typing import TYPE_CHECKING

import structlog

from tokenhub.kernel.errors import HubError, Unavailable, UpstreamError
from tokenhub.maas.gateway.consumer import ResponseHead
from tokenhub.maas.gateway.errors import ClientGone
from tokenhub.maas.gateway.exchange import Exchange, header_block
from tokenhub.maas.gateway.strand import Signal, Strand
from tokenhub.maas.gateway.upstream import UpstreamConnection

if TYPE_CHECKING:
    from tokenhub.maas.gateway.server import GatewayServer

CONNECT_S = 2.0
ANSWER_S = 600.0
IDLE_S = 600.0
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"http2-settings",
    }
)
_FRAMING = frozenset({b"host", b"content-length"})
"""What a `Connection` header may not take away: without its length a body would read as the next request."""
_OURS = frozenset(
    {b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"}
)
_log = structlog.get_logger()


async def proxy(server: "GatewayServer", exchange: Exchange) -> None:
    """One request to the app and back. Never raises."""
    connection: UpstreamConnection | None = None
    try:
        connection = await _connect(server, exchange)
        relay = _ProxyRelay(exchange, connection)
        connection.expect(relay, first_s=ANSWER_S, idle_s=IDLE_S, head_only=exchange.method == b"HEAD")
        connection.write(_request_head(exchange))
        _send_body(exchange, connection)
        await relay.ended
        relay.finish()
    except HubError as error:
        if exchange.status:
            exchange.abort()  # a half answer must not look whole
        else:
            exchange.fail(error)
    except ClientGone:
        pass
    except Exception:  # noqa: BLE001  # the edge of a request
        _log.exception("proxied_request_failed", request_id=exchange.request_id)
        exchange.abort()
    finally:
        exchange.body_sink = exchange.valve = None
        if connection is not None and (connection.busy or not exchange.body_complete):
            connection.abort()


async def _connect(server: "GatewayServer", exchange: Exchange) -> UpstreamConnection:
    origin = server.pool.origin(f"unix://{server.settings.app_socket}")
    # A kept connection may be stale, and only a request without a body can be sent again.
    connection = origin.idle() if exchange.method in (b"GET", b"HEAD") else None
    if connection is not None:
        return connection
    try:
        return await Strand.wait(origin.connect(CONNECT_S))
    except HubError:
        raise Unavailable(
            "The hub's app process does not answer; it may be starting. Try again in a moment."
        ) from None


def _request_head(exchange: Exchange) -> bytes:
    connection = exchange.connection
    trusted = connection.loopback
    forwarded = exchange.headers.get(b"x-forwarded-for") if trusted else None
    proto = exchange.headers.get(b"x-forwarded-proto") if trusted else None
    host = exchange.headers.get(b"x-forwarded-host") if trusted else None
    parts = [exchange.method, b" ", exchange.target, b" HTTP/1.1\r\n"]
    named = {name.strip().lower() for name in exchange.headers.get(b"connection", b"").split(b",")} - _FRAMING
    for name, value in exchange.header_list:
        lowered = name.lower()
        if lowered not in _HOP_BY_HOP and lowered not in _OURS and lowered not in named:
            parts += (name, b": ", value, b"\r\n")
    if b"host" not in exchange.headers:
        parts.append(b"host: localhost\r\n")
    parts += (
        b"x-request-id: %s\r\n" % exchange.request_id.encode(),
        b"x-forwarded-for: %s\r\n" % (forwarded or connection.peer.encode() or b"127.0.0.1"),
        b"x-forwarded-proto: %s\r\n" % (proto or b"http"),
        b"x-forwarded-host: %s\r\n" % (host or exchange.headers.get(b"host", b"localhost")),
    )
    if b"transfer-encoding" in exchange.headers:
        parts.append(b"transfer-encoding: chunked\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def _send_body(exchange: Exchange, connection: UpstreamConnection) -> None:
    """What came so far, then each part as it comes; reading rests while the app does not take more."""
    chunked = b"transfer-encoding" in exchange.headers

    def sink(part: bytes) -> None:
        if part:
            connection.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        elif chunked:
            connection.write(b"0\r\n\r\n")

    if (
        exchange.headers.get(b"expect", b"").lower() == b"100-continue"
        and exchange.http11
        and not exchange.body
    ):
        exchange.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts, exchange.body = exchange.body, []
    for part in parts:
        sink(part)
    if exchange.body_complete:
        sink(b"")
    else:
        connection.throttle = exchange.connection.throttle_body
        exchange.body_sink = sink


class _ProxyRelay:
    """Consumes the app's answer, feeds the client."""

    wants_framed = False

    def __init__(self, exchange: Exchange, connection: UpstreamConnection) -> None:
        self._exchange = exchange
        self._connection = connection
        self.ended: Signal[None] = Signal()
        exchange.valve = self

    def pause(self) -> None:
        """The client does not keep up."""
        self._connection.pause(of=self)

    def resume(self) -> None:
        """It does again."""
        self._connection.resume(of=self)

    def on_head(self, head: ResponseHead) -> None:
        """Status and headers, without those of the hop."""
        headers = [
            (name, value)
            for name, value in head.fields()
            if name not in _HOP_BY_HOP and name != b"x-request-id"
        ]
        bodiless = self._exchange.method == b"HEAD" or head.status in (204, 304)
        self._exchange.begin(
            head.status, header_block(headers), sized=bodiless or b"content-length" in head.headers
        )

    def on_framed(self, data: bytes, *, last: bool) -> None:
        """Never: `wants_framed` is false."""

    def on_data(self, data: bytes) -> None:
        """A part of the body."""
        self._exchange.write(data)

    def on_end(self) -> None:
        """The answer is complete."""
        self.ended.set(None)

    def on_lost(self, error: HubError, *, untouched: bool) -> None:
        """The app broke off."""
        self.ended.fail(
            UpstreamError("The hub's app process broke off its answer.") if not untouched else _down()
        )

    def finish(self) -> None:
        """The end of the answer."""
        self._exchange.finish()


def _down() -> Unavailable:
    return Unavailable("The hub's app process does not answer; it may be restarting. Try again in a moment.")
