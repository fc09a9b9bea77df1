"""A command in words and JSON schemas, as HTTP, the docs and (later) agents are told it."""

from typing import Any

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
        "arguments": declared.arguments.model_json_schema(),
        "result": declared.result.model_json_schema(mode="serialization"),
        "examples": [{"line": example.line, "note": example.note} for example in declared.examples],
    }
