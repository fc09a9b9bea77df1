"""Tool calls that work on a small model: forced ones conform to the schema, free ones are at least well formed."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.acceptance.hub import TINY, Hub
from tests.contract.schema import check_chat, check_stream, sse_events

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Paris", "Berlin", "Tokyo"]},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Time of a zone.",
        "parameters": {
            "type": "object",
            "properties": {"zone": {"type": "string", "enum": ["UTC", "CET"]}},
            "required": ["zone"],
            "additionalProperties": False,
        },
    },
}
ASK: list[Any] = [{"role": "user", "content": "What is the weather in Paris, in celsius?"}]


def ask(wire: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"model": TINY, "messages": ASK, "tools": [WEATHER], "max_tokens": 120, "temperature": 0, **fields}
    answer = wire.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def check_call(call: dict[str, Any], names: set[str]) -> dict[str, Any]:
    assert call["type"] == "function"
    assert call["id"].startswith("call_") and len(call["id"]) > 8
    assert call["function"]["name"] in names
    arguments = json.loads(call["function"]["arguments"])
    if call["function"]["name"] == "get_weather":
        assert set(arguments) == {"city", "unit"}
        assert arguments["city"] in {"Paris", "Berlin", "Tokyo"}
    else:
        assert arguments["zone"] in {"UTC", "CET"}
    return arguments


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_forced_call_conforms(wire: httpx.Client, choice: Any) -> None:
    raw = ask(wire, tool_choice=choice, parallel_tool_calls=False)
    check_chat(raw)
    message = raw["choices"][0]["message"]
    assert raw["choices"][0]["finish_reason"] == "tool_calls"
    assert message["content"] is None
    for call in message["tool_calls"]:
        check_call(call, {"get_weather"})


def test_a_named_tool_among_several(wire: httpx.Client) -> None:
    raw = ask(
        wire, tools=[WEATHER, CLOCK], tool_choice={"type": "function", "function": {"name": "get_time"}}
    )
    check_chat(raw)
    assert {call["function"]["name"] for call in raw["choices"][0]["message"]["tool_calls"]} == {"get_time"}


def test_required_among_several_and_one_at_a_time(wire: httpx.Client) -> None:
    raw = ask(wire, tools=[WEATHER, CLOCK], tool_choice="required", parallel_tool_calls=False)
    check_chat(raw)
    calls = raw["choices"][0]["message"]["tool_calls"]
    assert len(calls) == 1
    check_call(calls[0], {"get_weather", "get_time"})


def test_parallel_calls_are_well_formed(wire: httpx.Client) -> None:
    """A small model may go on until `max_tokens`: then the reason is `length` and only the last call may be cut."""
    raw = ask(wire, tools=[WEATHER, CLOCK], tool_choice="required", max_tokens=200)
    made = check_chat(raw)
    calls = raw["choices"][0]["message"]["tool_calls"]
    assert made.choices[0].finish_reason in {"tool_calls", "length"}
    for call in calls if made.choices[0].finish_reason == "tool_calls" else calls[:-1]:
        check_call(call, {"get_weather", "get_time"})
    assert len({call["id"] for call in calls}) == len(calls)


def test_auto_is_well_formed_either_way(wire: httpx.Client) -> None:
    raw = ask(wire, tool_choice="auto")
    check_chat(raw)
    message = raw["choices"][0]["message"]
    for call in message.get("tool_calls") or [] if raw["choices"][0]["finish_reason"] == "tool_calls" else []:
        check_call(call, {"get_weather"})
    assert message.get("tool_calls") or isinstance(message["content"], str)


def test_none_never_calls(wire: httpx.Client) -> None:
    raw = ask(wire, tool_choice="none", max_tokens=24)
    check_chat(raw)
    assert "tool_calls" not in raw["choices"][0]["message"]


def test_a_result_turn_is_answered(wire: httpx.Client) -> None:
    call = ask(wire, tool_choice="required", parallel_tool_calls=False)["choices"][0]["message"]
    messages = [
        *ASK,
        {"role": "assistant", "content": call["content"], "tool_calls": call["tool_calls"]},
        {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": '{"degrees": 21}'},
    ]
    raw = ask(wire, messages=messages, tool_choice="none", max_tokens=24)
    check_chat(raw)
    assert raw["choices"][0]["message"]["content"]


def test_streamed_arguments(wire: httpx.Client) -> None:
    body = {
        "model": TINY,
        "messages": ASK,
        "tools": [WEATHER],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 120,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = wire.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    events = sse_events(answer.text)
    check_stream(events, usage=True)
    pieces = [
        piece
        for event in events
        for choice in event["choices"]
        for piece in choice["delta"].get("tool_calls") or []
    ]
    assert all(piece["index"] == 0 for piece in pieces)
    assert pieces[0]["id"].startswith("call_")
    assert pieces[0]["function"]["name"] == "get_weather"
    assert all("id" not in piece and "name" not in piece.get("function", {}) for piece in pieces[1:])
    joined = "".join(piece["function"].get("arguments", "") for piece in pieces)
    assert set(json.loads(joined)) == {"city", "unit"}
    finished = [
        choice["finish_reason"] for event in events for choice in event["choices"] if choice["finish_reason"]
    ]
    assert finished == ["tool_calls"]


def test_stream_helper_accumulates_the_call(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=TINY,
        messages=ASK,
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=120,
        temperature=0,
    ) as events:
        done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
        final = events.get_final_completion()
    assert done
    assert final.choices[0].message.tool_calls
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments)["city"]


def test_tokens_of_a_forced_call_are_booked(hub: Hub, wire: httpx.Client) -> None:
    body = {
        "model": TINY,
        "messages": ASK,
        "tools": [WEATHER],
        "tool_choice": "required",
        "max_tokens": 120,
        "parallel_tool_calls": False,
    }
    answer = wire.post("/v1/chat/completions", json=body)
    event = hub.event(answer.headers["x-request-id"])
    usage = answer.json()["usage"]
    assert event["output_tokens"] == usage["completion_tokens"] > 5
    assert event["finish"] == "tool_calls"
