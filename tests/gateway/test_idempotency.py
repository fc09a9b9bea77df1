"""The same Idempotency-Key gets the same answer and is billed once, also across gateways."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.gateway.client import chat, request
from tests.gateway.conftest import Hub, running
from tests.gateway.upstream import ANSWER, Call, json_answer
from tokenhub.config import Settings

KEY = {"Idempotency-Key": "order-1"}


@pytest.fixture
async def both(settings: Settings) -> AsyncIterator[Hub]:
    async with running(replace(settings, hold_wait_s=0.3)) as made:
        yield made


async def test_an_answer_is_replayed_and_billed_once(both: Hub) -> None:
    first = await both.ask(body=chat(), headers=KEY)
    await both.settled()
    second = await both.ask(body=chat(), headers=KEY)
    assert first.status == second.status == 200 and first.body == second.body
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["x-request-id"] == first.headers["x-request-id"]
    assert len(both.upstream.calls) == 1 and len(await both.settled()) == 1


async def test_a_stream_is_replayed_as_a_stream(both: Hub) -> None:
    first = await both.ask(body=chat(stream=True), headers=KEY)
    await both.settled()
    second = await both.ask(body=chat(stream=True), headers=KEY)
    assert first.body == second.body and second.headers["content-type"].startswith("text/event-stream")
    assert len(both.upstream.calls) == 1


async def test_another_body_is_a_conflict(both: Hub) -> None:
    await both.ask(body=chat(), headers=KEY)
    await both.settled()
    answer = await both.ask(body=chat(seed=1), headers=KEY)
    assert answer.status == 409 and answer.code == "idempotency_key_conflict"
    assert answer.headers["x-should-retry"] == "false"
    assert (await both.ask(body=chat(seed=1), headers={"Idempotency-Key": "x" * 256})).status == 400


async def test_a_running_request_is_reported_and_a_failed_one_frees_its_key(both: Hub) -> None:
    go = asyncio.Event()

    async def script(call: Call) -> None:
        await go.wait()
        call.writer.write(json_answer({"error": {"message": "broken"}}, 500))

    both.upstream.script = script
    async with await both.open() as client:
        client.send(request(body=chat(), headers=KEY))
        while not both.upstream.calls:
            await asyncio.sleep(0.01)
        answer = await both.ask(body=chat(), headers=KEY)
        assert answer.status == 409 and answer.code == "idempotency_request_in_progress"
        assert answer.headers["x-should-retry"] == "true"
        go.set()
        assert (await client.answer()).status == 502

    async def good(call: Call) -> None:
        call.writer.write(json_answer(ANSWER))

    both.upstream.script = good
    await asyncio.sleep(0.1)
    assert (await both.ask(body=chat(), headers=KEY)).status == 200
