"""The short way of the request that most of a gateway's load consists of.

A plain chat completion (no stream, far from every cap, on an upstream that keeps to the API and has a connection
waiting) needs no coroutine, no exchange and no header by header parsing: a head whose bytes were parsed before is
known whole, whatever its `Content-Length` says. Everything else, and everything unusual that happens on the way,
takes the long way through `conductor`, which decides the same questions with the same functions (ADR 0005).

    take: head known → body plain → route → hold → upstream
    on_whole: usage → rate → capture (journal) → answer
"""

import re
import time
from typing import TYPE_CHECKING

from tokenhub.clearing.cells import Hold
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import HubError
from tokenhub.maas.gateway import leaves
from tokenhub.maas.gateway.admission import credential, find_principal
from tokenhub.maas.gateway.answer import (
    Body,
    UpstreamLost,
    check_answer,
    read_answer,
    read_plain_answer,
)
from tokenhub.maas.gateway.consumer import ResponseHead
from tokenhub.maas.gateway.exchange import JSON, STATUS_LINE, Exchange
from tokenhub.maas.gateway.lane import Lane
from tokenhub.maas.gateway.meter import Meter
from tokenhub.maas.gateway.request import UPSTREAM_PATH
from tokenhub.maas.gateway.sizing import plain_need
from tokenhub.maas.gateway.snapshot import KeyRoute, Snapshot
from tokenhub.maas.gateway.upstream import UpstreamConnection
from tokenhub.maas.gateway.upstream_adapter import ConformingAdapter
from tokenhub.maas.gateway.validation import PLAIN_BYTES_MAX, parse_request, plain_chat
from tokenhub.metering.plain import PlainUse
from tokenhub.pricing.errors import UnpricedDimension
from tokenhub.pricing.price import Price
from tokenhub.pricing.rating import rate_plain

if TYPE_CHECKING:
    from tokenhub.maas.gateway.connection import ClientConnection
    from tokenhub.maas.gateway.server import GatewayServer

PATH = b"/v1/chat/completions"
HEAD_BYTES_MAX = 4096
HEADS_MAX = 4096
"""Known heads kept; then all are forgotten and learned again."""
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,8})\r\n")
_LONG_WAY = (b"expect", b"idempotency-key", b"x-client-request-id", b"transfer-encoding", b"upgrade")
_OK = STATUS_LINE[200] + JSON
_PLAIN_HEAD = ResponseHead(200, {}, b"")


def known_head(data: bytes) -> tuple[bytes, int, int] | None:
    """A head without the digits of its `Content-Length`, where the body begins, and that length."""
    end = data.find(b"\r\n\r\n")
    found = _LENGTH.search(data, 0, end + 2) if 0 < end <= HEAD_BYTES_MAX else None
    if found is None:
        return None
    start, stop = found.span(1)
    return data[:start] + data[stop:end], end + 4, int(data[start:stop])


def write_request(head: bytes, request_id: str, before: bytes, model: bytes, after: bytes) -> bytes:
    """For an upstream; its body is the last three."""
    length = len(before) + len(model) + len(after)
    middle = f"x-request-id: {request_id}\r\ncontent-length: {length}\r\n\r\n".encode()
    return b"".join((head, middle, before, model, after))


def write_answer(start: bytes, quota: bytes, request_id: str, end: bytes, body: bytes) -> bytes:
    """For a client; `end` with the empty line."""
    middle = f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\n".encode()
    return b"".join((start, quota, middle, end, body))


class KnownHead:
    """A request head that the parser has accepted, without the digits of its length."""

    __slots__ = ("principal", "routes", "secret", "snapshot")

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.snapshot: Snapshot | None = None
        self.principal: Principal | None = None
        self.routes: dict[str, KeyRoute] = {}
        """By model, of `snapshot`."""


