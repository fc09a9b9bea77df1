"""Rate cards compiled to vectors: what is not said is filled in, tiers are complete, lookups are by index."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from tokenhub.kernel.usage import FIELDS
from tokenhub.pricing.types import RateCard, Rates

COMPONENTS: tuple[str, ...] = tuple(name.removesuffix("_tokens") for name in FIELDS)
"""Component names in the order of the usage vector: `input`, `cache_read`, …"""

PROMPT_ORDER: tuple[int, ...] = tuple(
    COMPONENTS.index(name)
    for name in ("cache_read", "cache_write_long", "cache_write", "input", "audio_input", "image_input")
)
"""Where prompt tokens lie in the context, for marginal tiers: a cached prefix comes first."""

ANSWER_ORDER: tuple[int, ...] = tuple(
    COMPONENTS.index(name) for name in ("reasoning", "output", "audio_output", "image_output")
)
"""Where answer tokens lie in the context, after the prompt."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates from `above` prompt tokens (exclusive) on; None = no rate."""

    above: int
    rates: tuple[int | None, ...]
    """In the order of `COMPONENTS`."""
    request: int
    """Nano-units per 1,000,000 calls."""


@dataclass(frozen=True, slots=True)
class CompiledCard:
    """A card whose tiers are complete and ascending; the first has `above` = -1 (marginal: 0)."""

    mode: Literal["whole", "marginal"]
    tiers: tuple[Tier, ...]


class SimpleCard(NamedTuple):
    """The rates that nearly every request needs, where they depend on nothing."""

    input: int
    cache_read: int
    output: int
    reasoning: int
    request: int
    prompt_max: int
    """The dearest rate a prompt token can have."""
    answer_max: int
    """The dearest rate an answer token can have."""


@lru_cache(maxsize=8192)
def compile_card(card: RateCard) -> CompiledCard:
    """Fill in what the card leaves out. Tiers must ascend (see `rules.check`)."""
    first = _tier(-1, card.rates)
    rest = [_tier(tier.above, _merge(card.rates, tier.rates)) for tier in card.tiers]
    return CompiledCard(mode=card.mode, tiers=(first, *rest))


def simple_card(card: CompiledCard) -> SimpleCard | None:
    """The fast form of a card without tiers that prices text in and text out; None for any other."""
    if len(card.tiers) != 1:
        return None
    tier = card.tiers[0]
    by_name = dict(zip(COMPONENTS, tier.rates, strict=True))
    needed = [by_name[name] for name in ("input", "cache_read", "output", "reasoning")]
    if any(rate is None for rate in needed):
        return None
    return SimpleCard(
        *[rate or 0 for rate in needed],
        request=tier.request,
        prompt_max=dearest(tier, PROMPT_ORDER) or 0,
        answer_max=dearest(tier, ANSWER_ORDER) or 0,
    )


def dearest(tier: Tier, components: Sequence[int]) -> int | None:
    """The highest rate among these components, None if the tier prices none of them."""
    return max((rate for index in components if (rate := tier.rates[index]) is not None), default=None)


def _merge(base: Rates, over: Rates) -> Rates:
    """`over`, with what it does not name taken from `base`."""
    values: dict[str, int | None] = {}
    for name in Rates.__struct_fields__:
        value: int | None = getattr(over, name)
        values[name] = getattr(base, name) if value is None else value
    return Rates(**values)


def _tier(above: int, rates: Rates) -> Tier:
    filled = dict(zip(COMPONENTS, [getattr(rates, name) for name in COMPONENTS], strict=True))
    for name, stand_in in (
        ("cache_read", "input"),
        ("cache_write", "input"),
        ("cache_write_long", "cache_write"),
        ("reasoning", "output"),
    ):
        if filled[name] is None:
            filled[name] = filled[stand_in]
    return Tier(above=above, rates=tuple(filled.values()), request=rates.request or 0)
