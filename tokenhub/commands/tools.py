"""A tool of another server as a command: its schema becomes arguments, its words what it may do.

What a server says of its own tools can only make them stricter: `readOnlyHint` opens nothing, `destructiveHint` and a
missing `readOnlyHint` close. Whoever connects the server may declare effect and sinks in its place (`declared`).
What comes back is text of others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from pydantic import ConfigDict, Field, create_model

from tokenhub.commands import kinds
from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Effect, Model, Permission, Trust

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
}


@dataclass(frozen=True, slots=True)
class Tool:
    """What a server tells of one tool."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """JSON schema of its arguments, an object."""
    hints: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """MCP's annotations, such as `destructiveHint`."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What somebody who may connect a server says of a tool, in place of what its name says; None = as it says."""

    effect: Effect | None = None
    sinks: tuple[str, ...] | None = None
    trust: Trust = "untrusted"


class ToolAnswer(Model):
    """What a tool answered."""

    result: Any = Field(description="JSON, or text.")


class _Arguments(Model):
    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=False, protected_namespaces=()
    )


class Named(NamedTuple):
    """What the names of a tool and its arguments say of it."""

    effect: Effect
    sinks: tuple[str, ...]
    records: tuple[str, ...]
    """Kinds of the things that it speaks of."""


def named(tool: Tool) -> Named:
    """What a tool's names say, made stricter by what its server says.

    A read by a link or a host is a sink too: what is fetched tells the other side something.
    """
    effect = _effect(tool)
    sinks = tuple(
        name
        for name, one in _properties(tool).items()
        if (
            kinds.reaches_out(name)
            if effect == "read"
            else kinds.is_sink(name, _shape(one), fresh=kinds.creates(tool.name))
        )
    )
    return Named(effect, sinks, kinds.nouns_of(tool.name))


def provenance_of(tool: str, effect: Effect, sinks: Sequence[str]) -> dict[str, Any]:
    """The fields of a `Command` by which the values of its sinks and its answer are judged."""
    records = kinds.nouns_of(tool)
    makes = effect == "write" and kinds.creates(tool)
    return {
        "sink_kinds": {name: kinds.kind_of(name, within=records) for name in sinks},
        "records": records,
        "makes": makes,
        "own": "asked" if makes else "no",
    }


def command_of(
    tool: Tool,
    run: Callable[[Context, dict[str, Any]], Any],
    *,
    server: str,
    declared: Declared | None = None,
    permission: Permission = "work",
) -> Command:
    """The command `server.tool-name`; `run(ctx, arguments)` calls the tool and returns JSON."""
    told = declared or Declared()
    said = named(tool)
    effect = told.effect or said.effect
    sinks = said.sinks if told.sinks is None else told.sinks

    def call(ctx: Context, args: Any) -> ToolAnswer:
        return ToolAnswer(result=run(ctx, args.model_dump(mode="json", exclude_unset=True)))

    return Command(
        name=f"{server}.{tool.name.lower().replace('_', '-')}",
        summary=(tool.description.strip().splitlines() or [tool.name])[0][:200],
        effect=effect,
        permission=permission,
        writes=None if effect == "read" else "hub",
        arguments=_arguments(tool),
        result=ToolAnswer,
        run=call,
        positional=(),
        columns=(),
        examples=(),
        description=tool.description,
        sinks=sinks,
        trust=told.trust,
        **provenance_of(tool.name, effect, sinks),
    )


def _effect(tool: Tool) -> Effect:
    effect = cast(Effect, kinds.effect_of(tool.name))
    if tool.hints.get("destructiveHint") is True:
        return "irreversible"
    if effect == "read" and tool.hints.get("readOnlyHint") is False:
        return "irreversible"
    if effect == "write" and kinds.pays(_properties(tool)):
        return "irreversible"
    return effect


def _properties(tool: Tool) -> Mapping[str, Mapping[str, Any]]:
    return cast(Mapping[str, Mapping[str, Any]], tool.schema.get("properties", {}))


def _arguments(tool: Tool) -> type[Model]:
    """A model of the tool's arguments: names, types, defaults; its server checks the rest."""
    properties = _properties(tool)
    required = set(cast(list[str], tool.schema.get("required", [])))
    fields: dict[str, Any] = {}
    for name, one in properties.items():
        default = ... if name in required else one.get("default")
        hint = _type(one) if name in required else _type(one) | None
        fields[name] = (hint, Field(default=default, description=str(one.get("description", ""))))
    return create_model(f"{tool.name} arguments", __base__=_Arguments, **fields)


def _type(one: Mapping[str, Any]) -> Any:
    options = cast(list[Mapping[str, Any]], one.get("anyOf", []))
    shapes = [option.get("type") for option in options] or [one.get("type")]
    types = [_TYPES[str(shape)] for shape in shapes if shape in _TYPES]
    if len(types) != len([shape for shape in shapes if shape != "null"]) or not types:
        return Any
    hint = types[0]
    for other in types[1:]:
        hint |= other
    return hint | None if "null" in shapes else hint


def _shape(one: Mapping[str, Any]) -> str:
    """The JSON type of a property; `string` where several or a reference are possible."""
    options = cast(list[Mapping[str, Any]], one.get("anyOf", [one]))
    shapes = {str(option.get("type", "string")) for option in options} - {"null"}
    return shapes.pop() if len(shapes) == 1 else "string"