class FastPath:
    """The known heads of one gateway, and the decision whether a request may go this way."""

    __slots__ = ("_heads", "_server", "answers", "charges", "taken", "uses")

    def __init__(self, server: "GatewayServer") -> None:
        self.taken = 0
        """Requests that went this way."""
        self._server = server
        self.charges: list[tuple[Hold, PlainUse, int]] = []
        """Of the answers that came in this turn; with `uses` and `answers` in step, until `flush`."""
        self.uses: list[PlainUse] = []
        self.answers: list[tuple[FastRequest, bytes]] = []
        self._heads: dict[bytes, KnownHead] = {}

    def take(self, connection: "ClientConnection", data: bytes) -> bool:
        """The first bytes of a request on an idle connection. False: nothing was done, parse them."""
        found = leaves.known(data) or known_head(data)
        if found is None:
            return False
        key, start, length = found
        known = self._heads.get(key)
        if known is None:
            connection.unknown_head = key
            return False
        size = len(data) - start
        if size == length:
            return self.run(connection, known, data, start)
        if size or length > PLAIN_BYTES_MAX:
            return False
        connection.expect_body(known, data, length)
        return True

    def learn(self, key: bytes, exchange: Exchange) -> None:
        """The parser has accepted this head (`key`): know it from now on, if its kind may go this way."""
        headers = exchange.headers
        secret = credential(headers)
        if (
            secret is None
            or exchange.principal is None
            or exchange.target != PATH
            or exchange.method != b"POST"
            or not (exchange.http11 and exchange.keep_alive)
            or b"content-length" not in headers
            or len(headers) != len(exchange.header_list)
            or any(name in headers for name in _LONG_WAY)
            or key.count(b"\n") != len(headers)  # a line a header, the last one's end cut off
            or key.count(b"\r\n") != len(headers)
        ):
            return
        if len(self._heads) >= HEADS_MAX:
            self.forget()
        self._heads[key] = KnownHead(secret)

    def run(self, connection: "ClientConnection", known: KnownHead, data: bytes, start: int) -> bool:
        """A whole request whose body begins at `start`. False: nothing was done, parse it."""
        server = self._server
        snapshot = server.keeper.current
        if known.snapshot is not snapshot:
            known.snapshot, known.routes = snapshot, {}
            known.principal = find_principal(snapshot, known.secret)
        principal, size = known.principal, len(data) - start
        at_ms = time.time_ns() // 1_000_000
        if (
            principal is None
            or server.draining
            or size > server.settings.body_bytes_max
            or (principal.expires_at_ms is not None and principal.expires_at_ms <= at_ms)
        ):
            return False
        plain = plain_chat(data, start)
        if plain is None:
            return False
        model, limit, choices, before, after = plain
        route = known.routes.get(model)
        if route is None:
            route = server.keeper.route(principal, model, "chat.completions")
            if route is None:
                return False
            known.routes[model] = route
        lane = route.lane or self._choose(route)
        if lane is None:
            return False
        deployment = lane.deployment
        if at_ms >= lane.price_until_ms:
            lane.look_up_price(snapshot, at_ms)
        price = lane.price
        try:
            need = plain_need(limit, choices, size, deployment, price, at_ms=at_ms)
        except UnpricedDimension:
            return False
        request_id = server.request_ids.next(at_ms)
        hold = server.clerk.try_authorize(route.path, need, request_id, at_ms)
        if hold is None:
            return False
        upstream = lane.origin.idle()
        if upstream is None:
            server.clerk.void(hold)
            return False
        self.taken += 1
        connection.fast = FastRequest(
            connection, data, start, at_ms, route, lane, price, hold, upstream, before, after
        )
        if not connection.write_paused:
            connection.deadline = 0.0
        return True

    def forget(self) -> None:
        """Know no head any more."""
        self._heads.clear()

    def flush(self) -> None:
        """The end of a turn: one journal write for all answers of it, then the answers."""
        charges, uses, answers = self.charges, self.uses, self.answers
        if not charges:
            return
        self.charges, self.uses, self.answers = [], [], []
        server = self._server
        try:
            lines = server.clerk.journal_plain(charges)
        except HubError as error:
            for request, _ in answers:
                request.fail(error)
            return
        try:
            for (request, body), use in zip(answers, uses, strict=True):
                request.answer(use, body)
        finally:
            server.clerk.close_plain(charges, lines)
        server.metrics.answered_plain(uses)

    def _choose(self, route: KeyRoute) -> Lane | None:
        server = self._server
        deployment = server.router.choose(route.deployments, now_s=server.timers.now)
        if deployment is None:
            return None
        lane = route.lanes.get(deployment.id)
        if lane is not None or not isinstance(server.adapter(deployment), ConformingAdapter):
            return lane
        head = server.upstream_start(deployment, UPSTREAM_PATH["chat.completions"])
        origin = server.pool.origin(deployment.base_url)
        lane = route.lanes[deployment.id] = Lane(
            route, deployment, server.router.load(deployment), origin, head
        )
        if len(route.deployments) == 1:
            route.lane = lane
        return lane


