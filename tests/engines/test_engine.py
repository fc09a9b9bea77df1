"""The real engine with SmolLM2 behind the adapter: schema, tools, constrained JSON, counts, cancel."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from openai.types.chat import ChatCompletion
from openai.types.completion import Completion

from tests.engines.conftest import Way, until
from tokenhub.adapters.engines.llama_cpp_counter import LlamaCppPromptCounter
from tokenhub.kernel.errors import ContextLengthExceeded, InvalidRequest

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]
HI = [{"role": "user", "content": "Say hi."}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ADD: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two integers",
        "parameters": {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}},
            "required": ["a", "b"],
            "$defs": {"n": {"type": "integer"}},
        },
    },
}


async def counters(way: Way) -> tuple[int, int]:
    found = await way.engine.counts()
    assert found is not None
    return found.prompt_tokens, found.output_tokens


async def test_an_answer_is_valid_and_counted_by_the_engine(way: Way) -> None:
    before = await counters(way)
    body = await way.ask({"messages": HI, "max_tokens": 5, "temperature": 0})
    after = await counters(way)
    answer = ChatCompletion.model_validate(body, strict=False)
    assert answer.model == "public" and answer.usage is not None
    assert answer.choices[0].finish_reason == "length"
    assert after[1] - before[1] == answer.usage.completion_tokens == 5


async def test_two_choices_are_all_counted(way: Way) -> None:
    before = await counters(way)
    body = await way.ask({"messages": HI, "max_tokens": 4, "n": 2, "logprobs": True, "top_logprobs": 2})
    after = await counters(way)
    assert len(body["choices"]) == 2
    assert body["usage"]["completion_tokens"] == after[1] - before[1]
    assert len(body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2


async def test_completions(way: Way) -> None:
    body = await way.ask(
        {"prompt": ["One two", "Red green"], "max_tokens": 3, "logprobs": 1, "temperature": 0}, "completions"
    )
    Completion.model_validate(body)
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    echoed = await way.ask({"prompt": "One two", "max_tokens": 2, "echo": True}, "completions")
    assert echoed["choices"][0]["text"].startswith("One two")


async def test_a_json_schema_is_enforced(way: Way) -> None:
    schema = {
        "type": "object",
        "properties": {
            "color": {"enum": ["red", "blue"]},
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["color", "size"],
        "additionalProperties": False,
    }
    spec = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    body = await way.ask({"messages": HI, "response_format": spec, "max_tokens": 60, "temperature": 1})
    found = json.loads(body["choices"][0]["message"]["content"])
    assert found["color"] in ("red", "blue") and 1 <= found["size"] <= 9


@pytest.mark.parametrize(
    ("tools", "choice", "name"),
    [
        ([WEATHER, ADD], "required", None),
        ([WEATHER, ADD], {"type": "function", "function": {"name": "add"}}, "add"),
        ([WEATHER], "required", "get_weather"),
    ],
)
async def test_tool_choice_is_enforced(way: Way, tools: list[Any], choice: Any, name: str | None) -> None:
    body = await way.ask(
        {
            "messages": [{"role": "user", "content": "What is the weather in Paris? And 3 plus 4?"}],
            "tools": tools,
            "tool_choice": choice,
            "parallel_tool_calls": False,
            "max_tokens": 100,
            "temperature": 0,
        }
    )
    ChatCompletion.model_validate(body)
    choice_made = body["choices"][0]
    assert choice_made["finish_reason"] == "tool_calls" and choice_made["message"]["content"] is None
    (call,) = choice_made["message"]["tool_calls"]
    arguments = json.loads(call["function"]["arguments"])
    if call["function"]["name"] == "add":
        assert isinstance(arguments["a"], int) and isinstance(arguments["b"], int)
    else:
        assert isinstance(arguments["city"], str)
    assert name in (None, call["function"]["name"])


async def test_auto_talks_or_calls_but_nothing_else(way: Way) -> None:
    for text in ("Hello!", "What is the weather in Paris?"):
        body = await way.ask(
            {
                "messages": [{"role": "user", "content": text}],
                "tools": [WEATHER],
                "parallel_tool_calls": False,
                "max_tokens": 80,
                "temperature": 0,
            }
        )
        message = body["choices"][0]["message"]
        assert bool(message.get("tool_calls")) != bool(message["content"])
        assert "tool_calls" not in (message["content"] or "")


@pytest.mark.parametrize(
    ("body", "error", "param"),
    [
        ({"messages": HI, "n": 99}, InvalidRequest, "n"),
        ({"messages": [{"role": "user", "content": "w " * 3000}]}, ContextLengthExceeded, "messages"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
                ]
            },
            InvalidRequest,
            "messages",
        ),
        (
            {
                "messages": HI,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"$ref": "http://example.com/x"}},
                },
            },
            InvalidRequest,
            "response_format",
        ),
        (
            {
                "messages": HI,
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "x",
                            "parameters": {"type": "object", "properties": {"a": {"type": "z"}}},
                        },
                    }
                ],
            },
            InvalidRequest,
            "tools",
        ),
        ({"messages": HI, "guided_regex": "a+"}, InvalidRequest, "guided_regex"),
    ],
)
async def test_refusals_name_the_field(
    way: Way, body: dict[str, Any], error: type[Exception], param: str
) -> None:
    with pytest.raises(error) as caught:
        await way.ask({"max_tokens": 3, **body})
    assert getattr(caught.value, "param", None) == param


async def test_a_last_message_of_the_assistant_is_history(way: Way) -> None:
    messages = [*HI, {"role": "assistant", "content": "Hello friend"}]
    url = way.engine.base_url.removesuffix("/v1") + "/apply-template"
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(url, json={"messages": messages}, headers=way.headers)
    assert answer.json()["prompt"].endswith("Hello friend<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat.completions", {"messages": HI}),
        ("chat.completions", {"messages": HI, "tools": [WEATHER], "tool_choice": "required"}),
        ("completions", {"prompt": "One two three"}),
        ("completions", {"prompt": ["One two three", "Four"]}),
    ],
)
async def test_prompts_are_counted_exactly(way: Way, endpoint: Any, body: dict[str, Any]) -> None:
    request, _ = way.prepare({**body, "max_tokens": 2}, endpoint)
    counted = await LlamaCppPromptCounter().count(way.deployment, request)
    answer = await way.ask({**body, "max_tokens": 2}, endpoint)
    assert counted == answer["usage"]["prompt_tokens"]


@pytest.mark.parametrize(("words", "after_s"), [(3, 0.6), (1500, 0.3)])
async def test_a_client_that_goes_away_stops_the_engine(way: Way, words: int, after_s: float) -> None:
    """In mid-answer and in mid-prompt. The bar (500 ms) is for a machine of its own; tests share theirs."""
    text = "Tell a very long story. " + "word " * words
    _, prepared = way.prepare({"messages": [{"role": "user", "content": text}], "ignore_eos": True})
    async with httpx.AsyncClient(timeout=60) as client:
        request = client.build_request(
            "POST", way.url("chat.completions"), content=prepared.body, headers=way.headers
        )
        response = await client.send(request, stream=True)
        await asyncio.sleep(after_s)
        assert await way.busy()
        await response.aclose()
        assert await until(lambda: _idle(way), timeout_s=3.0) < 3.0


async def _idle(way: Way) -> bool:
    return not await way.busy()
