"""Streamed chat completions: order, stability and usage of the events, through the client and raw."""

from typing import Any

import httpx
import openai

from tests.acceptance.hub import TINY, Hub
from tests.contract.schema import check_stream, sse_events

COUNT: list[Any] = [{"role": "user", "content": "Count from one to twenty."}]


def stream(wire: httpx.Client, **fields: Any) -> list[dict[str, Any]]:
    body = {"model": TINY, "messages": COUNT, "max_tokens": 12, "temperature": 0, "stream": True, **fields}
    answer = wire.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return sse_events(answer.text)


def test_sync_client(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model=TINY, messages=COUNT, max_tokens=12, stream=True) as events:
        text = "".join(event.choices[0].delta.content or "" for event in events)
    assert text


async def test_async_client(aclient: openai.AsyncOpenAI) -> None:
    events = await aclient.chat.completions.create(model=TINY, messages=COUNT, max_tokens=12, stream=True)
    text = "".join([event.choices[0].delta.content or "" async for event in events])
    assert text


def test_stream_helper_assembles_the_same_text(client: openai.OpenAI) -> None:
    hello: Any = [{"role": "user", "content": "Say hi."}]
    with client.chat.completions.stream(model=TINY, messages=hello, max_tokens=300, temperature=0) as events:
        pieces = [event.delta for event in events if event.type == "content.delta"]
        final = events.get_final_completion()
    assert "".join(pieces) == final.choices[0].message.content


def test_events_without_usage(wire: httpx.Client) -> None:
    check_stream(stream(wire), usage=False)
    check_stream(stream(wire, stream_options={"include_usage": False}), usage=False)


def test_events_with_usage(wire: httpx.Client) -> None:
    events = stream(wire, stream_options={"include_usage": True})
    check_stream(events, usage=True)
    assert events[-1]["usage"]["completion_tokens"] <= 12


def test_same_text_streamed_or_not(wire: httpx.Client) -> None:
    body = {"model": TINY, "messages": COUNT, "max_tokens": 20, "temperature": 0}
    whole = wire.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    pieces = [event["choices"][0]["delta"].get("content") or "" for event in stream(wire, max_tokens=20)]
    assert "".join(pieces) == whole


def test_two_choices(wire: httpx.Client) -> None:
    events = stream(wire, n=2, temperature=1, max_tokens=6, stream_options={"include_usage": True})
    check_stream(events, usage=True, choices=2)


def test_logprobs(wire: httpx.Client) -> None:
    events = stream(wire, logprobs=True, top_logprobs=2, max_tokens=4)
    check_stream(events, usage=False)
    with_logprobs = [event for event in events if (event["choices"][0].get("logprobs") or {}).get("content")]
    assert len(with_logprobs) >= 3


def test_length_is_the_finish_reason(wire: httpx.Client) -> None:
    assert stream(wire, max_tokens=3)[-1]["choices"][0]["finish_reason"] == "length"


def test_usage_equals_the_ledger_asked_for_or_not(hub: Hub, wire: httpx.Client) -> None:
    body = {"model": TINY, "messages": COUNT, "max_tokens": 10, "stream": True}
    asked = wire.post("/v1/chat/completions", json={**body, "stream_options": {"include_usage": True}})
    usage = sse_events(asked.text)[-1]["usage"]
    silent = wire.post("/v1/chat/completions", json=body)
    for answer in (asked, silent):
        event = hub.event(answer.headers["x-request-id"])
        assert event["input_tokens"] + event["cache_read_tokens"] == usage["prompt_tokens"]
        assert event["stream"] == 1
        assert event["created_tokens"] == event["output_tokens"] + event["undelivered_tokens"]
    booked = hub.event(asked.headers["x-request-id"])
    assert booked["output_tokens"] == usage["completion_tokens"]


def test_multibyte_characters_are_never_cut(wire: httpx.Client) -> None:
    messages = [{"role": "user", "content": "Repeat: 世界和平 🙂🙂🙂 Grüße"}]
    for event in stream(wire, messages=messages, max_tokens=40)[:-1]:
        for choice in event["choices"]:
            assert "\ufffd" not in (choice["delta"].get("content") or "")
