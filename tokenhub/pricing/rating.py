"""`rate()`: usage and a price version in, one integer amount out. Used by hold, settle, invoice and simulation.

Integers throughout; one division at the end, rounded half to even (ADR 0010). Pure: no clock, no I/O.
"""

from collections.abc import Sequence

from tokenhub.kernel.money import PER
from tokenhub.kernel.usage import FIELDS, Usage
from tokenhub.pricing.cards import (
    ANSWER_ORDER,
    COMPONENTS,
    PROMPT_ORDER,
    CompiledCard,
    Tier,
    compile_card,
    dearest,
)
from tokenhub.pricing.errors import UnpricedDimension
from tokenhub.pricing.price import Price

_HALF = PER // 2
_SAME_AS_DEFAULT = frozenset({"default", "auto", "standard", ""})


def rate(usage: Usage, price: Price, *, at_ms: int, service_tier: str = "default") -> int:
    """Price one call, in nano-units of `price.currency`.

    The vector is disjoint, so cached input is charged at `cache_read` and never also at `input`. `at_ms` is
    the instant the request began (time-of-day windows); the version is the caller's choice (`Price.at`).
    Rounds half to even once, on the total.
    Raises: UnpricedDimension if usage or the service tier has a dimension the price lacks.
    """
    if service_tier == "default" and not _is_unusual(usage):
        amount = rate_plain(
            price,
            usage.input_tokens,
            usage.cache_read_tokens,
            usage.output_tokens,
            usage.reasoning_tokens,
        )
        if amount is not None:
            return amount
    return _rate_closely(usage, price, at_ms=at_ms, service_tier=service_tier)


def rate_plain(
    price: Price, input_tokens: int, cache_read_tokens: int, output_tokens: int, reasoning_tokens: int = 0
) -> int | None:
    """`rate` of the usual vector at the default tier, in nano-units; None where the price has tiers or windows."""
    simple = price.simple
    if simple is None:
        return None
    amount, rest = divmod(
        input_tokens * simple[0]
        + cache_read_tokens * simple[1]
        + output_tokens * simple[2]
        + reasoning_tokens * simple[3]
        + simple[4],
        PER,
    )
    if rest > _HALF or (rest == _HALF and amount & 1):
        return amount + 1
    return amount


