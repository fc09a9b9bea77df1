"""A server's JSON schema made safe to keep and to check with, and the check itself.

What comes from outside may be a bomb: references that double at each level, patterns that take for ever, remote
references. `adopt` writes references out within a bound, keeps only the keywords that the check knows and leaves out
patterns (the server checks those itself), so a check costs no more than schema times value.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

NODES_MAX = 2_000
DEPTH_MAX = 24
NAME_MAX = 64
Json = dict[str, Any]
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_PLAIN = {
    *("type", "enum", "const", "title", "description", "default", "required", "format"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems"),
}
_COUNTS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


class Unusable(ValueError):
    """Why a schema cannot be taken."""


def adopt(schema: Mapping[str, Any]) -> Json:
    """The schema of a tool's arguments with references written out; declared arguments only. Raises: Unusable."""
    found = _Adoption(schema).node(schema, 0)
    if found.get("type", "object") != "object" or not isinstance(found.get("properties", {}), dict):
        raise Unusable("its arguments are no object")
    properties = cast(Json, found.get("properties", {}))
    if any(not name or len(name) > NAME_MAX or not name.isprintable() for name in properties):
        raise Unusable("an argument has no usable name")
    for name in ("anyOf", "oneOf", "allOf"):
        found.pop(name, None)
    return {**found, "type": "object", "properties": properties, "additionalProperties": False}


def check(schema: Mapping[str, Any], value: Any, path: str = "") -> str | None:
    """Where and why the value does not fit an adopted schema; None if it does."""
    where = f"`{path}`: " if path else ""
    kinds = schema.get("type")
    if kinds is not None and not any(_is(kind, value) for kind in _many(kinds)):
        return f"{where}must be {' or '.join(map(str, _many(kinds)))}"
    if "const" in schema and not _same(schema["const"], value):
        return f"{where}must be {json.dumps(schema['const'])[:80]}"
    if "enum" in schema and not any(_same(one, value) for one in schema["enum"]):
        return f"{where}must be one of {json.dumps(schema['enum'], ensure_ascii=False)[:200]}"
    problem = _bounds(schema, value)
    if problem is not None:
        return where + problem
    match value:
        case dict():
            problem = _fields(schema, cast(Json, value), path)
        case list():
            problem = _items(schema, cast(list[Any], value), path)
        case _:
            problem = None
    return problem or _choices(schema, value, path)


def _fields(schema: Mapping[str, Any], value: Json, path: str) -> str | None:
    properties: Json = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"`{_under(path, name)}`: is missing"
    rest: Any = schema.get("additionalProperties", True)
    for name, item in value.items():
        below = properties.get(name, rest)
        if below is False:
            return f"`{_under(path, name)}`: is no argument of it"
        problem = check(cast(Json, below), item, _under(path, name)) if isinstance(below, dict) else None
        if problem is not None:
            return problem
    return None


def _items(schema: Mapping[str, Any], value: list[Any], path: str) -> str | None:
    below: Any = schema.get("items")
    if not isinstance(below, dict):
        return None
    problems = (check(cast(Json, below), item, _under(path, str(at))) for at, item in enumerate(value))
    return next((problem for problem in problems if problem is not None), None)


def _choices(schema: Mapping[str, Any], value: Any, path: str) -> str | None:
    for below in schema.get("allOf", ()):
        problem = check(below, value, path)
        if problem is not None:
            return problem
    for name in ("anyOf", "oneOf"):
        problems = [check(below, value, path) for below in schema.get(name, ())]
        fitting = problems.count(None)
        if problems and not fitting:
            return problems[0]
        if name == "oneOf" and fitting > 1:
            return f"`{path or 'arguments'}`: fits more than one form"
    return None


def _bounds(schema: Mapping[str, Any], value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum"), schema.get("maximum")
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if (low is not None and value < low) or (above is not None and value <= above):
            return f"must be {'at least' if low is not None else 'more than'} {low if low is not None else above}"
        if (high is not None and value > high) or (below is not None and value >= below):
            return f"must be {'at most' if high is not None else 'less than'} {high if high is not None else below}"
    size, names = (len(value), ("minLength", "maxLength")) if isinstance(value, str) else (0, ("", ""))
    if isinstance(value, list):
        size, names = len(cast(list[Any], value)), ("minItems", "maxItems")
    if size < schema.get(names[0], 0):
        return f"is too short (at least {schema[names[0]]})"
    if names[1] in schema and size > schema[names[1]]:
        return f"is too long (at most {schema[names[1]]})"
    return None


class _Adoption:
    """One walk through a schema, counting what it writes."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._nodes = 0

    def node(self, schema: Any, depth: int) -> Json:
        self._nodes += 1
        if self._nodes > NODES_MAX or depth > DEPTH_MAX:
            raise Unusable("its schema is too large, too deep or refers to itself")
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise Unusable("its schema is none")
        given = cast(Json, schema)
        if "$ref" in given:
            beside = {name: value for name, value in given.items() if name != "$ref"}
            return {**self.node(self._named(given["$ref"]), depth + 1), **self.node(beside, depth + 1)}
        kept: Json = {name: given[name] for name in _PLAIN & given.keys()}
        _check_plain(kept)
        if isinstance(given.get("properties"), dict):
            properties = cast(Json, given["properties"])
            kept["properties"] = {str(name): self.node(one, depth + 1) for name, one in properties.items()}
        for name in ("items", "additionalProperties"):
            if isinstance(given.get(name), dict):
                kept[name] = self.node(given[name], depth + 1)
            elif given.get(name) is False:
                kept[name] = False if name == "additionalProperties" else {"enum": []}
        for name in ("anyOf", "oneOf", "allOf"):
            if isinstance(given.get(name), list):
                kept[name] = [self.node(one, depth + 1) for one in cast(list[Any], given[name])]
        return kept

    def _named(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Unusable("its schema refers to another document")
        found: Any = self._root
        for part in filter(None, reference[1:].split("/")):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise Unusable(f"its schema refers to {reference[:80]!r}, which it has not")
            found = cast(Json, found)[name]
        return found


def _check_plain(kept: Json) -> None:
    """Keywords with values of their right kinds, so that the check never stumbles. Raises: Unusable."""
    kinds = _many(kept.get("type", []))
    wrong = [kind for kind in kinds if not isinstance(kind, str) or kind not in _TYPES]
    required = kept.get("required", [])
    sizes = [kept[name] for name in ("minLength", "maxLength", "minItems", "maxItems") if name in kept]
    counts = [kept[name] for name in _COUNTS if name in kept]
    texts = [kept[name] for name in ("title", "description", "format") if name in kept]
    if (
        wrong
        or not isinstance(kept.get("enum", []), list)
        or not isinstance(required, list)
        or not all(isinstance(name, str) for name in cast(list[Any], required))
        or not all(_is("integer", size) for size in sizes)
        or not all(_is("number", count) for count in counts)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise Unusable("its schema holds a keyword with a value that is none")


def _is(kind: Any, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _many(kinds: Any) -> list[Any]:
    return cast(list[Any], kinds) if isinstance(kinds, list) else [kinds]


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
