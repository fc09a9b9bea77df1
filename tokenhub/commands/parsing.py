"""From raw JSON to a command's arguments, or a sentence that names the field."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from tokenhub.commands.declare import Command
from tokenhub.kernel.errors import InvalidRequest

_INT_MAX = 2**63 - 1
_TOO_LARGE = "is a number too large"
_DEPTH_MAX = 64
"""Levels of JSON within JSON; nothing of ours needs more than a few."""


def parse(command: Command, raw: Mapping[str, Any]) -> BaseModel:
    """The arguments. Raises: InvalidRequest, also for values that no database of ours could hold."""
    hint = f"See `hub {command.noun} {command.verb} --help`."
    problem = _unstorable(dict(raw), "")
    if problem is not None:
        raise _named(problem, hint)
    try:
        arguments = command.arguments.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        what = f"`{param}`: {first['msg']}" if param else str(first["msg"])
        raise InvalidRequest(f"{what}.", code="invalid_argument", param=param, hint=hint) from error
    for name, value in arguments:
        if isinstance(value, int) and not -_INT_MAX <= value <= _INT_MAX:  # digits in a text became a number
            raise _named((name, _TOO_LARGE), hint)
    return arguments


def _named(problem: tuple[str, str], hint: str) -> InvalidRequest:
    path, why = problem
    return InvalidRequest(f"`{path}`: {why}.", code="invalid_argument", param=path, hint=hint)


def _unstorable(value: Any, path: str, depth: int = 0) -> tuple[str, str] | None:
    """Where and why a value cannot be stored: NUL, half a surrogate pair, more than 64 bits; None if it can."""
    if depth > _DEPTH_MAX:
        return path[:80], "is nested too deeply"
    match value:
        case str():
            if not _is_text(value):
                return path, "holds a character that is no text"
        case bool() | None:
            pass
        case int():
            if not -_INT_MAX <= value <= _INT_MAX:
                return path, _TOO_LARGE
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                return path, "is no number"
        case dict():
            for name, item in cast(dict[Any, Any], value).items():
                inner = f"{path}.{name}" if path else str(name)
                found = _unstorable(str(name), "arguments") or _unstorable(item, inner, depth + 1)
                if found is not None:
                    return found
        case list():
            for place, item in enumerate(cast(list[Any], value)):
                found = _unstorable(item, f"{path}.{place}", depth + 1)
                if found is not None:
                    return found
        case _:
            pass
    return None


def _is_text(value: str) -> bool:
    """False for NUL and for half a surrogate pair, which is all that UTF-8 cannot say."""
    if "\x00" in value:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
