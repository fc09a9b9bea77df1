"""What a price can say. All rates are integers: nano-units of a currency per 1,000,000 units.

Rules are JSON in the database and these structs in memory; `canonical()` is the one spelling that is hashed.

    Rules
    ├── base: RateCard                     rates, and context tiers by prompt length
    ├── windows: [Window]                  the first that matches the instant: own card, or a multiplier
    └── service_tiers: {name: ServiceTier} own card (windows then do not apply), or a multiplier
"""

import hashlib
from typing import Literal

import msgspec

NO_END_MS = 2**62
"""`effective_to_ms` of a version that no later one closes."""

EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)


class Rates(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Nano-units per 1,000,000 units of each component; None means the price does not say.

    What is not said follows the field's practice: `cache_read` and `cache_write` cost what `input` costs,
    `cache_write_long` what `cache_write` costs, `reasoning` what `output` costs. Audio and image have no
    stand-in: using them without a rate is `UnpricedDimension`. `request` is per 1,000,000 calls.
    """

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_long: int | None = None
    output: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    request: int | None = None


class ContextTier(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Rates of prompts longer than `above` tokens; a component it does not name keeps the card's rate."""

    above: int
    rates: Rates


class RateCard(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Rates and their context tiers.

    mode `whole`: the tier of the prompt's length prices the whole request. mode `marginal`: each token pays
    the rate of its position in the context (cached prefix, then the rest of the prompt, then the answer).
    """

    rates: Rates
    tiers: tuple[ContextTier, ...] = ()
    mode: Literal["whole", "marginal"] = "whole"


class Window(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Hours of the week with another price, in local time of `tz` (daylight saving included).

    `start` and `end` are "HH:MM", end exclusive; an end at or before the start is on the next day and the
    window belongs to the day it starts on. `days` are ISO weekdays, Monday = 1.
    """

    tz: str
    start: str
    end: str
    days: tuple[int, ...] = EVERY_DAY
    card: RateCard | None = None
    multiplier: tuple[int, int] | None = None
    """Numerator and denominator: (1, 2) is half price."""


class ServiceTier(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Price of one service tier (`flex`, `priority`, `batch`, …): its own card, or a multiplier."""

    card: RateCard | None = None
    multiplier: tuple[int, int] | None = None


class Rules(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Everything that one price version says."""

    base: RateCard
    windows: tuple[Window, ...] = ()
    service_tiers: dict[str, ServiceTier] = msgspec.field(default_factory=dict[str, ServiceTier])


def canonical(rules: Rules) -> str:
    """The one JSON spelling of these rules: keys sorted, defaults left out, no white space."""
    return msgspec.json.encode(rules, order="sorted").decode()


def fingerprint(rules_json: str) -> str:
    """sha256 of canonical rules, in hexadecimal."""
    return hashlib.sha256(rules_json.encode()).hexdigest()
