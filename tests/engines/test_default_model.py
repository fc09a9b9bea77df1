"""Tools on the default model: it calls the right function with the right arguments, and answers with its result."""

import json
from typing import Any

import pytest

from tests.engines.conftest import Way, model_file, spec
from tests.engines.test_engine import ADD, WEATHER
from tokenhub.adapters.engines.llama_cpp_process import LlamaCppLauncher

pytestmark = [pytest.mark.engine, pytest.mark.slow]


async def test_tools_on_the_default_model(tmp_path: Any) -> None:
    path = model_file("qwen2.5-coder-0.5b-instruct")
    engine = await LlamaCppLauncher(tmp_path).start(spec(path, threads=2))
    way = Way(engine)
    question = {"role": "user", "content": "What is the weather in Paris and in Rome?"}
    try:
        body = {"tools": [WEATHER, ADD], "temperature": 0, "max_tokens": 100}
        choice = (await way.ask({**body, "messages": [question], "tool_choice": "required"}))["choices"][0]
        calls = choice["message"]["tool_calls"]
        assert choice["finish_reason"] == "tool_calls"
        assert [call["function"]["name"] for call in calls] == ["get_weather", "get_weather"]
        assert [json.loads(call["function"]["arguments"])["city"] for call in calls] == ["Paris", "Rome"]
        results = [
            {
                "role": "tool",
                "tool_call_id": call["id"],
                "content": '{"celsius": 21}' if not number else '{"celsius": 25}',
            }
            for number, call in enumerate(calls)
        ]
        answer = (await way.ask({**body, "messages": [question, choice["message"], *results]}))["choices"][0]
        assert answer["finish_reason"] == "stop" and not answer["message"].get("tool_calls")
        assert "21" in answer["message"]["content"] and "25" in answer["message"]["content"]
        one = {"role": "user", "content": "What is the weather in Paris?"}
        (call,) = (await way.ask({**body, "messages": [one]}))["choices"][0]["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"])["city"] == "Paris"
        hello = (await way.ask({**body, "messages": [{"role": "user", "content": "Hello!"}]}))["choices"][0]
        assert hello["message"]["content"] and not hello["message"].get("tool_calls")
    finally:
        await engine.stop()
