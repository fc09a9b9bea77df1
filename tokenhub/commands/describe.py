"""A command in words and JSON schemas, as HTTP, the docs and (later) agents are told it."""

from typing import Any, cast

from tokenhub.commands.declare import Command


def summarize(declared: Command) -> dict[str, Any]:
    """Name, summary, effect, permission: enough to choose."""
    return {
        "name": declared.name,
        "summary": declared.summary,
        "effect": declared.effect,
        "permission": declared.permission,
    }


def describe(declared: Command) -> dict[str, Any]:
    """Everything that a caller needs to call it."""
    return {
        **summarize(declared),
        "description": declared.description,
        "resource": declared.resource,
        "sinks": list(declared.sinks),
        "trust": declared.trust,
        "undo": declared.undo or ("irreversible" if declared.effect == "irreversible" else ""),
        "cost": declared.cost,
        "arguments": declared.arguments.model_json_schema(),
        "result": declared.result.model_json_schema(mode="serialization"),
        "examples": [{"line": example.line, "note": example.note} for example in declared.examples],
    }


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every `$ref` replaced by what it names, for a document that has its own `$defs`."""
    definitions = cast(dict[str, Any], schema.get("$defs", {}))

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(item) for item in cast(list[Any], node)]
        if not isinstance(node, dict):
            return node
        found = cast(dict[str, Any], node)
        if "$ref" in found:
            return walk(definitions[str(found["$ref"]).rsplit("/", 1)[1]])
        return {name: walk(value) for name, value in found.items() if name != "$defs"}

    return cast(dict[str, Any], walk(schema))
