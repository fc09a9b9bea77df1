"""How the next action is asked for, and read from what the model said. A run names its mind.

`tools` is for models that call tools: three tools over the whole catalogue and a few commands as tools of their own,
never every schema. `exact` (`exact.py`) asks for one whole command under a schema, for models that are too small for that.
A mind is three pure functions of the run and its journal; the loop knows none of them by name.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from tokenhub.agents.exact import ExactMind
from tokenhub.agents.types import Action, Run, Step
from tokenhub.commands.describe import inlined
from tokenhub.commands.registry import Registry

Json = dict[str, Any]
ACTIONS_MAX = 8
"""Commands of one reply; more are refused."""


class MindOf(Protocol):
    """What the loop needs of a mind."""

    def body(self, registry: Registry, run: Run, messages: Sequence[Json], *, people: Sequence[str]) -> Json:
        """The request to the model, without `model` and `max_tokens`. people: whom the request names."""
        ...

    def messages(self, step: Step, answers: Sequence[Step]) -> list[Json]:
        """A reply and what became of its actions, as the model is told them."""
        ...

    def actions(self, registry: Registry, message: Mapping[str, Any]) -> list[Action]:
        """What the model wants to run; none = its text is the answer."""
        ...


@dataclass(frozen=True, slots=True)
class ToolMind:
    """Tool calls as OpenAI has them."""

    def body(self, registry: Registry, run: Run, messages: Sequence[Json], *, people: Sequence[str]) -> Json:
        """search, describe, call, and the pinned commands."""
        pinned = [
            _tool(
                tool_name(name),
                registry.get(name).summary,
                inlined(registry.get(name).arguments.model_json_schema()),
            )
            for name in run.tools
        ]
        return {"messages": list(messages), "tools": [*_CATALOGUE, *pinned]}

    def messages(self, step: Step, answers: Sequence[Step]) -> list[Json]:
        """The assistant's message, then one message a call."""
        said = {"role": "assistant", "content": None, **(step.answer or {})}
        found: list[Json] = [said]
        by_call = {one.call_id: one for one in answers}
        for call in cast(list[Json], said.get("tool_calls") or []):
            one = by_call.get(str(call.get("id") or ""))
            text = "Not run." if one is None else answer_text(one)
            found.append({"role": "tool", "tool_call_id": call.get("id") or "", "content": text})
        return found

    def actions(self, registry: Registry, message: Mapping[str, Any]) -> list[Action]:
        """One a tool call; what is no call of ours carries its problem."""
        return [
            _action(registry, call, place)
            for place, call in enumerate(cast(list[Json], message.get("tool_calls") or []))
        ]


MINDS: dict[str, MindOf] = {"tools": ToolMind(), "exact": ExactMind()}


def tool_name(command: str) -> str:
    """`task.create` -> `task__create`: tool names have no dots."""
    return command.replace(".", "__")


def answer_text(step: Step, most: int = 6000) -> str:
    """What a model is told of a command's envelope."""
    text = json.dumps(step.answer or {}, ensure_ascii=False, separators=(",", ":"))
    return (
        text if len(text) <= most else text[:most] + " … (cut; ask for less, or page with limit and cursor)"
    )


def _action(registry: Registry, call: Json, place: int) -> Action:
    function = cast(Json, call.get("function") or {})
    call_id, name = str(call.get("id") or ""), str(function.get("name") or "")
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    if place >= ACTIONS_MAX:
        return Action(call_id, name, text, f"Only {ACTIONS_MAX} calls at once; this one was not run.")
    if name in ("search", "describe"):
        return Action(call_id, f"commands.{name}", text)
    if name == "call":
        return _called(call_id, text)
    return Action(call_id, name.replace("__", "."), text)


def _called(call_id: str, text: str) -> Action:
    """`call` names the command among its arguments."""
    try:
        given = cast(Json, json.loads(text or "{}"))
        name, inner = str(given["name"]), cast(object, given.get("arguments") or {})
    except (ValueError, KeyError, TypeError, RecursionError):
        return Action(call_id, "call", text, 'Give {"name": "noun.verb", "arguments": {…}}.')
    storable = name.replace("\x00", "\ufffd").encode(errors="replace").decode()
    return Action(call_id, storable.replace(" ", "."), _json_text(inner).replace("\x00", "\\u0000"))


def _json_text(value: object) -> str:
    """As it was written, or as JSON; half a character is left escaped, for the door to refuse."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def _tool(name: str, description: str, parameters: Json) -> Json:
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


_CATALOGUE: list[Json] = [
    _tool(
        "search",
        "Find commands for a task, in a few words.",
        {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    ),
    _tool(
        "describe",
        "Arguments and effect of one command.",
        {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    ),
    _tool(
        "call",
        "Run a command by its name.",
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}},
            "required": ["name", "arguments"],
        },
    ),
]
