"""What past usage would have cost under another price book: `rate()` over the stored vectors.

Which version rates an event: the one it was booked with, if that belongs to the simulated book (a hold pins its
version); else the one of the book that was in force when the request began. So the book that billed gives the
booked amounts back, to the nano-unit. With `as_of_ms` every event is rated as if it had begun at that instant.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection

from tokenhub.metering.replay import events_between
from tokenhub.metering.types import UsageEvent
from tokenhub.pricing.errors import UnpricedDimension
from tokenhub.pricing.price import ZERO_PRICE, Price
from tokenhub.pricing.rating import rate
from tokenhub.pricing.store import DEFAULT_BOOK, get_version, list_versions

Choose = Callable[[UsageEvent], Price | None]
"""The price of an event; None where the book has none."""


@dataclass(slots=True)
class Line:
    """One group of the simulation; amounts in nano-units."""

    group: str
    requests: int = 0
    tokens: int = 0
    booked_nano: int = 0
    simulated_nano: int = 0
    unpriced: int = 0
    """Requests that the book has no price for; they count as 0 in `simulated_nano`."""

    @property
    def difference_nano(self) -> int:
        """What the simulated book would have charged more (or less, if negative)."""
        return self.simulated_nano - self.booked_nano


@dataclass(slots=True)
class Simulation:
    """The lines, by group, and their sum."""

    lines: list[Line] = field(default_factory=list[Line])
    total: Line = field(default_factory=lambda: Line(group="total"))


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose usage, when, and by what it is grouped."""

    org_id: str
    start_ms: int
    end_ms: int
    group_by: str = "model"
    """`model`, `team_id`, `project_id`, `user_id`, `key_id` or `app`."""
    model: str | None = None
    team_id: str | None = None


def simulate_book(
    hub: Connection,
    ledger: Connection,
    scope: Scope,
    *,
    book: str = DEFAULT_BOOK,
    as_of_ms: int | None = None,
) -> Simulation:
    """Re-rate a period under a book."""
    firsts: dict[str, Price] = {}
    by_id: dict[str, Price] = {}
    for version in list_versions(hub, book=book):
        firsts.setdefault(version.price.sku, version.price)
        by_id[version.price.version_id] = version.price

    def choose(event: UsageEvent) -> Price | None:
        if as_of_ms is None:
            pinned = by_id.get(event.price_version_id)
            if pinned is not None:
                return pinned
            if book == DEFAULT_BOOK and not event.price_version_id:
                return None
        first = firsts.get(event.model)
        at_ms = started_ms(event) if as_of_ms is None else as_of_ms
        return None if first is None or at_ms < first.effective_from_ms else first.at(at_ms)

    return _simulate(_events(ledger, scope), choose, scope.group_by, as_of_ms)


def simulate_version(hub: Connection, ledger: Connection, scope: Scope, *, version_id: str) -> Simulation:
    """Re-rate a period as if one version had been in force for its model all the time; other models as booked."""
    wanted = get_version(hub, version_id).price
    scope = Scope(scope.org_id, scope.start_ms, scope.end_ms, scope.group_by, wanted.sku, scope.team_id)
    return _simulate(_events(ledger, scope), lambda _event: wanted, scope.group_by, None)


def started_ms(event: UsageEvent) -> int:
    """When the request began: the instant that its price and time-of-day window were chosen for."""
    return event.at_ms - event.latency_ms


def _events(ledger: Connection, scope: Scope) -> Iterable[UsageEvent]:
    return events_between(
        ledger,
        org_id=scope.org_id,
        start_ms=scope.start_ms,
        end_ms=scope.end_ms,
        model=scope.model,
        team_id=scope.team_id,
    )


def _simulate(
    events: Iterable[UsageEvent], choose: Choose, group_by: str, as_of_ms: int | None
) -> Simulation:
    lines: dict[str, Line] = {}
    result = Simulation()
    for event in events:
        group = str(getattr(event, group_by) or "")
        line = lines.setdefault(group, Line(group=group))
        at_ms = started_ms(event) if as_of_ms is None else as_of_ms
        _add(line, event, choose(event), at_ms)
    result.lines = sorted(lines.values(), key=lambda line: (-line.booked_nano, line.group))
    for line in result.lines:
        result.total.requests += line.requests
        result.total.tokens += line.tokens
        result.total.booked_nano += line.booked_nano
        result.total.simulated_nano += line.simulated_nano
        result.total.unpriced += line.unpriced
    return result


def _add(line: Line, event: UsageEvent, price: Price | None, at_ms: int) -> None:
    line.requests += 1
    line.tokens += event.total_tokens
    line.booked_nano += event.amount_nano
    if price is None:
        line.unpriced += 1
        price = ZERO_PRICE
    try:
        line.simulated_nano += rate(event.usage, price, at_ms=at_ms, service_tier=event.service_tier)
    except UnpricedDimension:
        line.unpriced += 1
