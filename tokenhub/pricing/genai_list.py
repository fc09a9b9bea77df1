"""The public price list that the package `genai-prices` ships, converted exactly to our rules.

A model is taken only if every token its price distinguishes is a component of ours; what cannot be said
exactly is skipped with a reason and counted, never approximated. Fees of tools that are metered apart from
tokens (web searches) are left out and named. Prices are US dollars, converted with Decimal, never float.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from tokenhub.kernel.money import NANO
from tokenhub.pricing.types import ContextTier, RateCard, Rates, Rules, ServiceTier, Window

SOURCE = "genai-prices"
CURRENCY = "USD"
_COMPONENTS = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_5m_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_long",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "output_image_mtok": "image_output",
    "requests_kcount": "request",
}
_METERED_APART = frozenset({"web_searches_kcount", "storage_searches_kcount"})
_SAME_AS_CACHE_READ = frozenset({"cache_audio_read_mtok", "cache_image_read_mtok", "cache_text_read_mtok"})
_PLAIN = frozenset({"default", "standard", "auto"})
_TIER_WORDS = frozenset({"processing", "speed", "service_tier"})


class NotRepresentable(Exception):
    """Why a listed price cannot be said exactly in our rules."""


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """One SKU of the list: its rules by start, oldest first (the first start is 0 = always)."""

    sku: str
    versions: tuple[tuple[int, Rules], ...]
    left_out: tuple[str, ...]
    """Fees that are metered apart from tokens and are not in the rules."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The converted list and what is not in it."""

    source: str
    prices: list[ListedPrice]
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    """SKU -> reason."""


def read_list(*, provider: str = "", model: str = "") -> PriceList:
    """Convert the shipped list, or the part of one provider, or one model of it."""
    listed = PriceList(source=f"{SOURCE} {version(SOURCE)}", prices=[])
    for one in _providers():
        if provider and one.id != provider:
            continue
        for info in one.models:
            if model and info.id != model:
                continue
            sku = f"{one.id}/{info.id}"
            try:
                listed.prices.append(_convert(sku, info))
            except NotRepresentable as reason:
                listed.skipped[sku] = str(reason)
    return listed


def provider_ids() -> list[str]:
    """Providers that the list knows."""
    return sorted(one.id for one in _providers())


def _providers() -> Sequence[Provider]:
    # 30,000 lines of literals: loaded when a list is imported, not when the command line starts.
    data: Any = importlib.import_module("genai_prices.data")
    return data.providers


def _convert(sku: str, info: ModelInfo) -> ListedPrice:
    entries = [ConditionalPrice(prices=info.prices)] if isinstance(info.prices, ModelPrice) else info.prices
    variants = info.price_variants or []
    starts = sorted({_start_ms(one.constraint) for one in (*entries, *variants)} | {0})
    left_out: set[str] = set()
    versions: list[tuple[int, Rules]] = []
    for start_ms in starts:
        rules = _rules(entries, variants, at_ms=start_ms, left_out=left_out)
        if not versions or versions[-1][1] != rules:
            versions.append((start_ms, rules))
    return ListedPrice(sku=sku, versions=tuple(versions), left_out=tuple(sorted(left_out)))


def _start_ms(constraint: StartDateConstraint | TimeOfDateConstraint | None) -> int:
    return _midnight_ms(constraint.start_date) if isinstance(constraint, StartDateConstraint) else 0


def _midnight_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _rules(
    entries: Sequence[ConditionalPrice], variants: Sequence[PriceVariant], *, at_ms: int, left_out: set[str]
) -> Rules:
    """The list tries its entries last to first; ours tries windows first to last, then the base."""
    base: ModelPrice = entries[0].prices
    windows: list[Window] = []
    for entry in reversed(entries):
        if isinstance(entry.constraint, TimeOfDateConstraint):
            windows.append(_window(entry.constraint, _card(entry.prices, left_out)))
        elif _start_ms(entry.constraint) <= at_ms:
            base = entry.prices
            break
    tiers = dict(
        _service_tiers(base, [one for one in variants if _start_ms(one.constraint) <= at_ms], left_out)
    )
    if windows and tiers:
        raise NotRepresentable("time-of-day prices together with service tiers")
    return Rules(base=_card(base, left_out), windows=tuple(windows), service_tiers=tiers)


