"""Rules from JSON, and what makes them stand: complete, ascending, non-negative, readable zones and hours."""

import re
from collections.abc import Iterator

import msgspec

from tokenhub.pricing.errors import InvalidPrice
from tokenhub.pricing.types import RateCard, Rates, Rules, ServiceTier, Window
from tokenhub.pricing.windows import compile_window

RATE_MAX = 2**53
"""Largest rate, nano-units per 1,000,000 (9 million currency units per million tokens)."""
_TIER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def parse_rules(text: str | bytes) -> Rules:
    """Decode and check rules.

    Raises: InvalidPrice naming the field that does not stand.
    """
    try:
        rules = msgspec.json.decode(text, type=Rules)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidPrice(f"The price rules cannot be read: {error}", param="rules") from error
    check(rules)
    return rules


def check(rules: Rules) -> None:
    """Refuse rules that contradict themselves.

    Raises: InvalidPrice naming the field that does not stand.
    """
    for path, card in _cards(rules):
        _check_card(path, card)
    for index, window in enumerate(rules.windows):
        _check_window(f"windows[{index}]", window)
    for name, tier in rules.service_tiers.items():
        if name == "default" or not _TIER_NAME.fullmatch(name):
            raise InvalidPrice(f"{name!r} cannot name a service tier", param="service_tiers")
        _check_either(f"service_tiers.{name}", tier)


def _cards(rules: Rules) -> Iterator[tuple[str, RateCard]]:
    yield "base", rules.base
    for index, window in enumerate(rules.windows):
        if window.card is not None:
            yield f"windows[{index}].card", window.card
    for name, tier in rules.service_tiers.items():
        if tier.card is not None:
            yield f"service_tiers.{name}.card", tier.card


def _check_card(path: str, card: RateCard) -> None:
    _check_rates(f"{path}.rates", card.rates)
    above = 0
    for tier in card.tiers:
        if tier.above <= above:
            raise InvalidPrice(f"{path}: context tiers must ascend from above 0", param=path)
        above = tier.above
        _check_rates(f"{path}.tiers", tier.rates)


def _check_rates(path: str, rates: Rates) -> None:
    for name in Rates.__struct_fields__:
        value: int | None = getattr(rates, name)
        if value is not None and not 0 <= value <= RATE_MAX:
            raise InvalidPrice(f"{path}.{name} must be between 0 and {RATE_MAX}", param=f"{path}.{name}")


def _check_window(path: str, window: Window) -> None:
    _check_either(path, window)
    if not window.days or not set(window.days) <= {1, 2, 3, 4, 5, 6, 7}:
        raise InvalidPrice(f"{path}.days must be ISO weekdays, 1 (Monday) to 7", param=f"{path}.days")
    try:
        compile_window(window)
    except (ValueError, KeyError) as error:
        raise InvalidPrice(f"{path}: {error.args[0]}", param=path) from error


def _check_either(path: str, part: Window | ServiceTier) -> None:
    if (part.card is None) == (part.multiplier is None):
        raise InvalidPrice(f"{path} needs either a card or a multiplier", param=path)
    if part.multiplier is not None and (part.multiplier[0] < 0 or part.multiplier[1] <= 0):
        raise InvalidPrice(f"{path}.multiplier must be a ratio such as [1, 2]", param=f"{path}.multiplier")
