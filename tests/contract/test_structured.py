"""Structured output: the answer is JSON of the schema, parsed by the client's own helper."""

import json
from enum import StrEnum
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.acceptance.hub import TINY
from tests.contract.schema import check_chat, check_stream, sse_events


class Mood(StrEnum):
    good = "good"
    bad = "bad"


class Review(BaseModel):
    mood: Mood
    stars: int
    recommended: bool


ASK: list[Any] = [
    {"role": "user", "content": "The food was great. Review it: mood, stars (1 to 5), recommended."}
]


def test_parse_helper(client: openai.OpenAI) -> None:
    done = client.chat.completions.parse(
        model=TINY, messages=ASK, response_format=Review, max_tokens=80, temperature=0
    )
    message = done.choices[0].message
    assert message.refusal is None
    assert isinstance(message.parsed, Review)


async def test_parse_helper_async(aclient: openai.AsyncOpenAI) -> None:
    done = await aclient.chat.completions.parse(
        model=TINY, messages=ASK, response_format=Review, max_tokens=80, temperature=0
    )
    assert isinstance(done.choices[0].message.parsed, Review)


def test_json_schema_streamed(wire: httpx.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "ok": {"type": "boolean"}},
        "required": ["colour", "ok"],
        "additionalProperties": False,
    }
    body = {
        "model": TINY,
        "messages": ASK,
        "max_tokens": 60,
        "stream": True,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "thing", "strict": True, "schema": schema},
        },
    }
    answer = wire.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    events = sse_events(answer.text)
    check_stream(events, usage=False)
    value = json.loads("".join(event["choices"][0]["delta"].get("content") or "" for event in events))
    assert set(value) == {"colour", "ok"}
    assert value["colour"] in {"red", "blue"}


def test_json_object(wire: httpx.Client) -> None:
    body = {
        "model": TINY,
        "messages": [{"role": "user", "content": 'Answer with the JSON object {"a": 1} and nothing else.'}],
        "max_tokens": 120,
        "temperature": 0,
        "response_format": {"type": "json_object"},
    }
    raw = wire.post("/v1/chat/completions", json=body).json()
    check_chat(raw)
    if raw["choices"][0]["finish_reason"] == "stop":
        assert isinstance(json.loads(raw["choices"][0]["message"]["content"]), dict)


@pytest.mark.parametrize(
    "fault",
    [
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"schema": {}}},
        {"type": "yaml"},
        "json",
    ],
)
def test_a_format_that_is_none_is_refused(wire: httpx.Client, fault: Any) -> None:
    body = {"model": TINY, "messages": ASK, "max_tokens": 5, "response_format": fault}
    answer = wire.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400, answer.text
    assert str(answer.json()["error"]["param"]).startswith("response_format")