def bound(
    price: Price, *, input_tokens: int, output_tokens: int, at_ms: int, service_tier: str = "default"
) -> int:
    """An upper bound, in nano-units, of `rate` for any usage with at most these tokens: the size of a hold.

    Covers every split of the prompt over the components the price has a rate for, and every shorter prompt
    (which may fall into a dearer tier).
    Raises: UnpricedDimension for a service tier the price lacks, or tokens of a side it has no rate for.
    """
    if service_tier == "default":
        most = bound_plain(price, input_tokens, output_tokens)
        if most is not None:
            return most
    card, numerator, denominator = _select(price, at_ms=at_ms, service_tier=service_tier)
    _refuse_unpriced_side(card.tiers[0], price, input_tokens=input_tokens, output_tokens=output_tokens)
    measure = _bound_whole if card.mode == "whole" else _bound_marginal
    return -(-measure(card.tiers, input_tokens, output_tokens) * numerator // (PER * denominator))


def bound_plain(price: Price, input_tokens: int, output_tokens: int) -> int | None:
    """`bound` at the default tier; None where the price has tiers or windows."""
    simple = price.simple
    if simple is None:
        return None
    return -(-(input_tokens * simple.prompt_max + output_tokens * simple.answer_max + simple.request) // PER)


def _is_unusual(usage: Usage) -> int:
    """Non-zero if a component outside the fast case was used."""
    return (
        usage.cache_write_tokens
        | usage.cache_write_long_tokens
        | usage.audio_input_tokens
        | usage.audio_output_tokens
        | usage.image_input_tokens
        | usage.image_output_tokens
    )


def _rate_closely(usage: Usage, price: Price, *, at_ms: int, service_tier: str) -> int:
    card, numerator, denominator = _select(price, at_ms=at_ms, service_tier=service_tier)
    counts: list[int] = [getattr(usage, name) for name in FIELDS]
    if card.mode == "marginal" and len(card.tiers) > 1:
        total = _marginal(counts, card.tiers, price)
    else:
        tier = _tier_of(card.tiers, usage.prompt_tokens)
        total = _dot(counts, tier, price) + tier.request
    return _round_half_even(total * numerator, PER * denominator)


def _select(price: Price, *, at_ms: int, service_tier: str) -> tuple[CompiledCard, int, int]:
    """The card in force and the multiplier on it, as numerator and denominator.

    A service tier's own card says everything; otherwise the first matching window's card or multiplier
    applies, and the service tier's multiplier on top of it.
    """
    numerator = denominator = 1
    if service_tier not in _SAME_AS_DEFAULT:
        tier = price.rules.service_tiers.get(service_tier)
        if tier is None and not price.priced:
            return compile_card(price.rules.base), 1, 1
        if tier is None:
            raise UnpricedDimension(
                f"{price.sku or 'this model'} has no price for service tier {service_tier!r}; use another tier.",
                param="service_tier",
            )
        if tier.card is not None:
            return compile_card(tier.card), 1, 1
        numerator, denominator = tier.multiplier or (1, 1)
    card = price.rules.base
    for window in price.compiled_windows:
        if window.contains(at_ms):
            over, down = window.window.multiplier or (1, 1)
            numerator, denominator = numerator * over, denominator * down
            card = window.window.card or card
            break
    return compile_card(card), numerator, denominator


def _tier_of(tiers: Sequence[Tier], prompt_tokens: int) -> Tier:
    """The last tier whose threshold the prompt passes."""
    found = tiers[0]
    for tier in tiers[1:]:
        if prompt_tokens <= tier.above:
            break
        found = tier
    return found


def _dot(counts: Sequence[int], tier: Tier, price: Price) -> int:
    total = 0
    for index, count in enumerate(counts):
        if count:
            value = tier.rates[index]
            if value is None:
                raise _unpriced(price, index)
            total += count * value
    return total


def _marginal(counts: Sequence[int], tiers: Sequence[Tier], price: Price) -> int:
    """Each token at the rate of its position; the call itself at the first tier's."""
    total, position = tiers[0].request, 0
    for index in (*PROMPT_ORDER, *ANSWER_ORDER):
        end = position + counts[index]
        for tier, start, stop in _segments(tiers, position, end):
            value = tier.rates[index]
            if value is None:
                raise _unpriced(price, index)
            total += (stop - start) * value
        position = end
    return total


def _segments(tiers: Sequence[Tier], start: int, end: int) -> list[tuple[Tier, int, int]]:
    """The non-empty parts of positions [start, end) that lie in each tier."""
    parts: list[tuple[Tier, int, int]] = []
    for index, tier in enumerate(tiers):
        ceiling = tiers[index + 1].above if index + 1 < len(tiers) else end
        low, high = max(start, tier.above, 0), min(end, ceiling)
        if low < high:
            parts.append((tier, low, high))
    return parts


def _bound_whole(tiers: Sequence[Tier], input_tokens: int, output_tokens: int) -> int:
    """The dearest tier that some prompt of at most `input_tokens` reaches, filled to the brim."""
    worst = 0
    for index, tier in enumerate(tiers):
        if index and input_tokens <= tier.above:
            break
        ceiling = tiers[index + 1].above if index + 1 < len(tiers) else input_tokens
        prompt = min(input_tokens, ceiling) * _dearest(tier, PROMPT_ORDER)
        worst = max(worst, prompt + output_tokens * _dearest(tier, ANSWER_ORDER) + tier.request)
    return worst


def _bound_marginal(tiers: Sequence[Tier], input_tokens: int, output_tokens: int) -> int:
    """A full prompt, and every answer token at the dearest tier up to its last possible position."""
    prompt = sum(
        (stop - start) * _dearest(tier, PROMPT_ORDER)
        for tier, start, stop in _segments(tiers, 0, input_tokens)
    )
    answer = 0
    for tier, start, stop in _segments(tiers, input_tokens, input_tokens + output_tokens):
        reached = tiers[: list(tiers).index(tier) + 1]
        answer += (stop - start) * max(_dearest(one, ANSWER_ORDER) for one in reached)
    return prompt + answer + tiers[0].request


def _refuse_unpriced_side(tier: Tier, price: Price, *, input_tokens: int, output_tokens: int) -> None:
    if input_tokens and dearest(tier, PROMPT_ORDER) is None:
        raise _unpriced(price, COMPONENTS.index("input"))
    if output_tokens and dearest(tier, ANSWER_ORDER) is None:
        raise _unpriced(price, COMPONENTS.index("output"))


def _dearest(tier: Tier, components: Sequence[int]) -> int:
    return dearest(tier, components) or 0


def _round_half_even(numerator: int, denominator: int) -> int:
    quotient, rest = divmod(numerator, denominator)
    twice = rest * 2
    return quotient + (twice > denominator or (twice == denominator and quotient & 1 == 1))


def _unpriced(price: Price, index: int) -> UnpricedDimension:
    name = COMPONENTS[index]
    return UnpricedDimension(
        f"The price of {price.sku or 'this model'} has no rate for {name}; set one with `hub price set`.",
        param=name,
    )
