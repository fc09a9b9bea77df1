"""What kind of value an argument takes, read from its schema and its description as a person would read them.

`Name or id of the person` is a person, `Until when: a date` a day, `Life time, such as 90d` a length of time. A new
command needs no entry here: it is understood as far as its descriptions say what its arguments are.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

Json = dict[str, Any]
Kind = Literal[
    "choice", "flag", "number", "person", "id", "thing", "day", "length", "amount", "scope", "command", "email",
    "address", "name", "text", "object", "skip",
]  # fmt: skip
"""`skip`: never given from a sentence (pages, secrets, technical settings)."""
_NEVER = frozenset({"cursor", "anchor_ms", "tz", "limit", "dry_run"})
RANK: Mapping[Kind, int] = {
    "id": 0, "scope": 0, "command": 0, "email": 0, "address": 0, "person": 1, "day": 1, "length": 1, "amount": 2,
    "choice": 2, "flag": 2, "number": 2, "thing": 3, "name": 4, "text": 5, "object": 6, "skip": 9,
}  # fmt: skip
"""Which arguments take their mentions first: the narrow kinds before the wide ones."""


def kind_of(name: str, rules: Mapping[str, Any], *, command: str) -> Kind:
    """What an argument takes, by its schema and description."""
    about = str(rules.get("description") or "")
    low = about.lower()
    if name in _NEVER or rules.get("format") in ("content", "password"):
        return "skip" if rules.get("format") != "content" else "text"
    if "enum" in rules or "const" in rules:
        return "choice"
    match rules.get("type"):
        case "boolean":
            return "flag"
        case "integer" | "number":
            return "number"
        case "object" | None:
            return "object"
        case _:
            pass
    if "mail address" in low:
        return "email"
    if "url" in low:
        return "address"
    if "`user:name`" in low:
        return "scope"
    if "commands that it may run" in low or low.startswith("the command, such as") or name == "command":
        return "command"
    if name != "name" and re.search(
        r"\b(person|people|who|user)\b.*\b(names?|ids?)\b|name or id of the (person|user)\b|^who\b(?! may| can)|\b(this|a) person\b",
        low,
    ):
        return "person"
    if re.search(r"\bhow long\b|such as [^.]*\b\d+[hdm]\b|`minute`", low):
        return "length"
    if re.search(r"\bdate\b|iso 8601|first instant|until when", low):
        return "day"
    if re.search(r"\b\d+[km]\b", low) or "in units of the currency" in low or name == "cap":
        return "amount"
    if re.search(r"^(the )?(id|`x-request-id`|job's id)\b(?!.*\b(name|title)\b)|^their ids|^ids of", low):
        return "id"
    if name == "role" or "one of owner" in low:
        return "choice"
    thing = r"\b(by name or id|name or id|id or name|its title|its name|shown prefix|by name|'s name|only of this|only this|public model name)"
    if re.search(rf"{thing}\b|a model of the catalogue|deployment's id|of its folder|new folder", low):
        return "thing"
    if name in ("name", "title") and command.partition(".")[2] in ("create", "add"):
        return "name"
    return "text"


def plain(rules: Mapping[str, Any]) -> Json:
    """The schema that counts: without `null`, and of a list its items, with the argument's own description."""
    about = rules.get("description")
    options = [option for option in cast(list[Json], rules.get("anyOf", ())) if option.get("type") != "null"]
    found = dict(options[0]) if options else dict(rules)
    if found.get("type") == "array":
        found = dict(cast(Json, found.get("items") or {"type": "string"}))
    return {**found, "description": about} if about else found
