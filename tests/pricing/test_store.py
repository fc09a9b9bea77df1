"""The price book on both databases: versions start, close each other and never change."""

import pytest
from sqlalchemy import text

from tokenhub.db import revision
from tokenhub.db.engine import Database
from tokenhub.kernel.errors import Conflict, NotFound
from tokenhub.kernel.usage import Usage
from tokenhub.pricing import store
from tokenhub.pricing.errors import InvalidPrice
from tokenhub.pricing.rating import rate
from tokenhub.pricing.rules import parse_rules
from tokenhub.pricing.types import (
    NO_END_MS,
    ContextTier,
    RateCard,
    Rates,
    Rules,
    ServiceTier,
    Window,
    canonical,
    fingerprint,
)

NOW = 1_790_000_000_000


def flat(input_nano: int) -> Rules:
    return Rules(base=RateCard(rates=Rates(input=input_nano, output=input_nano * 4)))


def add(database: Database, start_ms: int, input_nano: int, **more: str) -> store.Version:
    with database.write("hub") as connection:
        return store.add_version(
            connection,
            sku=more.pop("sku", "m"),
            rules=flat(input_nano),
            currency="USD",
            effective_from_ms=start_ms,
            now_ms=NOW,
            **more,
        )


def test_versions_close_each_other(database: Database) -> None:
    first = add(database, NOW, 1_000_000)
    second = add(database, NOW + 1000, 2_000_000)
    add(database, NOW, 5_000_000, sku="other")
    assert first.price.effective_to_ms == NO_END_MS
    with database.read("hub") as connection:
        past = store.history(connection, "m")
        assert [v.price.effective_from_ms for v in past] == [NOW, NOW + 1000]
        assert past[0].price.effective_to_ms == NOW + 1000
        assert store.load_prices(connection, at_ms=NOW)["m"].version_id == first.price.version_id
        assert store.load_prices(connection, at_ms=NOW + 1000)["m"].version_id == second.price.version_id
        assert store.get_version(connection, first.price.version_id).price.effective_to_ms == NOW + 1000
        assert store.books(connection) == ["default"]


def test_an_announced_version_starts_on_its_millisecond_in_a_loaded_snapshot(database: Database) -> None:
    add(database, NOW, 1_000_000)
    add(database, NOW + 500, 2_000_000)
    with database.read("hub") as connection:
        loaded = store.load_prices(connection, at_ms=NOW)["m"]
    usage = Usage(input_tokens=1)
    assert rate(usage, loaded.at(NOW + 499), at_ms=NOW + 499) == 1
    assert rate(usage, loaded.at(NOW + 500), at_ms=NOW + 500) == 2


def test_a_first_version_that_is_announced_is_unpriced_until_then(database: Database) -> None:
    add(database, NOW + 500, 1_000_000)
    with database.read("hub") as connection:
        loaded = store.load_prices(connection, at_ms=NOW)["m"]
    assert not loaded.at(NOW).priced
    assert rate(Usage(input_tokens=9), loaded.at(NOW), at_ms=NOW) == 0
    assert loaded.at(NOW + 500).priced


def test_overlap_and_the_past_are_refused(database: Database) -> None:
    add(database, NOW + 1000, 1_000_000)
    with pytest.raises(Conflict, match="must start later"):
        add(database, NOW + 1000, 2_000_000)
    with pytest.raises(Conflict, match="must start later"):
        add(database, NOW + 999, 2_000_000)
    with pytest.raises(InvalidPrice, match="past"):
        add(database, NOW - 1, 2_000_000, sku="other")
    add(database, 0, 2_000_000, sku="other", book="what-if")
    with database.read("hub") as connection:
        assert store.load_prices(connection, at_ms=1, book="what-if")["other"].priced
        assert "other" not in store.load_prices(connection, at_ms=NOW)
        with pytest.raises(NotFound):
            store.get_version(connection, "price_none")


def test_every_change_moves_the_revision(database: Database) -> None:
    add(database, NOW, 1_000_000)
    with database.read("hub") as connection:
        assert revision.current(connection) == 1


def test_a_row_changed_by_hand_is_found(database: Database) -> None:
    add(database, NOW, 1_234_567)
    with database.write("hub") as connection:
        connection.execute(text("UPDATE price_version SET rules = replace(rules, '1234567', '1234568')"))
    with database.read("hub") as connection, pytest.raises(InvalidPrice, match="by hand"):
        store.load_prices(connection, at_ms=NOW)


def test_rules_survive_their_canonical_json() -> None:
    rules = Rules(
        base=RateCard(
            rates=Rates(input=3, output=15),
            tiers=(ContextTier(above=200_000, rates=Rates(input=6)),),
            mode="marginal",
        ),
        windows=(Window(tz="Asia/Shanghai", start="22:00", end="08:00", days=(1, 2), multiplier=(1, 2)),),
        service_tiers={
            "priority": ServiceTier(card=RateCard(rates=Rates(input=9, output=9))),
            "batch": ServiceTier(multiplier=(1, 2)),
        },
    )
    spelled = canonical(rules)
    assert parse_rules(spelled) == rules
    assert canonical(parse_rules(spelled.replace(",", ", "))) == spelled
    assert len(fingerprint(spelled)) == 64


@pytest.mark.parametrize(
    "text_",
    [
        "",
        "[]",
        '{"base": {}}',
        '{"base": {"rates": {"input": 1.5}}}',
        '{"base": {"rates": {"input": "1"}}}',
        '{"base": {"rates": {"input": -1}}}',
        '{"base": {"rates": {"colour": 1}}}',
        '{"base": {"rates": {"input": 1}, "tiers": [{"above": 5, "rates": {}}, {"above": 5, "rates": {}}]}}',
        '{"base": {"rates": {"input": 1}, "tiers": [{"above": 0, "rates": {}}]}}',
        '{"base": {"rates": {"input": 1}}, "service_tiers": {"default": {"multiplier": [1, 2]}}}',
        '{"base": {"rates": {"input": 1}}, "service_tiers": {"batch": {}}}',
        '{"base": {"rates": {"input": 99999999999999999999}}}',
    ],
)
def test_rules_that_cannot_stand(text_: str) -> None:
    with pytest.raises(InvalidPrice):
        parse_rules(text_)
