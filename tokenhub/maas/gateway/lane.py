"""What all plain requests of one route to one deployment share: the price in force, the head for the upstream, kinds."""

import msgspec

from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway.pool import Origin
from tokenhub.maas.gateway.snapshot import KeyRoute, Snapshot
from tokenhub.maas.routing.choice import Load
from tokenhub.metering.plain import Kinds
from tokenhub.pricing.price import ZERO_PRICE, Price


class Lane:
    """What all requests of one route to one deployment share."""

    __slots__ = (
        *("_epoch", "_event", "_name", "_numbers", "_path_id"),
        *("deployment", "head", "load", "model", "origin", "price", "price_until_ms", "times"),
    )

    def __init__(
        self, route: KeyRoute, deployment: Deployment, load: Load, origin: Origin, head: bytes
    ) -> None:
        self.deployment = deployment
        self.load = load
        self.origin = origin
        self.times = deployment.timeouts
        self.head = head
        self.model = msgspec.json.encode(deployment.upstream_model)
        self._event = route.usage_event(deployment)
        self._event.source = "engine" if deployment.own_engine else "provider"
        self._name = deployment.model
        self._numbers: dict[str, int] = {}
        self.price = ZERO_PRICE
        self.price_until_ms = 0
        """Before then that is the price in force; from then on `look_up_price` comes first."""
        self._path_id = ""
        self._epoch = 0

    def look_up_price(self, snapshot: Snapshot, at_ms: int) -> None:
        """`snapshot` is the route's."""
        price = snapshot.price_of(self._name, at_ms)
        self.price_until_ms = price.effective_to_ms
        if price is not self.price:
            self.price, self._numbers = price, {}

    def kind(self, kinds: Kinds, price: Price, path_id: str, finish: str) -> int:
        """The number of the kind of a use that ended so."""
        numbers = self._numbers
        if self.price is not price:  # that of a request which began before it ended
            numbers = {}
        elif self._path_id != path_id or self._epoch != kinds.epoch:
            self._path_id, self._epoch = path_id, kinds.epoch
            numbers = self._numbers = {}
        number = numbers.get(finish)
        if number is None:
            event = self._event
            event.price_version_id, event.currency = price.version_id, price.currency
            event.path_id, event.finish = path_id, finish
            number = numbers[finish] = kinds.number(event)
        return number