def _window(constraint: TimeOfDateConstraint, card: RateCard) -> Window:
    start, end = constraint.start_time, constraint.end_time
    if any(time.second or time.microsecond or time.utcoffset() for time in (start, end)):
        raise NotRepresentable("time-of-day price that is not on a minute of UTC")
    if start == end:
        raise NotRepresentable("time-of-day price with an empty window")
    return Window(tz="UTC", start=start.strftime("%H:%M"), end=end.strftime("%H:%M"), card=card)


def _service_tiers(
    base: ModelPrice, variants: Iterable[PriceVariant], left_out: set[str]
) -> Iterator[tuple[str, ServiceTier]]:
    """Variants named by one word (`processing: batch`, `speed: fast`); per component the first one that says
    something wins, as in the list. A combination or a region is no service tier: the plain price stands."""
    overrides: dict[str, dict[str, Decimal | TieredPrices]] = {}
    for variant in variants:
        if isinstance(variant.constraint, TimeOfDateConstraint):
            raise NotRepresentable("service tier that depends on the time of day")
        if len(variant.when) == 1 and set(variant.when) <= _TIER_WORDS:
            stated = overrides.setdefault(next(iter(variant.when.values())), {})
            for key, value in _stated(variant.prices).items():
                stated.setdefault(key, value)
    for name, stated in overrides.items():
        if name not in _PLAIN:
            yield name, ServiceTier(card=_card(ModelPrice(**{**_stated(base), **stated}), left_out))
        elif stated:
            raise NotRepresentable(f"a price of its own for service tier {name}")


def _stated(price: ModelPrice) -> Mapping[str, Decimal | TieredPrices]:
    return {key: value for key, value in vars(price).items() if value is not None}


def _card(price: ModelPrice, left_out: set[str]) -> RateCard:
    stated = _components(price, left_out)
    if not stated:
        raise NotRepresentable("no price per token")
    base = {name: _rate(_base(value), name) for name, value in stated.items()}
    thresholds = sorted(
        {tier.start for value in stated.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    )
    tiers: list[ContextTier] = []
    for above in thresholds:
        over = {
            name: _rate(_at(value, above), name)
            for name, value in stated.items()
            if isinstance(value, TieredPrices)
        }
        tiers.append(ContextTier(above=above, rates=Rates(**over)))
    if thresholds and thresholds[0] <= 0:
        raise NotRepresentable("context tier from zero")
    return RateCard(rates=Rates(**base), tiers=tuple(tiers))


def _components(price: ModelPrice, left_out: set[str]) -> dict[str, Decimal | TieredPrices]:
    stated = _stated(price)
    found: dict[str, Decimal | TieredPrices] = {}
    for key, value in stated.items():
        if key in _METERED_APART:
            left_out.add(key)
        elif key in _SAME_AS_CACHE_READ and value == stated.get("cache_read_mtok"):
            continue
        elif key not in _COMPONENTS:
            raise NotRepresentable(f"priced by {key}")
        else:
            found[_COMPONENTS[key]] = value
    return found


def _base(value: Decimal | TieredPrices) -> Decimal:
    return value.base if isinstance(value, TieredPrices) else value


def _at(value: TieredPrices, above: int) -> Decimal:
    reached = [tier.price for tier in value.tiers if tier.start <= above]
    return reached[-1] if reached else value.base


def _rate(value: Decimal, name: str) -> int:
    """Dollars per million tokens (per thousand requests) -> nano-dollars per million."""
    nano = value * NANO * (1000 if name == "request" else 1)
    if not nano.is_finite() or nano < 0 or nano != nano.to_integral_value():
        raise NotRepresentable("finer than a nano-dollar per million")
    return int(nano)
