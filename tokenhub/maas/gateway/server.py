"""The gateway process: listens, owns what its connections share, drains and stops.

Start reading a request's way in `conductor.py`.
"""

import asyncio
import gc
import resource
import socket
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate

import structlog

from tokenhub.clearing.clerk import Clerk
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError, Unavailable
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway import endpoints, metrics_share
from tokenhub.maas.gateway.admission import credential, find_principal
from tokenhub.maas.gateway.conductor import conduct
from tokenhub.maas.gateway.connection import ClientConnection
from tokenhub.maas.gateway.errors import MethodNotAllowed, allow, error_body
from tokenhub.maas.gateway.exchange import STATUS_LINE, Exchange
from tokenhub.maas.gateway.fast_path import FastPath
from tokenhub.maas.gateway.idempotency import Idempotency
from tokenhub.maas.gateway.loopback import no_pacing
from tokenhub.maas.gateway.metrics import Metrics
from tokenhub.maas.gateway.pool import UpstreamPool
from tokenhub.maas.gateway.prompt_bounds import PromptBounds
from tokenhub.maas.gateway.proxy import proxy
from tokenhub.maas.gateway.request import Endpoint
from tokenhub.maas.gateway.request_ids import RequestIds
from tokenhub.maas.gateway.snapshot import SnapshotKeeper
from tokenhub.maas.gateway.strand import Strand
from tokenhub.maas.gateway.timers import Timers
from tokenhub.maas.gateway.turn import Turn
from tokenhub.maas.gateway.upstream_adapter import ConformingAdapter, PromptCounter, UpstreamAdapter
from tokenhub.maas.routing.choice import Router

BACKLOG = 4096
LATE_S = 0.3
"""How long after the beginning of a drain a connection may still bring a request."""
UNKNOWN_KEY_BODY_BYTES_MAX = 1024 * 1024
"""Body accepted from a caller whose key is not in the snapshot (yet)."""
PROXIED_BODY_BYTES_MAX = 2**62
CLIENT_REQUEST_ID_MAX = 512
TOKEN_PATHS: dict[bytes, Endpoint] = {
    b"/v1/chat/completions": "chat.completions",
    b"/v1/completions": "completions",
    b"/v1/embeddings": "embeddings",
}
OWN_PATHS = frozenset({b"/v1/models", b"/v1/quota", b"/healthz", b"/metrics"})
_log = structlog.get_logger()


