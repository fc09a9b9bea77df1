"""The whole control flow of a request on a token path, in one place.

    authenticate → parse and validate → route → size and hold → prepare → upstream → relay (checkpoint, grow)
    → capture, in every case

Runs on a `Strand`: it awaits signals that socket callbacks set. A client that goes away raises `ClientGone` at the
present `await`; `finally` closes the upstream at once and captures what was delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog

from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import HubError, InvalidRequest, NotFound, UpstreamError
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway.admission import (
    Admission,
    admit,
    admit_fast,
    authenticate,
    check_access,
    grow,
    known_principal,
    learn,
    unavailable,
)
from tokenhub.maas.gateway.answer import Collector, UpstreamLost, check_answer, read_answer
from tokenhub.maas.gateway.errors import ClientGone
from tokenhub.maas.gateway.event_relay import EventRelay
from tokenhub.maas.gateway.exchange import JSON, Exchange, header_block
from tokenhub.maas.gateway.meter import Meter
from tokenhub.maas.gateway.pool import Origin
from tokenhub.maas.gateway.raw_relay import STREAM_HEADERS, RawRelay
from tokenhub.maas.gateway.request import UPSTREAM_PATH, Endpoint, ParsedRequest
from tokenhub.maas.gateway.sizing import CONTEXT_UNKNOWN_TOKENS, size
from tokenhub.maas.gateway.snapshot import KeyRoute
from tokenhub.maas.gateway.strand import Strand
from tokenhub.maas.gateway.upstream import UpstreamConnection
from tokenhub.maas.gateway.upstream_adapter import PreparedRequest
from tokenhub.maas.gateway.validation import parse_request

if TYPE_CHECKING:
    from tokenhub.maas.gateway.server import GatewayServer

ATTEMPTS_MAX = 3
CLIENT_CLOSED = 499
_log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


async def conduct(server: "GatewayServer", exchange: Exchange, endpoint: Endpoint) -> None:
    """One request from its first check to its last byte. Never raises."""
    try:
        if exchange.method != b"POST":
            raise server.method_not_allowed("POST")
        principal = known_principal(server, exchange) or await authenticate(server, exchange)
        body = _body(exchange)
        request = parse_request(endpoint, body, request_id=exchange.request_id)
        if b"idempotency-key" in exchange.headers and await server.idempotency.enter(
            exchange, principal, body
        ):
            return
        exchange.drop_head()
        await _serve(server, exchange, principal, request)
    except HubError as error:
        exchange.fail(error)
    except ClientGone:
        exchange.status = exchange.status or CLIENT_CLOSED
    except Exception:  # noqa: BLE001  # the edge of a request
        _log.exception("request_failed", request_id=exchange.request_id)
        exchange.fail(HubError("The hub failed to serve this request; its log says why."))
    finally:
        exchange.valve = (
            None  # a relay and its exchange know each other: neither would be freed before a collection
        )
        if exchange.recorder is not None:
            server.idempotency.leave(exchange)


def _body(exchange: Exchange) -> bytes:
    parts, exchange.body = exchange.body, []
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    if not body:
        raise InvalidRequest("The request body is empty; send a JSON object.", code="invalid_json")
    return body


@dataclass(slots=True)
class _Job:
    """What the steps below share about one request."""

    server: "GatewayServer"
    exchange: Exchange
    request: ParsedRequest
    route: KeyRoute
    meter: Meter
    admission: Admission

    def quota_headers(self) -> bytes:
        return self.route.quota_headers(self.server.clerk, self.exchange.started_ms)


async def _serve(
    server: "GatewayServer", exchange: Exchange, principal: Principal, request: ParsedRequest
) -> None:
    """Route, hold, run, capture."""
    keeper, clerk, at_ms = server.keeper, server.clerk, exchange.started_ms
    route = keeper.route(principal, request.model, request.endpoint)
    deployment = route and server.router.choose(route.deployments, now_s=server.timers.now)
    if route is None or deployment is None:
        route, deployment = await _find(server, principal, request)
    request.deployment = deployment
    price = keeper.current.price_of(request.model, at_ms)
    bounds = size(request, deployment, price, at_ms=at_ms)
    path = route.path
    try:
        admission = admit_fast(
            clerk, path, bounds, request_id=request.request_id, at_ms=at_ms
        ) or await admit(
            clerk,
            path,
            bounds,
            request=request,
            deployments=route.deployments,
            counter=server.prompt_counter if deployment.own_engine else None,
            known=server.prompt_bounds,
            at_ms=at_ms,
        )
    except HubError as error:
        error.headers.update(
            {name.decode(): value.decode() for name, value in clerk.quota_headers(path, at_ms)}
        )
        raise
    meter = Meter(
        clerk,
        admission.hold,
        route,
        request,
        deployment,
        price,
        started_ms=at_ms,
        service_tier=bounds.service_tier,
    )
    job = _Job(server, exchange, request, route, meter, admission)
    status, delivered = 500, True
    try:
        await _run(job, route.deployments, deployment)
        status = exchange.status
    except ClientGone:
        status, meter.finish, delivered = CLIENT_CLOSED, "cancelled", bool(exchange.status)
        raise
    except HubError as error:
        status, meter.finish = error.status, "error"
        raise
    finally:
        _settle(job, status=status, delivered=delivered)


async def _find(
    server: "GatewayServer", principal: Principal, request: ParsedRequest
) -> tuple[KeyRoute, Deployment]:
    """A new route and its best deployment; what is missing may have come, or come back, since the last look.

    Raises: what `check_access` does; Unavailable.
    """
    keeper, error = server.keeper, HubError("")
    for again in (True, False):
        try:
            access = check_access(principal, request, keeper.current)
            deployment = server.router.choose(access, now_s=server.timers.now)
            if deployment is not None:
                return keeper.add_route(principal, request, access), deployment
            error = unavailable(request.model)
        except NotFound as missing:
            error = missing
        if again:
            await Strand.wait(keeper.check())
    raise error


def _settle(job: _Job, *, status: int, delivered: bool) -> None:
    """Capture what the upstream did for us, or void a hold that nothing was done for. Idempotent."""
    meter, hold = job.meter, job.admission.hold
    if hold.closed:
        return
    if meter.received:
        job.server.metrics.captured(meter.capture(status=status, delivered=delivered))
        if job.admission.prompt is not None:
            learn(job.server.prompt_bounds, job.admission, meter)
    else:
        job.server.clerk.void(hold)


async def _run(job: _Job, deployments: Sequence[Deployment], first: Deployment) -> None:
    """Up to `ATTEMPTS_MAX` upstreams, while none of them has sent a byte of an answer."""
    server = job.server
    tried: list[str] = []
    deployment = first
    while True:
        tried.append(deployment.id)
        job.meter.deployment = job.request.deployment = deployment
        load = server.router.load(deployment)
        load.running += 1
        try:
            await _attempt(job, deployment)
            return
        except UpstreamLost as lost:
            if lost.untouched:
                server.router.failed(deployment, now_s=server.timers.now)
            other = server.router.choose(deployments, now_s=server.timers.now, tried=tried)
            if other is None and lost.untouched and deployment.own_engine:
                other = await Strand.wait(server.keeper.next_life(deployment))
            if other is None or not lost.untouched or len(tried) >= ATTEMPTS_MAX:
                raise lost.error from None
        finally:
            load.running -= 1
        deployment = other
        if (other.context_tokens or CONTEXT_UNKNOWN_TOKENS) > (
            first.context_tokens or CONTEXT_UNKNOWN_TOKENS
        ):  # it could answer more than the hold pays for
            held = job.admission.size
            job.request.upstream_max_tokens = held.output_tokens // held.choices


async def _attempt(job: _Job, deployment: Deployment) -> None:
    """One upstream, from the connection to the last byte. Leaving closes a connection that is not finished."""
    request = job.request
    request.upstream_stream = job.admission.paid_tokens is not None
    prepared = job.server.adapter(deployment).prepare(request)
    connection = _kept(job, deployment) or await _connect(job, deployment)
    collector, turn = Collector(early=prepared.stream), connection.turn
    try:
        while True:
            _send(job, connection, collector, deployment, prepared)
            turn = connection.turn
            try:
                head = await collector.head
                break
            except UpstreamLost as lost:
                if not (lost.untouched and connection.reused):
                    raise
                # A kept connection that the upstream had closed meanwhile: once more, on a new one.
                collector = Collector(early=prepared.stream)
                connection = await _connect(job, deployment)
        prepared.body = b""  # sent; a stream may last for minutes
        check_answer(head, b"" if 200 <= head.status < 300 else await collector.whole, prepared.mender)
        if prepared.stream and b"json" not in head.headers.get(b"content-type", b""):
            del head, collector  # a stream may last for minutes, and there are many
            await _stream(job, connection, prepared)
        else:
            await _whole(job, collector, prepared)
    finally:
        if connection.busy and connection.turn == turn:  # else it has ended here and serves another request
            connection.abort()


def _kept(job: _Job, deployment: Deployment) -> UpstreamConnection | None:
    return job.server.pool.origin(deployment.base_url).idle()


async def _connect(job: _Job, deployment: Deployment) -> UpstreamConnection:
    origin = job.server.pool.origin(deployment.base_url)
    return await Strand.wait(_open(origin, deployment.timeouts.connect_s), UpstreamConnection.abort)


async def _open(origin: Origin, timeout_s: float) -> UpstreamConnection:
    try:
        return await origin.connect(timeout_s)
    except HubError as error:
        raise UpstreamLost(error, untouched=True) from None


def _send(
    job: _Job,
    connection: UpstreamConnection,
    collector: Collector,
    deployment: Deployment,
    prepared: PreparedRequest,
) -> None:
    times, path = deployment.timeouts, UPSTREAM_PATH[job.request.endpoint]
    head = job.server.upstream_head(deployment, path, job.request.request_id, len(prepared.body))
    connection.send(head + prepared.body, collector, first_s=times.first_token_s, idle_s=times.idle_s)


async def _whole(job: _Job, collector: Collector, prepared: PreparedRequest) -> None:
    """An answer in one piece: captured, then sent."""
    body = read_answer(await collector.whole, job.meter, prepared.mender)
    _settle(job, status=200, delivered=True)
    job.exchange.respond(200, JSON + job.quota_headers(), body)


async def _stream(job: _Job, connection: UpstreamConnection, prepared: PreparedRequest) -> None:
    """A stream, relayed as it comes, or taken apart where something has to be done to it."""
    exchange, headers = job.exchange, STREAM_HEADERS + job.quota_headers()
    if job.request.stream and prepared.mender is None and job.admission.paid_tokens is None:
        job.request.drop_fields()
        relay = RawRelay(exchange, connection, job.meter, headers)
        connection.move_to(relay)
        await relay.ended
        if not exchange.status:
            raise UpstreamError("The upstream ended its stream before it began.")
        _settle(job, status=200, delivered=True)
        exchange.finish(relay.tail)
        return
    relay = EventRelay(
        exchange,
        connection,
        job.meter,
        headers,
        mender=prepared.mender,
        paid_tokens=job.admission.paid_tokens,
    )
    connection.move_to(relay)
    while await relay.turn == "grow":
        more = await grow(job.server.clerk, job.admission)
        job.admission.paid_tokens = (job.admission.paid_tokens or 0) + more
        relay.grown(more)
    if relay.assembly is None:
        _settle(job, status=200, delivered=True)
        exchange.finish(relay.tail)
        return
    body = _encode(relay.assembly.body(relay.usage_object()))
    _settle(job, status=200, delivered=True)
    exchange.respond(200, JSON + _limited_by(job, relay) + job.quota_headers(), body)


def _limited_by(job: _Job, relay: EventRelay) -> bytes:
    """Names the limit that ended the answer early."""
    limit = job.admission.hold.refused_by
    if not relay.cut:
        return b""
    name = (limit.name or limit.id) if limit is not None else "budget"
    plain = "".join(sign if " " <= sign <= "~" else "?" for sign in name)
    return header_block([(b"x-ath-limited-by", plain.encode())])
