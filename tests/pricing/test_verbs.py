"""`hub price …` through the one door, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest

from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.envelope import Envelope
from tokenhub.commands.registry import Registry
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.identity.types import Principal
from tokenhub.pricing import store, verbs

ADMIN = Principal(
    key_id="key_1",
    org_id="org_1",
    team_id=None,
    project_id=None,
    user_id=None,
    service_account_id=None,
    scopes=frozenset({"*"}),
    models=None,
    expires_at_ms=None,
    app="",
    parent_key_id=None,
)


class At:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.ms = 1_790_000_000_000

    def now_ms(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> At:
    return At()


@pytest.fixture
def call(database: Database, settings: Settings, clock: At) -> Callable[..., Any]:
    registry, runtime = Registry(verbs), Runtime(database, settings, clock)

    def run(name: str, **arguments: Any) -> Any:
        envelope: Envelope = execute(registry, runtime, ADMIN, name, arguments)
        return envelope.data if envelope.ok else envelope.error

    return run


def test_set_show_list_history(call: Callable[..., Any], clock: At) -> None:
    made = call("price.set", sku="m", input="0.25", output="1", cache_read="0.025")
    assert (made["input"], made["output"], made["cache_read"]) == ("0.25", "1.00", "0.025")
    assert not made["in_force"]
    clock.ms += 1000
    assert call("price.show", sku="m")["in_force"]
    call("price.set", sku="m", input="0.5", output="2", effective_from="2030-01-01T00:00:00Z")
    assert [one["effective_to"] for one in call("price.history", sku="m")["items"]] == [
        "2030-01-01T00:00:00Z",
        None,
    ]
    assert [one["input"] for one in call("price.list")["items"]] == ["0.25"]
    assert call("price.show", sku="m")["effective_to"] == "2030-01-01T00:00:00Z"


def test_list_pages(call: Callable[..., Any], clock: At) -> None:
    for name in ("a", "b", "c"):
        call("price.set", sku=name, input="1", output="1")
    clock.ms += 1000
    first = call("price.list", limit=2)
    assert [one["sku"] for one in first["items"]] == ["a", "b"]
    rest = call("price.list", limit=2, cursor=first["next_cursor"])
    assert [one["sku"] for one in rest["items"]] == ["c"]
    assert rest["next_cursor"] is None


def test_rules_as_json(call: Callable[..., Any]) -> None:
    rules = '{"base":{"rates":{"input":5},"tiers":[{"above":9,"rates":{"input":6}}]},"service_tiers":{"batch":{"multiplier":[1,2]}}}'
    made = call("price.set", sku="m", rules=rules)
    assert made["details"] == "2 context tiers (whole); service tiers batch"
    assert made["rules"] == rules.replace(" ", "")


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({}, "input"),
        ({"input": "abc"}, "input"),
        ({"input": "0.0000000001"}, "input"),
        ({"input": "-1"}, "base.rates.input"),
        ({"input": "1e400000000"}, "input"),
        ({"per_request": "9223372037"}, "per_request"),
        ({"per_request": "9223372"}, "per_request"),
        ({"input": "1", "book": "b" * 300_000}, "book"),
        ({"input": "1", "rules": '{"base":{"rates":{"input":5}}}'}, "rules"),
        ({"input": "1", "effective_from": "soon"}, "effective_from"),
        ({"input": "1", "effective_from": "2001-01-01"}, "effective_from"),
    ],
)
def test_refusals_name_the_argument(call: Callable[..., Any], arguments: dict[str, str], param: str) -> None:
    fault = call("price.set", sku="m", **arguments)
    assert (fault.status, fault.param) == (400, param)


def test_import_adds_what_is_in_force_and_announced(
    call: Callable[..., Any], clock: At, database: Database
) -> None:
    done = call("price.import", provider="anthropic")
    assert done["imported"] > 10
    assert done["left_out"]["web_searches_kcount"] > 5
    clock.ms += 10_000
    shown = call("price.list", match="anthropic/", limit=100)["items"]
    assert all(one["source"].startswith("genai-prices ") for one in shown)
    again = call("price.import", provider="anthropic")
    assert again["imported"] == 0
    assert again["unchanged"] == done["unchanged"] + len({one["sku"] for one in shown})
    with database.read("hub") as connection:
        assert len(store.load_prices(connection, at_ms=clock.ms)) == len(shown)


def test_import_into_another_book_takes_the_history(call: Callable[..., Any], database: Database) -> None:
    call("price.import", provider="anthropic", book="list")
    with database.read("hub") as connection:
        assert store.load_prices(connection, at_ms=0, book="list")
    assert call("price.import", provider="nobody").param == "provider"
    assert call("price.import", source="elsewhere").param == "source"
