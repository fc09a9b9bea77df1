"""Properties of `rate` and `bound`, against exact fractions."""

import dataclasses
import inspect
import timeit
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tokenhub.kernel.usage import FIELDS, Usage
from tokenhub.pricing import cards, price, rating
from tokenhub.pricing.errors import UnpricedDimension
from tokenhub.pricing.price import ZERO_PRICE, Price, flat_price
from tokenhub.pricing.rating import bound, rate
from tokenhub.pricing.rules import check
from tokenhub.pricing.types import ContextTier, RateCard, Rates, Rules, ServiceTier, Window

counts = st.integers(0, 2_000_000)
usages = st.builds(Usage, **dict.fromkeys(FIELDS, counts))
amounts = st.integers(0, 10**13)
full_rates = st.builds(Rates, **dict.fromkeys(Rates.__struct_fields__, amounts))
text_rates = st.builds(Rates, input=amounts, output=amounts, cache_read=st.none() | amounts)
ratios = st.tuples(st.integers(0, 7), st.integers(1, 7))
instants = st.integers(0, 4_000_000_000_000)


@st.composite
def rate_cards(draw: st.DrawFn) -> RateCard:
    thresholds = sorted(draw(st.sets(st.integers(1, 3_000_000), max_size=3)))
    tiers = tuple(ContextTier(above=above, rates=draw(full_rates | text_rates)) for above in thresholds)
    return RateCard(rates=draw(full_rates), tiers=tiers, mode=draw(st.sampled_from(["whole", "marginal"])))


@st.composite
def rising_cards(draw: st.DrawFn) -> RateCard:
    """Cards whose tiers never get cheaper."""
    card = draw(rate_cards())
    low, tiers = card.rates, list[ContextTier]()
    for tier in card.tiers:
        over = {n: max(getattr(low, n) or 0, getattr(tier.rates, n) or 0) for n in Rates.__struct_fields__}
        low = Rates(**over)
        tiers.append(ContextTier(above=tier.above, rates=low))
    return RateCard(rates=card.rates, tiers=tuple(tiers))


@st.composite
def all_rules(draw: st.DrawFn) -> Rules:
    either = st.one_of(st.tuples(rate_cards(), st.none()), st.tuples(st.none(), ratios))
    windows: list[Window] = []
    for _ in range(draw(st.integers(0, 2))):
        card, multiplier = draw(either)
        hours = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02d}:{minute % 60:02d}")
        zone = draw(st.sampled_from(["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York"]))
        days = tuple(sorted(draw(st.sets(st.integers(1, 7), min_size=1))))
        windows.append(
            Window(tz=zone, start=draw(hours), end=draw(hours), days=days, card=card, multiplier=multiplier)
        )
    tiers = {
        name: ServiceTier(card=card, multiplier=multiplier)
        for name in draw(st.sets(st.sampled_from(["flex", "priority", "batch"])))
        for card, multiplier in [draw(either)]
    }
    rules = Rules(base=draw(rate_cards()), windows=tuple(windows), service_tiers=tiers)
    check(rules)
    return rules


def made(rules: Rules) -> Price:
    return Price(version_id="price_1", sku="m", currency="USD", rules=rules)


@given(usages, full_rates)
def test_flat_rate_is_the_exact_sum_rounded_half_even(usage: Usage, rates: Rates) -> None:
    exact = Fraction(rates.request or 0)
    for name in FIELDS:
        exact += getattr(usage, name) * getattr(rates, name.removesuffix("_tokens"))
    assert rate(usage, flat_price(rates), at_ms=0) == round(exact / 1_000_000)


@given(
    st.builds(
        Usage, input_tokens=counts, cache_read_tokens=counts, output_tokens=counts, reasoning_tokens=counts
    ),
    text_rates,
)
def test_fast_case_equals_the_close_look(usage: Usage, rates: Rates) -> None:
    made_price = flat_price(rates)
    assert made_price.simple is not None
    assert rate(usage, made_price, at_ms=0) == rate(usage, made_price, at_ms=0, service_tier="auto")


@given(
    usages,
    rising_cards(),
    st.sampled_from(FIELDS),
    st.integers(1, 100_000),
    st.sampled_from(["whole", "marginal"]),
)
def test_monotone_in_every_component_where_tiers_rise(
    usage: Usage, card: RateCard, name: str, more: int, mode: str
) -> None:
    priced = made(Rules(base=RateCard(rates=card.rates, tiers=card.tiers, mode=mode)))  # type: ignore[arg-type]
    larger = dataclasses.replace(usage, **{name: getattr(usage, name) + more})
    assert rate(larger, priced, at_ms=0) >= rate(usage, priced, at_ms=0)


