"""`hub budget`, `hub usage`, `hub ledger` through the one door."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.clearing.conftest import Books, an_event, hold, settled
from tokenhub.budgets import verbs as budget_verbs
from tokenhub.budgets.store import load_limits
from tokenhub.clearing import verbs as ledger_verbs
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.registry import Registry
from tokenhub.identity.first_run import ensure_first_run
from tokenhub.identity.keys import authenticate
from tokenhub.identity.types import Principal
from tokenhub.metering import verbs as usage_verbs

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def admin(books: Books) -> Principal:
    with books.database.write("hub") as connection:
        first = ensure_first_run(connection, books.settings)
    assert first is not None
    with books.database.read("hub") as connection:
        return authenticate(connection, first.admin_key)


@pytest.fixture
def call(books: Books, admin: Principal) -> Call:
    registry = Registry(budget_verbs, usage_verbs, ledger_verbs)

    def run(name: str, **raw: Any) -> dict[str, Any]:
        answer = execute(registry, Runtime(books.database, books.settings), admin, name, raw)
        assert answer.ok, answer.error
        assert answer.data is not None
        return answer.data

    return run


async def test_a_yearly_envelope(books: Books, admin: Principal, call: Call) -> None:
    made = call("budget.create", scope="user:admin", cap="20M", window="year", tz="Europe/Paris")
    assert (made["cap"], made["used"], made["hard"]) == (20_000_000, 0, True)
    assert made["window"] == "calendar year (Europe/Paris)" and made["name"] == "admin-tokens-year"
    with books.database.read("ledger") as connection:
        limits = load_limits(connection)
    clerk = await books.clerk()
    held = await hold(clerk, clerk.path(limits), 500)
    event = an_event(held.request_id, 200, org_id=admin.org_id, user_id=admin.user_id, key_id=admin.key_id)
    clerk.capture(held, event)
    await settled(clerk)
    shown = call("budget.show", budget="admin-tokens-year")
    assert shown["used"] == 200 and shown["resets_at"] and shown["left"] <= 20_000_000 - 200
    assert shown["forecast_at_end"] is not None
    assert [item["name"] for item in call("budget.list")["items"]] == ["admin-tokens-year"]
    assert call("budget.set", budget=made["id"], cap="100")["cap"] == 100
    usage = call("usage.show", by="model")
    assert usage["total"]["total_tokens"] == 200 and usage["items"][0]["group"] == "tiny"
    line = call("ledger.show", request_id=held.request_id)["line"]
    assert line["completion_tokens"] == 200
    assert len(call("ledger.statement")["items"]) == 1
    assert call("ledger.verify")["whole"]
    assert call("ledger.reconcile")["residual"] == 0
    call("ledger.correct", request_id=held.request_id, reason="a test")
    assert call("ledger.verify")["whole"]
    call("budget.remove", budget=made["id"])
    assert call("budget.list")["items"] == []


def test_scopes_and_windows_that_do_not_exist(books: Books, admin: Principal, call: Call) -> None:
    registry = Registry(budget_verbs)
    runtime = Runtime(books.database, books.settings)
    for raw in (
        {"scope": "user:nobody", "cap": "5"},
        {"scope": "galaxy", "cap": "5"},
        {"scope": "org", "cap": "many"},
        {"scope": "org", "cap": "5", "window": "day", "tz": "Mars/Olympus"},
        {"scope": "org", "cap": "5", "unit": "concurrency", "window": "day"},
        {"scope": "org", "cap": "5", "kind": "anniversary", "window": "month", "anchor_ms": 2**62},
    ):
        answer = execute(registry, runtime, admin, "budget.create", raw)
        assert not answer.ok and answer.error is not None and answer.error.status in (400, 404), raw
        assert answer.error.param is not None, raw
