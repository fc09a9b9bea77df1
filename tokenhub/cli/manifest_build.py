"""Build the manifest from the declarations."""

import json
from typing import Any, cast

from tokenhub.cli.manifest import Kind
from tokenhub.commands.declare import Command
from tokenhub.commands.redaction import is_content, is_folder, is_secret
from tokenhub.commands.registry import Registry

_KINDS: dict[str, Kind] = {"string": "string", "integer": "integer", "number": "number", "boolean": "boolean"}


def build(registry: Registry) -> str:
    """The whole file, one command a line, so that a change reads well in a diff."""
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries(registry)]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def entries(registry: Registry) -> list[dict[str, Any]]:
    """What the file says of each command."""
    return [_entry(declared) for declared in registry]


def described(told: dict[str, Any]) -> dict[str, Any]:
    """The same of a command as `commands.describe` tells it: a tool of an outside server, with flags only."""
    schema: dict[str, Any] = told["arguments"]
    required = set(schema.get("required", ()))
    return {
        **{name: told[name] for name in ("name", "summary", "description", "effect", "permission")},
        "params": [
            {
                "name": name,
                **_shape(prop, {}),
                "required": name in required,
                "secret": False,
                "content": False,
                "position": None,
            }
            for name, prop in schema.get("properties", {}).items()
        ],
        "columns": [],
        "secrets": [],
        "examples": [[one["line"], one["note"]] for one in told["examples"]],
    }


def _entry(declared: Command) -> dict[str, Any]:
    schema = declared.arguments.model_json_schema()
    required = set(schema.get("required", ()))
    definitions = schema.get("$defs", {})
    return {
        "name": declared.name,
        "summary": declared.summary,
        "description": declared.description,
        "effect": declared.effect,
        "permission": declared.permission,
        "params": [
            _param(declared, name, prop, definitions, required=name in required)
            for name, prop in schema.get("properties", {}).items()
        ],
        "columns": list(declared.columns),
        "secrets": [name for name, field in declared.result.model_fields.items() if is_secret(field)],
        "examples": [[example.line, example.note] for example in declared.examples],
    }


def _param(
    declared: Command, name: str, prop: dict[str, Any], definitions: dict[str, Any], *, required: bool
) -> dict[str, Any]:
    shape = _shape(prop, definitions)
    return {
        "name": name,
        "kind": shape["kind"],
        "required": required,
        **shape,
        "secret": is_secret(declared.arguments.model_fields[name]),
        "content": is_content(declared.arguments.model_fields[name]),
        "position": declared.positional.index(name) if name in declared.positional else None,
        **({"folder": True} if is_folder(declared.arguments.model_fields[name]) else {}),
    }


def _shape(prop: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """What the schema alone says of an argument."""
    shape = _resolve(prop, definitions)
    many = shape.get("type") == "array"
    one = _resolve(cast(dict[str, Any], shape.get("items", {})), definitions) if many else shape
    choices = one.get("enum") or ([one["const"]] if "const" in one else [])
    kind: Any = one.get("type", "")
    return {
        "kind": _KINDS.get(kind, "json") if isinstance(kind, str) else "json",
        "many": many,
        "choices": [str(choice) for choice in choices],
        "default": prop.get("default"),
        "help": str(prop.get("description", "")),
    }


def _resolve(prop: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema that counts: `$ref` followed, `null` taken out; a true union stays without a type."""
    if "$ref" in prop:
        return _resolve(definitions[prop["$ref"].rsplit("/", 1)[1]], definitions)
    if "allOf" in prop and len(prop["allOf"]) == 1:
        return _resolve(prop["allOf"][0], definitions)
    options = [option for option in prop.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return _resolve(options[0], definitions)
    if options:  # such as "integer or string": text on the command line, sorted out by the declaration
        types = {_resolve(option, definitions).get("type") for option in options}
        return {"type": "string" if "string" in types else None}
    return prop
