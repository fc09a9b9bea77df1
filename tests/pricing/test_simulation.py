"""Re-rating past usage: the book that billed gives back what was booked, to the nano-unit, on both databases."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.pricing.test_verbs import ADMIN, At
from tokenhub.clearing import simulation_verbs
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.registry import Registry
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.usage import Usage
from tokenhub.metering.store import insert_events
from tokenhub.metering.types import UsageEvent
from tokenhub.pricing import store, verbs
from tokenhub.pricing.rating import rate
from tokenhub.pricing.types import RateCard, Rates, Rules, ServiceTier, Window

START = 1_790_812_800_000  # 2026-10-01T00:00:00Z
DAY = 86_400_000
MONTH = 31 * DAY


def rules(input_nano: int) -> Rules:
    return Rules(
        base=RateCard(rates=Rates(input=input_nano, cache_read=input_nano // 10, output=4 * input_nano)),
        windows=(Window(tz="Asia/Shanghai", start="00:30", end="08:30", multiplier=(1, 2)),),
        service_tiers={"batch": ServiceTier(multiplier=(1, 2))},
    )


def book_a_month(database: Database) -> int:
    """Two models, prices that change on the 10th and the 20th, an unpriced model; returns the booked total."""
    with database.write("hub") as connection:
        for sku in ("a", "b"):
            for day, amount in ((0, 251_000_003), (10, 199_999_999), (20, 333_333_333)):
                store.add_version(
                    connection,
                    sku=sku,
                    rules=rules(amount),
                    currency="USD",
                    effective_from_ms=START + day * DAY,
                    now_ms=START - 1,
                )
    with database.read("hub") as connection:
        prices = store.load_prices(connection, at_ms=START)
    chance, events = random.Random(3), list[UsageEvent]()
    for index in range(600):
        model = chance.choice(["a", "b", "free"])
        begun, latency = START + chance.randrange(MONTH - 60_000), chance.randrange(60_000)
        usage = Usage(
            input_tokens=chance.randrange(5000),
            cache_read_tokens=chance.randrange(500),
            output_tokens=chance.randrange(900),
        )
        tier = chance.choice(["default", "auto", "batch"]) if model != "free" else "default"
        price = prices[model].at(begun) if model in prices else None
        amount = rate(usage, price, at_ms=begun, service_tier=tier) if price else 0
        events.append(
            UsageEvent(
                request_id=f"req_{index:05d}",
                at_ms=begun + latency,
                latency_ms=latency,
                org_id="org_1",
                key_id="key_1",
                team_id=chance.choice(["red", "blue"]),
                model=model,
                service_tier=tier,
                price_version_id=price.version_id if price else "",
                amount_nano=amount,
                input_tokens=usage.input_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                output_tokens=usage.output_tokens,
            )
        )
    with database.write("ledger") as connection:
        insert_events(connection, events, transfer_id="tr_1")
    return sum(event.amount_nano for event in events)


@pytest.fixture
def call(database: Database, settings: Settings) -> Callable[..., Any]:
    clock = At()
    clock.ms = START + MONTH + DAY
    registry, runtime = Registry(simulation_verbs, verbs), Runtime(database, settings, clock)

    def run(name: str, **arguments: Any) -> Any:
        envelope = execute(registry, runtime, ADMIN, name, arguments)
        return envelope.data if envelope.ok else envelope.error

    return run


def test_the_current_book_over_a_closed_month_equals_what_was_booked(
    call: Callable[..., Any], database: Database
) -> None:
    booked = book_a_month(database)
    result = call("price.simulate", month="2026-10")
    assert booked > 0
    assert result["total"]["booked_nano"] == result["total"]["simulated_nano"] == booked
    assert all(line["difference_nano"] == 0 for line in result["items"])
    assert result["total"]["requests"] == 600
    free = next(line for line in result["items"] if line["group"] == "free")
    assert (free["unpriced"], free["simulated_nano"]) == (free["requests"], 0)
    by_team = call("price.simulate", month="2026-10", by="team")
    assert {line["group"] for line in by_team["items"]} == {"red", "blue"}
    assert by_team["total"]["simulated_nano"] == booked
    assert call("price.simulate", month="2026-09")["items"] == []


def test_another_book_another_version_another_instant(call: Callable[..., Any], database: Database) -> None:
    booked = book_a_month(database)
    call(
        "price.set",
        sku="a",
        book="double",
        rules='{"base":{"rates":{"input":1000000000,"output":0}}}',
        effective_from="1970-01-01",
    )
    result = call("price.simulate", month="2026-10", book="double", model="a")
    assert result["total"]["unpriced"] > 0  # its plain rules have no batch tier
    call("price.set", sku="a", input="0", output="0")
    assert call("price.simulate", month="2026-10")["total"]["simulated_nano"] == booked
    version = call("price.history", sku="a")["items"][-1]["version"]
    one = call("price.simulate", month="2026-10", version=version)
    assert {line["group"] for line in one["items"]} == {"a"}
    assert one["total"]["simulated_nano"] == 0
    now = call("price.simulate", month="2026-10", as_of="now")
    assert now["total"]["simulated_nano"] != booked


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({"month": "October"}, "month"),
        ({"since": "x"}, "since"),
        ({"since": "2026-10-02", "until": "2026-10-01"}, "until"),
    ],
)
def test_periods_that_are_none(call: Callable[..., Any], arguments: dict[str, str], param: str) -> None:
    assert call("price.simulate", **arguments).param == param