class GatewayServer:
    """What all connections of one process share."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        index: int,
        adapters: Mapping[str, UpstreamAdapter],
        prompt_counter: PromptCounter | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.settings = settings
        self.index = index
        self.loop = loop
        self.prompt_counter = prompt_counter
        self.prompt_bounds = PromptBounds()
        self.draining = False
        self.date_header = b""
        self.timers = Timers(loop)
        self.turn = Turn(loop)
        self.pool = UpstreamPool(self.timers, self.turn)
        self.router = Router()
        self.clerk = Clerk(database, settings, owner_name=f"gateway-{index}", loop=loop)
        self.keeper = SnapshotKeeper(database, self.clerk)
        self.idempotency = Idempotency(database, self.clerk.owner_id)
        self.metrics = Metrics(str(index), self.clerk.kinds)
        self.connections: set[ClientConnection] = set()
        self.metrics.gauges.append(self._gauges)
        self._adapters = adapters
        self._conforming = ConformingAdapter()
        self._heads: dict[tuple[str, bytes], bytes] = {}
        self.request_ids = RequestIds()
        self.fast_path = FastPath(self)
        self.turn.after = self.fast_path.flush
        self._second: asyncio.TimerHandle | None = None

    # -- life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Everything but the listening sockets. Raises: SQLAlchemyError."""
        await self.clerk.start()
        await self.keeper.start()
        self.idempotency.start()
        self.timers.start()
        self._each_second()

    async def drain(self, timeout_s: float) -> None:
        """Close idle connections, wait for open answers, cut what is left; then settle everything.

        A request that was on its way when the drain began is served: idle connections are closed a moment later.
        """
        self.draining = True
        until, idle_until = self.loop.time() + timeout_s, self.loop.time() + LATE_S
        while self.connections and self.loop.time() < until:
            for connection in list(self.connections) if self.loop.time() >= idle_until else ():
                if connection.idle:
                    connection.close()
            await asyncio.sleep(0.05)
        for connection in list(self.connections):
            connection.abort()
        while self.connections and self.loop.time() < until + 5:
            await asyncio.sleep(0.01)
        await self.keeper.close()
        await self.idempotency.close()
        await self.clerk.close()
        self.pool.close()
        self.timers.stop()
        if self._second is not None:
            self._second.cancel()

    def _each_second(self) -> None:
        self.date_header = b"date: %s\r\n\r\n" % formatdate(usegmt=True).encode()
        self._second = self.loop.call_later(1.0, self._each_second)

    # -- connections ----------------------------------------------------------------------------------------

    def opened(self, connection: ClientConnection) -> bool:
        """False: there are too many, this one was turned away."""
        if len(self.connections) >= self.settings.connections_max:
            body = error_body(
                Unavailable("Too many open connections; try again in a moment.", code="too_many_connections")
            )
            head = b"content-type: application/json\r\nretry-after: 1\r\nx-should-retry: true\r\nconnection: close\r\n"
            connection.write(
                b"%bx-request-id: %b\r\ncontent-length: %d\r\n%b%b%b"
                % (
                    STATUS_LINE[503],
                    self.request_ids.next(now_ms()).encode(),
                    len(body),
                    head,
                    self.date_header,
                    body,
                )
            )
            connection.close()
            return False
        self.connections.add(connection)
        return True

    def lost(self, connection: ClientConnection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)

    def _gauges(self) -> Iterator[tuple[str, dict[str, str], float]]:
        stats = self.clerk.stats()
        yield "tokenhub_connections", {}, len(self.connections)
        yield "tokenhub_unsettled_requests", {}, stats.backlog
        yield "tokenhub_requests_waiting", {}, stats.waiting
        yield "tokenhub_requests_short_way", {}, self.fast_path.taken
        for deployment_id, count in sorted(self.router.busy().items()):
            yield "tokenhub_requests_running", {"deployment": deployment_id}, count

    def answered(self, exchange: Exchange) -> None:
        """An answer is complete."""
        self.metrics.answered(exchange.status)

    # -- requests -------------------------------------------------------------------------------------------

    def request_id(self, exchange: Exchange) -> str:
        """Ours, never the client's: the books are keyed by it."""
        exchange.started_ms = at_ms = now_ms()
        theirs = exchange.headers.get(b"x-client-request-id")
        if theirs is not None and len(theirs) <= CLIENT_REQUEST_ID_MAX:
            exchange.echo = b"x-client-request-id: %b\r\n" % theirs
        return self.request_ids.next(at_ms)

    def classify(self, exchange: Exchange) -> None:
        """Whether the body is taken whole or passed on as it comes, and how large it may be."""
        path = exchange.path
        if path in TOKEN_PATHS:
            secret = credential(exchange.headers)
            limit = self.settings.body_bytes_max
            if secret is not None:
                exchange.snapshot = self.keeper.current
                exchange.principal = find_principal(exchange.snapshot, secret)
            known = exchange.principal is not None
            exchange.body_limit = limit if known else min(limit, UNKNOWN_KEY_BODY_BYTES_MAX)
        elif path in OWN_PATHS or path.startswith(b"/v1/models/"):
            exchange.body_limit = UNKNOWN_KEY_BODY_BYTES_MAX
        else:
            exchange.streamed_body = True
            exchange.body_limit = PROXIED_BODY_BYTES_MAX

    def handle(self, exchange: Exchange) -> None:
        """Run a request; called when it is complete, or at its head if its body is passed on."""
        if self.draining:
            exchange.keep_alive = False
        endpoint = TOKEN_PATHS.get(exchange.path)
        if endpoint is not None:
            work = conduct(self, exchange, endpoint)
        elif exchange.streamed_body:
            work = proxy(self, exchange)
        else:
            work = endpoints.answer(self, exchange)
        strand = exchange.strand = Strand(work)
        strand.start()

    def method_not_allowed(self, *methods: str) -> HubError:
        """405 that names what works."""
        return MethodNotAllowed(f"Use {' or '.join(methods)} here.", headers=allow(methods))

    # -- upstreams ------------------------------------------------------------------------------------------

    def adapter(self, deployment: Deployment) -> UpstreamAdapter:
        """By the deployment's kind; conforming where none is registered."""
        return self._adapters.get(deployment.adapter, self._conforming)

    def upstream_head(self, deployment: Deployment, path: bytes, request_id: str, length: int) -> bytes:
        """Request head for an upstream, up to and with the empty line."""
        start = self.upstream_start(deployment, path)
        return b"%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (start, request_id.encode(), length)

    def upstream_start(self, deployment: Deployment, path: bytes) -> bytes:
        """The part of it that is the same for every request."""
        key = (deployment.base_url + deployment.api_key, path)
        fixed = self._heads.get(key)
        if fixed is None:
            origin = self.pool.origin(deployment.base_url)
            authorization = f"authorization: Bearer {deployment.api_key}\r\n" if deployment.api_key else ""
            if len(self._heads) > 1024:
                self._heads.clear()  # engines get a new key at each start
            fixed = self._heads[key] = (
                b"POST %b%b HTTP/1.1\r\nhost: %b\r\n%bcontent-type: application/json\r\naccept: */*\r\nuser-agent: tokenhub\r\n"
                % (origin.path, path, origin.host_header, authorization.encode())
            )
        return fixed


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that several gateway processes may share. Raises: OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _raise_file_limit(wanted: int) -> None:
    """As many open files as the connections need, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


async def serve(
    settings: Settings,
    database: Database,
    *,
    index: int,
    adapters: Mapping[str, UpstreamAdapter],
    prompt_counter: PromptCounter | None,
    stop: asyncio.Event,
    sock: socket.socket | None = None,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Run one gateway until `stop` is set, then drain for `settings.drain_timeout_s` and settle.

    sock: a listening socket handed over; else `settings.host:port` is bound with SO_REUSEPORT. on_ready: called
    with the port once requests are served. Raises: OSError (port in use), SQLAlchemyError.
    """
    loop = asyncio.get_running_loop()
    server = GatewayServer(
        settings, database, index=index, adapters=adapters, prompt_counter=prompt_counter, loop=loop
    )
    sock = sock or listen(settings.host, settings.port)
    no_pacing(sock)
    _raise_file_limit(2 * settings.connections_max + 1000)
    await server.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    listener = await loop.create_server(lambda: ClientConnection(server), sock=sock, backlog=BACKLOG)
    port = int(sock.getsockname()[1])
    shared = await metrics_share.share(server.metrics.render, settings.run_dir, index)
    _log.info("gateway_ready", index=index, port=port)
    if on_ready is not None:
        on_ready(port)
    try:
        await stop.wait()
    finally:
        listener.close()
        if shared is not None:
            shared.close()
        _log.info("gateway_draining", index=index, connections=len(server.connections))
        await server.drain(settings.drain_timeout_s)
        _log.info("gateway_stopped", index=index)