@given(
    all_rules(), usages, counts, counts, instants, st.sampled_from(["default", "flex", "priority", "batch"])
)
def test_bound_covers_every_usage_within_it(
    rules: Rules, usage: Usage, more_in: int, more_out: int, at_ms: int, tier: str
) -> None:
    assume(tier == "default" or tier in rules.service_tiers)
    priced = made(rules)
    held = bound(
        priced,
        input_tokens=usage.prompt_tokens + more_in,
        output_tokens=usage.completion_tokens + more_out,
        at_ms=at_ms,
        service_tier=tier,
    )
    assert held >= rate(usage, priced, at_ms=at_ms, service_tier=tier)


@given(usages, usages, full_rates)
def test_additive_to_one_unit_and_the_fee(first: Usage, second: Usage, rates: Rates) -> None:
    free = flat_price(Rates(**{**{n: getattr(rates, n) for n in Rates.__struct_fields__}, "request": 0}))
    apart = rate(first, free, at_ms=0) + rate(second, free, at_ms=0)
    assert abs(apart - rate(first + second, free, at_ms=0)) <= 1


@given(usages, all_rules(), instants)
def test_integers_only(usage: Usage, rules: Rules, at_ms: int) -> None:
    assert type(rate(usage, made(rules), at_ms=at_ms)) is int
    assert rate(usage, made(rules), at_ms=at_ms) >= 0


def test_no_float_in_the_source() -> None:
    for module in (rating, cards, price):
        source = inspect.getsource(module)
        assert "float" not in source
        assert " / " not in source


@given(usages)
def test_zero_price_is_zero(usage: Usage) -> None:
    assert rate(usage, ZERO_PRICE, at_ms=0) == 0
    assert not ZERO_PRICE.priced


def test_missing_dimension_is_named() -> None:
    text = flat_price(Rates(input=1, output=1), sku="m")
    with pytest.raises(UnpricedDimension, match="audio_input"):
        rate(Usage(audio_input_tokens=1), text, at_ms=0)
    with pytest.raises(UnpricedDimension, match="flex"):
        rate(Usage(), text, at_ms=0, service_tier="flex")
    with pytest.raises(UnpricedDimension, match="flex"):
        bound(text, input_tokens=1, output_tokens=1, at_ms=0, service_tier="flex")
    embedding = flat_price(Rates(input=1), sku="e")
    assert rate(Usage(input_tokens=2_000_000), embedding, at_ms=0) == 2
    with pytest.raises(UnpricedDimension, match="output"):
        bound(embedding, input_tokens=1, output_tokens=1, at_ms=0)


def test_whole_tier_prices_every_token_by_the_length_of_the_prompt() -> None:
    card = RateCard(
        rates=Rates(input=1_000_000, output=2_000_000),
        tiers=(ContextTier(above=100, rates=Rates(input=3_000_000)),),
    )
    priced = made(Rules(base=card))
    assert rate(Usage(input_tokens=100, output_tokens=10), priced, at_ms=0) == 120
    assert rate(Usage(input_tokens=60, cache_read_tokens=41, output_tokens=10), priced, at_ms=0) == 323


def test_marginal_tier_prices_each_token_by_its_position() -> None:
    card = RateCard(
        rates=Rates(input=1_000_000, cache_read=0, output=2_000_000),
        tiers=(ContextTier(above=100, rates=Rates(input=3_000_000, output=5_000_000)),),
        mode="marginal",
    )
    priced = made(Rules(base=card))
    assert rate(Usage(input_tokens=90, output_tokens=20), priced, at_ms=0) == 90 + 10 * 2 + 10 * 5
    assert rate(Usage(cache_read_tokens=95, input_tokens=10), priced, at_ms=0) == 5 + 5 * 3


def test_window_multiplier_and_service_tier_multiply() -> None:
    half_at_night = Window(tz="Asia/Shanghai", start="00:30", end="08:30", multiplier=(1, 2))
    rules = Rules(
        base=RateCard(rates=Rates(input=1_000_000, output=1_000_000)),
        windows=(half_at_night,),
        service_tiers={
            "batch": ServiceTier(multiplier=(1, 2)),
            "own": ServiceTier(card=RateCard(rates=Rates(input=7_000_000))),
        },
    )
    priced = made(rules)
    night, day = 18 * 3_600_000, 6 * 3_600_000  # 02:00 and 14:00 in Shanghai
    usage = Usage(input_tokens=100)
    assert rate(usage, priced, at_ms=day) == 100
    assert rate(usage, priced, at_ms=night) == 50
    assert rate(usage, priced, at_ms=night, service_tier="batch") == 25
    assert rate(usage, priced, at_ms=night, service_tier="own") == 700


def test_the_simple_case_is_fast() -> None:
    """Under 1.5 microseconds on a free core; the bound leaves room for a busy machine."""
    priced = flat_price(Rates(input=250_000_000, cache_read=25_000_000, output=1_000_000_000))
    usage = Usage(input_tokens=1200, cache_read_tokens=300, output_tokens=77)
    runs = timeit.repeat(lambda: rate(usage, priced, at_ms=0), number=5_000, repeat=20)
    assert min(runs) / 5_000 < 3e-6
