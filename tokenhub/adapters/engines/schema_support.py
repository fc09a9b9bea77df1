"""What of JSON Schema llama.cpp's grammar converter enforces, and what it silently passes over.

Measured (docs/reference/engine-notes.md). A schema sent as `strict` promises that every answer matches it, so one
with a rule that would be passed over is refused; without `strict` such rules only guide.
"""

from typing import Any, cast

from tokenhub.kernel.errors import InvalidRequest

Json = dict[str, Any]
_IGNORED = frozenset(
    {
        "not", "if", "then", "else", "multipleOf", "uniqueItems", "contains", "minContains", "maxContains",
        "patternProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired",
        "dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef",
    }
)  # fmt: skip
_FORMATS = frozenset({"date", "time", "date-time", "uuid"})
_RANGES = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
DEPTH_MAX = 64


class SchemaUnsupported(InvalidRequest):
    """The engine cannot hold an answer to this schema."""

    code = "invalid_json_schema"


def check_strict(schema: Json, *, param: str) -> None:
    """Raises: SchemaUnsupported for a rule the engine would pass over."""
    _check(schema, "#", param, 0)


def _check(schema: Any, at: str, param: str, depth: int) -> None:
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        return
    rules = cast(Json, schema)
    reason = _unenforced(rules)
    if reason:
        raise SchemaUnsupported(
            f"This model cannot enforce {reason} (at {at}). Leave it out, or send the schema without `strict`.",
            param=param,
        )
    for key in _MAPS:
        for name, inner in cast(Json, rules.get(key) if isinstance(rules.get(key), dict) else {}).items():
            _check(inner, f"{at}/{key}/{name}", param, depth + 1)
    for key in _LISTS:
        inner_list = rules.get(key)
        for number, inner in enumerate(cast(list[Any], inner_list) if isinstance(inner_list, list) else []):
            _check(inner, f"{at}/{key}/{number}", param, depth + 1)
    for key in ("items", "additionalProperties"):
        _check(rules.get(key), f"{at}/{key}", param, depth + 1)


def _unenforced(rules: Json) -> str:
    """The rule that would be passed over; "" if there is none."""
    found = _IGNORED.intersection(rules)
    if found:
        return f"`{min(found)}`"
    if rules.get("type") != "integer":
        ranged = [name for name in _RANGES if name in rules]
        if ranged:
            return f"`{ranged[0]}` on anything but integers"
    text_format = rules.get("format")
    if isinstance(text_format, str) and text_format not in _FORMATS and rules.get("type") == "string":
        return f"the format `{text_format}`"
    pattern = rules.get("pattern")
    if isinstance(pattern, str) and not _pattern_works(pattern):
        return f"the pattern `{pattern[:80]}` (write ^...$, without look-around or back references)"
    return ""


def _pattern_works(pattern: str) -> bool:
    anchored = pattern.startswith("^") and pattern.endswith("$")
    return anchored and not any(
        mark in pattern for mark in ("(?=", "(?!", "(?<", "\\b", "\\B", "\\1", "\\p", "\\k")
    )
