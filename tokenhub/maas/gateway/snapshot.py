"""What the request path knows without asking: keys, limits, deployments, prices. Replaced when a revision moved.

A thread compares the revision counters every `POLL_S`; a key that is not known asks once more, at once, before it
is refused. The request path itself never waits for SQL.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from tokenhub.budgets.paths import LimitBook
from tokenhub.budgets.store import load_limits
from tokenhub.clearing.cells import Path
from tokenhub.clearing.clerk import Clerk
from tokenhub.db import revision
from tokenhub.db.engine import Database
from tokenhub.identity.keys import load_keys
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms
from tokenhub.maas.deployments.store import load_deployments
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway.exchange import header_block
from tokenhub.maas.gateway.request import Endpoint, ParsedRequest
from tokenhub.metering.types import UsageEvent
from tokenhub.pricing.price import ZERO_PRICE, Price
from tokenhub.pricing.store import load_prices

if TYPE_CHECKING:
    from tokenhub.maas.gateway.fast_path import Lane

POLL_S = 0.4
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent-enough view; `revisions` are the counters read before the rows."""

    revisions: tuple[int, int]
    keys: Mapping[bytes, Principal]
    limits: LimitBook
    deployments: Mapping[str, tuple[Deployment, ...]]
    """By public model name."""
    prices: Mapping[str, Price]
    """By SKU; see `price_of`."""

    def price_of(self, model: str, at_ms: int) -> Price:
        """The price in force, `ZERO_PRICE` where there is none."""
        price = self.prices.get(model)
        return ZERO_PRICE if price is None else price.at(at_ms)


EMPTY = Snapshot((-1, -1), {}, LimitBook(()), {}, {})


def load_snapshot(database: Database, *, at_ms: int) -> Snapshot:
    """Read everything. Blocking. Raises: SQLAlchemyError."""
    revisions = load_revisions(database)
    with database.read("hub") as connection:
        keys = {record.hash: record.principal for record in load_keys(connection, at_ms=at_ms)}
        by_model: dict[str, list[Deployment]] = {}
        for deployment in load_deployments(connection):
            by_model.setdefault(deployment.model, []).append(deployment)
        prices = load_prices(connection, at_ms=at_ms)
    with database.read("ledger") as connection:
        limits = LimitBook(load_limits(connection))
    return Snapshot(revisions, keys, limits, {name: tuple(found) for name, found in by_model.items()}, prices)


def load_revisions(database: Database) -> tuple[int, int]:
    """The counters of both databases. Blocking."""
    with database.read("hub") as connection:
        hub = revision.current(connection)
    with database.read("ledger") as connection:
        return hub, revision.current(connection)


class KeyRoute:
    """What every request of one key for one model and endpoint shares, until the next snapshot."""

    __slots__ = (
        *("_block", "_events", "_headers"),
        *("deployments", "endpoint", "lane", "lanes", "path", "principal"),
    )

    def __init__(
        self, principal: Principal, path: Path, deployments: Sequence[Deployment], endpoint: Endpoint
    ) -> None:
        self.principal = principal
        self.endpoint: Endpoint = endpoint
        self.lanes: dict[str, Lane] = {}
        """The fast path's, by deployment."""
        self.lane: Lane | None = None
        """Its only one, where there is no choice."""
        self.path = path
        self.deployments = deployments
        self._headers: list[tuple[bytes, bytes]] = []
        self._block = b""
        self._events: dict[str, UsageEvent] = {}

    def quota_headers(self, clerk: Clerk, at_ms: int) -> bytes:
        """Quota headers as they stand in a head; rendered again only when the clerk made new ones."""
        headers = clerk.quota_headers(self.path, at_ms)
        if headers is not self._headers:
            self._headers, self._block = headers, header_block(headers)
        return self._block

    def usage_event(self, deployment: Deployment) -> UsageEvent:
        """A fresh event with everything that is the same for all requests of this route."""
        base = self._events.get(deployment.id)
        if base is None or base.engine_boot != deployment.engine_boot:
            principal = self.principal
            base = self._events[deployment.id] = UsageEvent(
                request_id="",
                at_ms=0,
                org_id=principal.org_id,
                team_id=principal.team_id,
                project_id=principal.project_id,
                user_id=principal.user_id,
                key_id=principal.key_id,
                app=principal.app,
                model=deployment.model,
                deployment_id=deployment.id,
                engine_boot=deployment.engine_boot,
                endpoint=self.endpoint,
            )
        return base.another()


@dataclass(slots=True)
class SnapshotKeeper:
    """Holds the current snapshot and the clerk's paths made from it."""

    database: Database
    clerk: Clerk
    current: Snapshot = EMPTY
    changed_at_s: float = 0.0
    """Loop time of the last check that succeeded."""
    _routes: dict[tuple[str, str, str], KeyRoute] = field(
        default_factory=dict[tuple[str, str, str], KeyRoute]
    )
    _check: "asyncio.Task[None] | None" = None
    _poll: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        """Load, then watch. Raises: SQLAlchemyError if the first load fails."""
        self._install(await asyncio.to_thread(load_snapshot, self.database, at_ms=now_ms()))
        self._poll = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Watch no more."""
        for task in (self._poll, self._check):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def route(self, principal: Principal, model: str, endpoint: Endpoint) -> KeyRoute | None:
        """The route if it is known."""
        return self._routes.get((principal.key_id, model, endpoint))

    def add_route(
        self, principal: Principal, request: ParsedRequest, deployments: Sequence[Deployment]
    ) -> KeyRoute:
        """A route that was found to be allowed."""
        path = self.path(principal, request.model)
        route = KeyRoute(principal, path, deployments, request.endpoint)
        self._routes[principal.key_id, request.model, request.endpoint] = route
        return route

    def path(self, principal: Principal, model: str) -> Path:
        """The clerk's path of this key and model."""
        return self.clerk.path(self.current.limits.limits_for(principal, model))

    async def next_life(self, deployment: Deployment) -> Deployment | None:
        """The same deployment as it serves now, if its engine was started again since: at a new address."""
        await self.check()
        for found in self.current.deployments.get(deployment.model, ()):
            if found.id == deployment.id and found.healthy and found.engine_boot != deployment.engine_boot:
                return found
        return None

    async def check(self) -> None:
        """Reload now if a counter moved; callers at the same moment share one look."""
        if self._check is None or self._check.done():
            self._check = asyncio.get_running_loop().create_task(self._look())
        await asyncio.shield(self._check)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self.check()

    async def _look(self) -> None:
        try:
            revisions = await asyncio.to_thread(load_revisions, self.database)
            if revisions != self.current.revisions:
                self._install(await asyncio.to_thread(load_snapshot, self.database, at_ms=now_ms()))
            self.changed_at_s = asyncio.get_running_loop().time()
        except SQLAlchemyError as error:
            _log.warning("snapshot_not_refreshed", error=str(error))

    def _install(self, snapshot: Snapshot) -> None:
        self.current = snapshot
        self._routes = {}
        self.changed_at_s = asyncio.get_running_loop().time()
