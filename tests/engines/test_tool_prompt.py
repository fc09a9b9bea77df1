"""Tools as an instruction and a schema; history in words every template knows."""

import json
from typing import Any

import pytest

from tokenhub.adapters.engines.tool_prompt import plan_tools, render_messages
from tokenhub.kernel.errors import InvalidRequest

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TREE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "tree",
        "parameters": {
            "type": "object",
            "properties": {"root": {"$ref": "#/$defs/node"}},
            "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        },
    },
}


def test_no_plan_where_no_tool_may_be_called() -> None:
    assert plan_tools(None, None, None) is None
    assert plan_tools([], "auto", None) is None
    assert plan_tools([WEATHER], "none", None) is None


def test_auto_may_talk_or_call() -> None:
    plan = plan_tools([WEATHER, TREE], None, None)
    assert plan is not None
    talk, call = plan.schema(None)["anyOf"]
    assert talk["properties"]["content"] == {"type": "string"}
    assert call["properties"]["tool_calls"]["maxItems"] > 1
    assert [
        item["properties"]["name"]["const"] for item in call["properties"]["tool_calls"]["items"]["anyOf"]
    ] == [
        "get_weather",
        "tree",
    ]


def test_required_and_named_cannot_talk() -> None:
    required = plan_tools([WEATHER, TREE], "required", False)
    assert required is not None and "anyOf" not in required.schema(None)
    assert required.schema(None)["properties"]["tool_calls"]["maxItems"] == 1
    named = plan_tools([WEATHER, TREE], {"type": "function", "function": {"name": "tree"}}, None)
    assert named is not None and [tool.name for tool in named.tools] == ["tree"] and not named.parallel
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [WEATHER]}}
    some = plan_tools([WEATHER, TREE], allowed, None)
    assert (
        some is not None
        and [tool.name for tool in some.tools] == ["get_weather"]
        and some.choice == "required"
    )


def test_references_follow_the_schema() -> None:
    plan = plan_tools([WEATHER, TREE], "required", None)
    assert plan is not None
    moved = plan.schema(None)["$defs"]["t1"]
    assert moved["properties"]["root"]["$ref"] == "#/$defs/t1/$defs/node"
    assert moved["$defs"]["node"]["properties"]["next"]["$ref"] == "#/$defs/t1/$defs/node"


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ([WEATHER, WEATHER], None, "tools"),
        ([{"type": "custom", "custom": {"name": "x"}}], None, "tools[0].type"),
        ([WEATHER], {"type": "function", "function": {"name": "nope"}}, "tool_choice"),
        ([WEATHER], {"type": "custom"}, "tool_choice"),
        (
            [{"type": "function", "function": {"name": "x", "parameters": {"type": "array"}}}],
            None,
            "tools[0].function.parameters",
        ),
    ],
)
def test_refused(tools: Any, choice: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan_tools(tools, choice, None)
    assert caught.value.param == param


HISTORY: list[dict[str, Any]] = [
    {"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
    {"role": "user", "content": "Weather in Paris and Rome?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
            },
            {
                "id": "b",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
            },
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": "21"},
    {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "25"}]},
]


def test_history_with_tools() -> None:
    plan = plan_tools([WEATHER], None, None)
    system, user, call, results = render_messages(HISTORY, plan)
    assert system["role"] == "system"
    assert system["content"].startswith("Be short.") and "get_weather" in system["content"]
    assert user == HISTORY[1]
    assert [made["arguments"]["city"] for made in json.loads(call["content"])["tool_calls"]] == [
        "Paris",
        "Rome",
    ]
    assert results["role"] == "user" and results["content"].count('<tool_response name="get_weather">') == 2
    assert '{"content": "<your answer>"}' in results["content"]


def test_history_without_tools_shows_no_call_syntax() -> None:
    rendered = render_messages(HISTORY, None)
    assert "tool_calls" not in json.dumps(rendered)
    assert [message["role"] for message in rendered] == ["system", "user", "assistant", "user"]


def test_text_of_the_assistant_is_wrapped_as_it_would_write_it() -> None:
    plan = plan_tools([WEATHER], None, None)
    rendered = render_messages(
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": 'Say "x"'}], plan
    )
    assert json.loads(rendered[-1]["content"]) == {"content": 'Say "x"'}
