"""Tools for models whose own tool format cannot be relied on: an instruction, and a grammar that enforces it.

The model is told, in the system message, which functions there are and that it answers with one JSON object:
`{"content": "..."}` to talk or `{"tool_calls": [{"name": ..., "arguments": {...}}]}` to call. The same shapes are a
JSON Schema that the engine decodes under, so names and arguments are always valid. Calls and results of earlier
turns are written into the conversation in the same words.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from tokenhub.kernel.errors import InvalidRequest

Json = dict[str, Any]
CALLS_MAX = 8
"""Most parallel calls of one answer; bounds what a confused model can write."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One function that the model may call."""

    name: str
    description: str
    parameters: Json


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """What is offered in one request."""

    tools: tuple[Tool, ...]
    choice: Literal["auto", "required"]
    """`required` with one tool is a named choice."""
    parallel: bool

    def schema(self, content: Json | None) -> Json:
        """What the answer must match. `content`: schema of the text branch if it is JSON, None for plain text."""
        definitions = {
            f"t{number}": _rebase(tool.parameters, number) for number, tool in enumerate(self.tools)
        }
        items: list[Json] = [
            _object({"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/t{number}"}})
            for number, tool in enumerate(self.tools)
        ]
        calls = _object(
            {
                "tool_calls": {
                    "type": "array",
                    "items": items[0] if len(items) == 1 else {"anyOf": items},
                    "minItems": 1,
                    "maxItems": CALLS_MAX if self.parallel else 1,
                }
            }
        )
        if self.choice == "required":
            return {**calls, "$defs": definitions}
        if content is not None:
            definitions["content"] = _rebase_at(content, "content")
        talk = _object({"content": {"type": "string"} if content is None else {"$ref": "#/$defs/content"}})
        return {"anyOf": [talk, calls], "$defs": definitions}

    def instruction(self) -> str:
        """What the model is told."""
        lines = "\n".join(
            json.dumps(
                {"name": t.name, "description": t.description, "parameters": t.parameters}, ensure_ascii=False
            )
            for t in self.tools
        )
        call = '{"tool_calls": [{"name": "<function name>", "arguments": {<arguments>}}]}'
        several = (
            "You may call several functions at once. " if self.parallel else "Call one function at a time. "
        )
        if self.choice == "required":
            how = f"Answer with a function call, as one JSON object:\n{call}\n{several}"
        else:
            how = (
                "Answer with one JSON object. If a function helps with the user's latest request and you do not have "
                f'its result yet, call it:\n{call}\n{several}Otherwise answer in words:\n{{"content": "<your answer>"}}\n'
                "When a <tool_response> holds what you need, answer in words with it."
            )
        return f"# Functions\nYou can call these functions:\n<tools>\n{lines}\n</tools>\n{how.strip()}"


def plan_tools(tools: Any, tool_choice: Any, parallel: Any) -> ToolPlan | None:
    """The plan for a request's `tools`, `tool_choice`, `parallel_tool_calls`; None if no tool may be called.

    Raises: InvalidRequest.
    """
    if not tools or tool_choice == "none":
        return None
    offered = [_tool(number, tool) for number, tool in enumerate(cast(list[Json], tools))]
    names = [tool.name for tool in offered]
    if len(set(names)) < len(names):
        raise InvalidRequest("Two tools have the same name.", code="invalid_value", param="tools")
    is_parallel = parallel is not False
    match tool_choice:
        case None | "auto":
            return ToolPlan(tuple(offered), "auto", is_parallel)
        case "required":
            return ToolPlan(tuple(offered), "required", is_parallel)
        case {"type": "function", "function": {"name": name}}:
            wanted = tuple(tool for tool in offered if tool.name == name)
            if not wanted:
                raise InvalidRequest(
                    f"Tool choice 'function:{name}' is not among `tools`.",
                    code="invalid_value",
                    param="tool_choice",
                )
            return ToolPlan(wanted, "required", False)
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}:
            return _allowed(offered, str(mode), cast(list[Json], allowed), is_parallel)
        case _:
            raise InvalidRequest(
                "`tool_choice` must be none, auto, required, or name a function.",
                code="invalid_value",
                param="tool_choice",
            )


def render_messages(messages: Sequence[Json], plan: ToolPlan | None) -> list[Json]:
    """The conversation with tool calls, tool results and developer messages in words every template knows."""
    names = {
        call["id"]: str(cast(Json, call.get("function") or {}).get("name", ""))
        for message in messages
        for call in cast(list[Json], message.get("tool_calls") or [])
    }
    rendered: list[Json] = []
    for message in messages:
        match message.get("role"):
            case "developer":
                rendered.append({**message, "role": "system"})
            case "assistant":
                rendered.append(_assistant(message, wrap=plan is not None))
            case "tool" | "function":
                name = names.get(str(message.get("tool_call_id"))) or str(message.get("name") or "")
                _add_result(rendered, name, text_of(message.get("content")))
            case _:
                rendered.append(message)
    if messages and messages[-1].get("role") in ("tool", "function"):
        _add_reminder(rendered, plan)
    if plan is not None:
        _add_instruction(rendered, plan.instruction())
    return rendered


