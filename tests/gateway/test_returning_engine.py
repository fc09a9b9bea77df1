"""An engine of our own that is away for a moment: a refusal worth a retry, and no wait for the next look once it is back."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.client import chat
from tests.gateway.conftest import Hub, running
from tokenhub.config import Settings
from tokenhub.maas.deployments import store
from tokenhub.maas.gateway import snapshot


@pytest.fixture
async def hub(sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """Its gateway does not look by itself."""
    monkeypatch.setattr(snapshot, "POLL_S", 3600.0)
    async with running(replace(sqlite_settings, hold_wait_s=0.3), adapter="openai") as made:
        yield made


def _address(hub: Hub) -> str:
    with hub.database.read("hub") as connection:
        return store.list_deployments(connection)[0].base_url


def _set(hub: Hub, status: Any, **values: Any) -> None:
    with hub.database.write("hub") as connection:
        (row,) = store.list_deployments(connection)
        store.set_status(connection, row.id, status, **values)


@pytest.mark.parametrize("status", ["pending", "fetching", "starting", "failing"])
async def test_a_model_that_is_coming_back_is_worth_a_retry(hub: Hub, status: str) -> None:
    _set(hub, status)
    await hub.server.keeper.check()
    answer = await hub.ask(body=chat())
    assert answer.status == 503 and answer.json["error"]["code"] == "model_not_ready"
    assert answer.headers["retry-after"] == "1" and answer.headers["x-should-retry"] == "true"
    unknown = await hub.ask(body=chat(model="nobody"))
    assert unknown.status == 404 and unknown.headers["x-should-retry"] == "false"


async def test_a_model_that_was_stopped_is_not_there(hub: Hub) -> None:
    with hub.database.write("hub") as connection:
        (row,) = store.list_deployments(connection)
        store.set_desired(connection, row.id, "stopped")
    await hub.server.keeper.check()
    assert (await hub.ask(body=chat())).status == 404


async def test_an_engine_that_came_back_is_found_at_the_next_request(hub: Hub) -> None:
    url = _address(hub)
    _set(hub, "starting")
    await hub.server.keeper.check()
    _set(hub, "running", base_url=url, engine_boot="boot_2")
    assert (await hub.ask(body=chat())).status == 200
    (event,) = await hub.settled()
    assert event["engine_boot"] == "boot_2"


async def test_an_engine_that_came_back_elsewhere_is_found_when_its_old_address_refuses(hub: Hub) -> None:
    url = _address(hub)
    _set(hub, "running", base_url="http://127.0.0.1:9/v1", engine_boot="boot_2")
    await hub.server.keeper.check()
    refused = await hub.ask(body=chat())
    assert refused.status == 503 and refused.headers["x-should-retry"] == "true"
    _set(hub, "running", base_url=url, engine_boot="boot_3")
    assert (await hub.ask(body=chat())).status == 200
    (event,) = await hub.settled()
    assert event["engine_boot"] == "boot_3" and await hub.held() == 0