class FastRequest:
    """One request on its way: consumes the upstream's answer, is cancelled with its client."""

    __slots__ = (
        "_body",
        "_connection",
        "_data",
        "_head",
        "_hold",
        "_lane",
        "_price",
        "_route",
        "_start",
        "_started_ms",
        "_upstream",
    )
    wants_framed = False

    def __init__(
        self,
        connection: "ClientConnection",
        data: bytes,
        start: int,
        started_ms: int,
        route: KeyRoute,
        lane: Lane,
        price: Price,
        hold: Hold,
        upstream: UpstreamConnection,
        before: bytes,
        after: bytes,
    ) -> None:
        """Give the request to the upstream. From here on exactly one of `on_whole`, `on_end`, `on_lost` or
        `cancel` ends it; no answer is read before this returns."""
        self._connection = connection
        self._data = data
        self._start = start
        self._started_ms = started_ms
        self._route = route
        self._lane = lane
        self._price = price
        self._hold = hold
        self._head: ResponseHead | None = None
        self._upstream = upstream
        times, transport = lane.times, upstream.transport
        assert transport is not None
        parts = lane.head, hold.request_id, before, lane.model, after
        transport.write(leaves.asked(*parts) or write_request(*parts))
        upstream.expect(self, first_s=times.first_token_s, idle_s=times.idle_s, on_whole=self.on_whole)
        lane.load.running += 1

    def cancel(self) -> None:
        """The client is gone: so is the work for it."""
        self._upstream.abort(of=self)
        self._lane.load.running -= 1
        self._connection.server.clerk.void(self._hold)

    # -- the upstream's answer ------------------------------------------------------------------------------

    def on_whole(self, body: bytes) -> None:
        """The whole answer in one block."""
        connection, lane, hold = self._connection, self._lane, self._hold
        server = connection.server
        counts = leaves.answer(body) or read_plain_answer(body)
        if counts is None:
            self._closely(_PLAIN_HEAD, body)
            return
        fresh, cached, output, finish = counts
        amount_nano = rate_plain(self._price, fresh, cached, output)
        if amount_nano is None:
            self._closely(_PLAIN_HEAD, body)
            return
        lane.load.running -= 1
        at_ms = time.time_ns() // 1_000_000
        kind = lane.kind(server.clerk.kinds, self._price, hold.path_id, finish)
        use = (
            kind,
            hold.request_id,
            at_ms,
            fresh,
            cached,
            output,
            amount_nano,
            at_ms - self._started_ms,
        )
        fast_path = server.fast_path
        fast_path.charges.append((hold, use, fresh + cached + output))
        fast_path.uses.append(use)
        fast_path.answers.append((self, body))
        if not server.turn.running:
            fast_path.flush()

    def answer(self, use: PlainUse, body: bytes) -> None:
        """It is in the journal: the client gets it."""
        server = self._connection.server
        quota = self._route.quota_headers(server.clerk, use[2])
        parts = _OK, quota, use[1], server.date_header, body
        self._connection.fast_answer(leaves.answered(*parts) or write_answer(*parts))

    def fail(self, error: HubError) -> None:
        """An error answer."""
        self._exchange().fail(error)

    def on_head(self, head: ResponseHead) -> None:
        """Status and headers of an answer that comes in parts."""
        self._head = head
        self._body = Body()

    def on_data(self, data: bytes) -> None:
        """A part of the body."""
        self._body.add(data)

    def on_framed(self, data: bytes, *, last: bool) -> None:
        """Never: `wants_framed` is false."""

    def on_end(self) -> None:
        """The body is complete."""
        assert self._head is not None
        self._closely(self._head, self._body.whole())

    def on_lost(self, error: HubError, *, untouched: bool) -> None:
        """The answer is cut. A kept connection that the upstream had closed meanwhile: once more, the long way."""
        self._lane.load.running -= 1
        self._connection.server.clerk.void(self._hold)
        if untouched:
            self._lane.origin.drop_idle()
            self._connection.long_way(self._data)
        else:
            self.fail(error)

    # -- what is not plain ----------------------------------------------------------------------------------

    def _closely(self, head: ResponseHead, body: bytes) -> None:
        """An answer that is no plain one: an error, odd counts, or none. As the conductor treats it."""
        server, lane, hold = self._connection.server, self._lane, self._hold
        lane.load.running -= 1
        request = parse_request("chat.completions", self._data[self._start :], request_id=hold.request_id)
        request.deployment = lane.deployment
        meter = Meter(
            server.clerk,
            hold,
            self._route,
            request,
            lane.deployment,
            self._price,
            started_ms=self._started_ms,
            service_tier="default",
        )
        try:
            check_answer(head, body, None)
            answer = read_answer(body, meter, None)
            server.metrics.captured(meter.capture(status=200))
        except UpstreamLost as lost:
            server.router.failed(lane.deployment, now_s=server.timers.now)
            server.clerk.void(hold)
            if len(self._route.deployments) > 1:
                self._connection.long_way(self._data)
            else:
                self.fail(lost.error)
        except HubError as error:
            meter.finish = "error"
            if meter.received:
                meter.capture(status=error.status)
            else:
                server.clerk.void(hold)
            self.fail(error)
        else:
            headers = JSON + self._route.quota_headers(server.clerk, self._started_ms)
            self._exchange().respond(200, headers, answer)

    def _exchange(self) -> Exchange:
        """The same request as the long way knows it, to be answered."""
        exchange = Exchange(self._connection, PATH)
        exchange.method = b"POST"
        exchange.request_id = self._hold.request_id
        exchange.started_ms = self._started_ms
        exchange.body_complete = True
        self._connection.adopt(exchange)
        return exchange