def text_of(content: Any) -> str:
    """A message's content as text."""
    if isinstance(content, str):
        return content
    parts = cast(list[Json], content) if isinstance(content, list) else []
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _tool(number: int, tool: Json) -> Tool:
    if tool.get("type") != "function":
        raise InvalidRequest(
            "This model takes tools of type `function` only.",
            code="unsupported_value",
            param=f"tools[{number}].type",
        )
    function = cast(Json, tool["function"])
    parameters = cast(Json, function.get("parameters") or {"type": "object", "properties": {}})
    if parameters.get("type", "object") != "object":
        raise InvalidRequest(
            "A function's parameters must be a JSON Schema of type object.",
            code="invalid_function_parameters",
            param=f"tools[{number}].function.parameters",
        )
    return Tool(
        str(function["name"]), str(function.get("description") or ""), {"type": "object", **parameters}
    )


def _allowed(offered: list[Tool], mode: str, allowed: list[Json], parallel: bool) -> ToolPlan:
    wanted = {cast(Json, tool.get("function") or tool).get("name") for tool in allowed}
    chosen = tuple(tool for tool in offered if tool.name in wanted)
    if not chosen or mode not in ("auto", "required"):
        raise InvalidRequest(
            "`allowed_tools` names none of `tools`.", code="invalid_value", param="tool_choice"
        )
    return ToolPlan(chosen, "required" if mode == "required" else "auto", parallel)


def _assistant(message: Json, *, wrap: bool) -> Json:
    text = text_of(message.get("content"))
    calls = cast(list[Json], message.get("tool_calls") or [])
    if not calls:
        return {
            "role": "assistant",
            "content": json.dumps({"content": text}, ensure_ascii=False) if wrap else text,
        }
    written = [
        {"name": function["name"], "arguments": _arguments(function["arguments"])}
        for function in (cast(Json, call["function"]) for call in calls if call.get("type") == "function")
    ]
    if wrap:
        return {"role": "assistant", "content": json.dumps({"tool_calls": written}, ensure_ascii=False)}
    # Without tools the model must not learn to write calls as text: they are told as a story.
    told = "; ".join(
        f"{call['name']} with {json.dumps(call['arguments'], ensure_ascii=False)}" for call in written
    )
    return {"role": "assistant", "content": f"{text}\n[I used {told}.]".strip()}


def _arguments(raw: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw


def _add_result(rendered: list[Json], name: str, text: str) -> None:
    """Results of one turn are one user message, as the templates that know tools write them."""
    label = f' name="{name}"' if name else ""
    block = f"<tool_response{label}>\n{text}\n</tool_response>"
    last = rendered[-1] if rendered else None
    if (
        last is not None
        and last.get("role") == "user"
        and str(last.get("content")).endswith("</tool_response>")
    ):
        rendered[-1] = {"role": "user", "content": f"{last['content']}\n{block}"}
    else:
        rendered.append({"role": "user", "content": block})


def _add_reminder(rendered: list[Json], plan: ToolPlan | None) -> None:
    """Small models call the same function again unless the result says what it is for."""
    how = "" if plan is None else ' as {"content": "<your answer>"}'
    if plan is not None and plan.choice == "required":
        return
    reminder = f"Now answer my question in words with this result{how}."
    rendered[-1] = {"role": "user", "content": f"{rendered[-1]['content']}\n{reminder}"}


def _add_instruction(rendered: list[Json], instruction: str) -> None:
    if rendered and rendered[0].get("role") == "system":
        text = text_of(rendered[0].get("content"))
        rendered[0] = {"role": "system", "content": f"{text}\n\n{instruction}"}
    else:
        rendered.insert(0, {"role": "system", "content": f"You are a helpful assistant.\n\n{instruction}"})


def _object(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _rebase(schema: Json, number: int) -> Json:
    return _rebase_at(schema, f"t{number}")


def _rebase_at(schema: Any, place: str) -> Any:
    """The same schema with its local references pointing to where it now lies, below `#/$defs/<place>`."""
    if isinstance(schema, list):
        return [_rebase_at(item, place) for item in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    moved: Json = {}
    for key, value in cast(Json, schema).items():
        if key == "$ref" and isinstance(value, str) and value.startswith("#"):
            moved[key] = f"#/$defs/{place}{value[1:]}"
        else:
            moved[key] = _rebase_at(value, place)
    return moved
