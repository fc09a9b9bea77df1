"""Real usage payloads of every dialect: the vector they mean and the amount they cost, to the nano-unit."""

import json
from pathlib import Path
from typing import Any

import pytest

from tokenhub.kernel.money import parse_nano
from tokenhub.kernel.usage import Usage
from tokenhub.kernel.usage_dialects import (
    InvalidUsage,
    from_anthropic,
    from_openai_chat,
    from_openai_responses,
    merge_anthropic,
    to_anthropic,
    to_openai_chat,
    to_openai_responses,
)
from tokenhub.pricing.errors import UnpricedDimension
from tokenhub.pricing.price import flat_price
from tokenhub.pricing.rating import bound, rate
from tokenhub.pricing.types import Rates

TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "usage_fixtures.json").read_text())
CASES: list[dict[str, Any]] = TABLE["cases"]


def _price(rates: dict[str, str]) -> Any:
    nano = {name: parse_nano(text) for name, text in rates.items()}
    if "request" in nano:
        nano["request"] *= 1_000_000
    return flat_price(Rates(**nano), sku="m", version_id="price_1")


PRICES = {name: _price(rates) for name, rates in TABLE["prices_per_million"].items()}


def _convert(case: dict[str, Any]) -> Usage:
    usage = case["usage"]
    match case["dialect"]:
        case "openai_chat":
            return from_openai_chat(usage)
        case "openai_responses":
            return from_openai_responses(usage)
        case _:
            merged: dict[str, object] = {}
            for one in usage if isinstance(usage, list) else [usage]:
                merged = merge_anthropic(merged, one)
            return from_anthropic(merged)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_fixture(case: dict[str, Any]) -> None:
    if case.get("refused"):
        with pytest.raises(InvalidUsage):
            _convert(case)
        return
    usage = _convert(case)
    assert usage == Usage(**case["vector"])
    for name, expected in case["amounts_nano"].items():
        price = PRICES[name]
        if expected == "unpriced":
            with pytest.raises(UnpricedDimension):
                rate(usage, price, at_ms=0)
        else:
            assert rate(usage, price, at_ms=0) == expected, name
            held = bound(
                price, input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, at_ms=0
            )
            assert held >= expected, name


def test_table_covers_every_dialect_and_component() -> None:
    assert len(CASES) >= 40
    assert {case["dialect"] for case in CASES} == {"openai_chat", "openai_responses", "anthropic"}
    seen = {name for case in CASES if "vector" in case for name in case["vector"]}
    assert seen == set(Usage.__dataclass_fields__) - {"image_output_tokens"}


@pytest.mark.parametrize("case", [case for case in CASES if "vector" in case], ids=lambda case: case["name"])
def test_back_to_each_dialect_and_again(case: dict[str, Any]) -> None:
    usage = Usage(**case["vector"])
    text = Usage(
        **{
            name: count
            for name, count in case["vector"].items()
            if "audio" not in name and "image" not in name
        }
    )
    assert from_openai_chat(to_openai_chat(usage)).total_tokens == usage.total_tokens
    assert from_openai_responses(to_openai_responses(text)) == text
    assert from_anthropic(to_anthropic(text)) == text
    assert to_openai_chat(usage)["total_tokens"] == usage.prompt_tokens + usage.completion_tokens
