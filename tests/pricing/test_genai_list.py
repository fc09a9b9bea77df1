"""The converted public list costs what the package itself calculates, for every model of it."""

import random
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelInfo
from genai_prices.types import Usage as TheirUsage

from tokenhub.kernel.usage import Usage
from tokenhub.pricing import genai_list
from tokenhub.pricing.cards import COMPONENTS, compile_card
from tokenhub.pricing.price import Price
from tokenhub.pricing.rating import rate

INSTANTS = [datetime(2026, 11, 23, hour, 30, tzinfo=UTC) for hour in (1, 3, 9, 14, 20)]


@cache
def listed() -> genai_list.PriceList:
    return genai_list.read_list()


def theirs(info: ModelInfo, usage: Usage, when: datetime, context: dict[str, str] | None) -> Decimal:
    counts = TheirUsage(
        input_tokens=usage.prompt_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens + usage.cache_write_long_tokens,
        cache_write_1h_tokens=usage.cache_write_long_tokens,
        output_tokens=usage.completion_tokens,
    )
    return info.get_prices(when, context).calc_price(counts)["total_price"]


def test_most_of_the_list_is_converted_and_the_rest_is_counted() -> None:
    everything = sum(len(provider.models) for provider in providers)
    assert len(listed().prices) + len(listed().skipped) == everything
    assert len(listed().prices) > 0.85 * everything
    assert set(listed().skipped.values()) and all(listed().skipped.values())


def test_every_price_equals_the_packages_own_calculation() -> None:
    models = {f"{provider.id}/{info.id}": info for provider in providers for info in provider.models}
    chance = random.Random(7)
    compared = 0
    for price in listed().prices:
        for when in INSTANTS:
            at_ms = int(when.timestamp()) * 1000
            rules = [rules for start_ms, rules in price.versions if start_ms <= at_ms][-1]
            made = Price(version_id="p", sku=price.sku, currency="USD", rules=rules)
            rates = dict(zip(COMPONENTS, compile_card(rules.base).tiers[0].rates, strict=True))
            usage = Usage(
                input_tokens=chance.choice([7, 90_000, 300_000]) if rates["input"] is not None else 0,
                cache_read_tokens=chance.choice([0, 1234]) if rates["input"] is not None else 0,
                cache_write_tokens=chance.choice([0, 512]) if rules.base.rates.cache_write is not None else 0,
                cache_write_long_tokens=chance.choice([0, 77]) if rules.base.rates.cache_write_long else 0,
                output_tokens=chance.choice([0, 4321]) if rates["output"] is not None else 0,
            )
            exact = theirs(models[price.sku], usage, when, None) * 1_000_000_000
            assert abs(rate(usage, made, at_ms=at_ms) - exact) <= Decimal("0.5"), (price.sku, usage)
            compared += 1
    assert compared > 9000


def test_service_tiers_equal_the_packages_own_calculation() -> None:
    compared = 0
    for provider in providers:
        for info in provider.models:
            for variant in info.price_variants or []:
                name = next(iter(variant.when.values()))
                price = next((one for one in listed().prices if one.sku == f"{provider.id}/{info.id}"), None)
                rules = price.versions[-1][1] if price else None
                if rules is None or name not in rules.service_tiers:
                    continue
                when = datetime(2027, 6, 1, 12, tzinfo=UTC)
                usage = Usage(input_tokens=1000, cache_read_tokens=100, output_tokens=50)
                exact = theirs(info, usage, when, variant.when) * 1_000_000_000
                made = Price(version_id="p", sku="m", currency="USD", rules=rules)
                amount = rate(usage, made, at_ms=int(when.timestamp()) * 1000, service_tier=name)
                assert abs(amount - exact) <= Decimal("0.5"), (provider.id, info.id, variant)
                compared += 1
    assert compared > 80


@pytest.mark.parametrize(
    ("value", "nano"), [("0.25", 250_000_000), ("0.000000001", 1), ("15", 15_000_000_000)]
)
def test_rates_are_exact(value: str, nano: int) -> None:
    assert genai_list._rate(Decimal(value), "input") == nano


def test_a_rate_finer_than_a_nano_dollar_is_not_rounded() -> None:
    with pytest.raises(genai_list.NotRepresentable, match="finer"):
        genai_list._rate(Decimal("0.13999999999999999"), "input")
