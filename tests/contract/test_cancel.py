"""A client that goes away: the engine stops within half a second and the books show what was delivered."""

import asyncio
import time
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.hub import TINY, Hub, wait_for

STORY: list[Any] = [{"role": "user", "content": "Write a very long story about the sea."}]
LONG: dict[str, Any] = {
    "model": TINY,
    "messages": STORY,
    "max_tokens": 600,
    "extra_body": {"ignore_eos": True},
}
STOP_MS_MAX = 500


def running(hub: Hub) -> int:
    """Requests that the engine is working on, by its own account."""
    engine = hub.engine(TINY)
    root = engine["base_url"].removesuffix("/v1")
    text = httpx.get(f"{root}/metrics", headers={"Authorization": f"Bearer {engine['api_key']}"}).text
    counts = [line for line in text.splitlines() if line.startswith("llamacpp:requests_processing")]
    return int(float(counts[0].split()[-1]))


def stops_after_ms(hub: Hub, started_s: float) -> float:
    assert wait_for(lambda: running(hub) == 0, timeout_s=5, every_s=0.02)
    return (time.monotonic() - started_s) * 1000


def test_closing_a_stream_early(hub: Hub, client: openai.OpenAI) -> None:
    reply = client.chat.completions.with_raw_response.create(**LONG, stream=True)
    stream = reply.parse()
    received = 0
    for event in stream:
        received += bool(event.choices and event.choices[0].delta.content)
        if received == 12:
            break
    closed_s = time.monotonic()
    stream.close()
    assert stops_after_ms(hub, closed_s) < STOP_MS_MAX
    event = hub.event(reply.headers["x-request-id"])
    assert event["finish"] == "cancelled"
    assert received <= event["output_tokens"] < 120
    assert event["input_tokens"] + event["cache_read_tokens"] > 10
    assert event["amount_nano"] > 0


async def test_cancelling_the_task(hub: Hub, aclient: openai.AsyncOpenAI) -> None:
    request_id = ""
    received = 0

    async def read() -> None:
        nonlocal request_id, received
        reply = await aclient.chat.completions.with_raw_response.create(**LONG, stream=True)
        request_id = reply.headers["x-request-id"]
        async for event in reply.parse():
            received += bool(event.choices and event.choices[0].delta.content)

    task = asyncio.create_task(read())
    async with asyncio.timeout(30):
        while received < 5 and not task.done():
            await asyncio.sleep(0.01)
    task.cancel()
    cancelled_s = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stops_after_ms(hub, cancelled_s) < STOP_MS_MAX
    event = hub.event(request_id)
    assert received <= event["output_tokens"] < 120


def test_leaving_before_a_whole_answer(hub: Hub, wire: httpx.Client) -> None:
    """Nothing was delivered: the output that the engine made meanwhile is created, undelivered and not billed."""
    before = {row["request_id"] for row in hub.rows("ledger", "SELECT request_id FROM usage_event")}
    body = {"model": TINY, "messages": STORY, "max_tokens": 600, "ignore_eos": True}
    with pytest.raises(httpx.ReadTimeout):
        wire.post("/v1/chat/completions", json=body, timeout=0.7)
    left_s = time.monotonic()
    assert stops_after_ms(hub, left_s) < STOP_MS_MAX

    def booked() -> list[dict[str, Any]]:
        rows = hub.rows("ledger", "SELECT * FROM usage_event WHERE finish = 'cancelled' AND stream = 0")
        return [row for row in rows if row["request_id"] not in before]

    assert wait_for(lambda: bool(booked()), timeout_s=5)
    assert booked()[0]["output_tokens"] == 0
    assert booked()[0]["undelivered_tokens"] == booked()[0]["created_tokens"]


def test_the_context_manager_of_the_stream_helper(hub: Hub, client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**LONG) as events:
        for count, _ in enumerate(events):
            if count > 10:
                break
    left_s = time.monotonic()
    assert stops_after_ms(hub, left_s) < STOP_MS_MAX


def test_the_books_verify_afterwards(hub: Hub) -> None:
    assert hub.command("ledger.verify")["whole"] is True
