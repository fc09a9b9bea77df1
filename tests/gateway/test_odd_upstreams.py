"""What an upstream does must neither cost it more work than needed nor stop the books."""

import asyncio
import json

import pytest

from tests.gateway.client import chat
from tests.gateway.conftest import Hub, running
from tests.gateway.upstream import ANSWER, Call, json_answer, plain
from tokenhub.config import Settings


@pytest.mark.parametrize("way", ["short", "long"])
async def test_an_upstream_that_drops_every_request_gets_as_few_on_both_ways(hub: Hub, way: str) -> None:
    """A request is work: it is not sent once more than the conductor would."""
    gate = asyncio.Event()

    async def together(call: Call) -> None:
        await gate.wait()
        await plain(call)

    hub.upstream.script = together
    asks = [asyncio.create_task(hub.ask(body=chat())) for _ in range(3)]
    await asyncio.sleep(0.3)
    gate.set()
    await asyncio.gather(*asks)  # three kept upstream connections
    if way == "long":
        hub.server.fast_path.forget()
    before, taken = len(hub.upstream.calls), hub.server.fast_path.taken

    async def drop(call: Call) -> None:
        call.writer.transport.abort()

    hub.upstream.script = drop
    answer = await hub.ask(body=chat())
    assert answer.status == 502
    assert hub.server.fast_path.taken == taken + (way == "short")
    assert len(hub.upstream.calls) - before == 2


@pytest.mark.parametrize("way", ["short", "long"])
async def test_an_odd_finish_reason_does_not_stop_settlement(settings: Settings, way: str) -> None:
    async with running(settings) as hub:
        await hub.ask(body=chat())
        odd = json.loads(json.dumps(ANSWER))
        odd["choices"][0]["finish_reason"] = "st\0op"

        async def script(call: Call) -> None:
            hub.upstream.script = plain
            call.writer.write(json_answer(odd))

        hub.upstream.script = script
        if way == "long":
            hub.server.fast_path.forget()
        assert (await hub.ask(body=chat())).status == 200
        assert (await hub.ask(body=chat())).status == 200
        assert len(await hub.settled()) == 3
