"""A tool call to a command and back, without a word of the protocol: what both transports of MCP share."""

import json
from collections.abc import Mapping
from typing import Any, Protocol, cast

from tokenhub.commands.envelope import Envelope, Fault
from tokenhub.kernel.errors import HubError, InvalidRequest

Json = dict[str, Any]
OUTSIDE = "mcp"
"""Noun of the commands that are tools of outside servers: `mcp.SERVER.TOOL`."""


class Door(Protocol):
    """A way to `execute()` for one caller."""

    def __call__(self, name: str, raw: Json, *, dry_run: bool = False, idempotency_key: str = "") -> Json:
        """The envelope's wire form; never raises."""
        ...


def tool_name(command: str) -> str:
    """`task.create` -> `task_create`: many clients take letters, digits, `_` and `-` only."""
    noun, _, verb = command.partition(".")
    return f"{noun}_{verb.replace('.', '_', 1)}"


def command_name(tool: str) -> str:
    """The command behind a tool's name; a command's own name is taken too.

    No noun, verb or server holds a `_`, so the way back is exact: `mcp_lab_read_file` is `mcp.lab.read_file`.
    """
    if "." in tool.partition("_")[0]:
        return tool
    parts = tool.split("_", 2 if tool.startswith(f"{OUTSIDE}_") else 1)
    return ".".join(parts)


def use(door: Door, tool: str, given: Mapping[str, Any]) -> Json:
    """Do what a tool call asks for; the envelope's wire form, whatever the call holds."""
    try:
        match tool:
            case "search":
                return door("commands.search", dict(given))
            case "describe":
                return door("commands.describe", dict(given))
            case "call":
                return _call(door, given)
            case _:
                name, raw = command_name(tool), dict(given)
                return door(name, raw, dry_run=_flag(raw), idempotency_key=_key(raw))
    except HubError as error:
        return refused(error)


def refused(error: HubError) -> Json:
    """The envelope of an error that came up before the door."""
    fault = Fault(error.code, error.message, error.hint, error.param, error.type, error.status)
    return Envelope("failure", error=fault).to_dict()


def words(envelope: Mapping[str, Any]) -> str:
    """The envelope as text for clients that read no structured content: what is empty is left out."""
    kept = {name: value for name, value in envelope.items() if value not in (None, "", False)}
    return json.dumps({**kept, "ok": envelope["ok"]}, ensure_ascii=False, separators=(",", ":"))


def _call(door: Door, given: Mapping[str, Any]) -> Json:
    raw = dict(given)
    dry_run, key = _flag(raw), _key(raw)
    name = raw.pop("command", "")
    arguments = raw.pop("arguments", {})
    if not isinstance(name, str) or not name:
        raise InvalidRequest(
            "`command`: which command? Such as `task.create`.",
            code="invalid_argument",
            param="command",
            hint="Find one with the tool `search`.",
        )
    if raw:
        raise InvalidRequest(
            f"`{min(raw)[:80]}`: the command's own arguments go into `arguments`.",
            code="invalid_argument",
            param=min(raw)[:80],
            hint=f"The tool `describe` tells the arguments of `{name[:80]}`.",
        )
    return door(name.strip(), _object(arguments), dry_run=dry_run, idempotency_key=key)


def _object(value: Any) -> Json:
    """A JSON object, also one that came as text. Raises: InvalidRequest."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else {}
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise InvalidRequest("`arguments` must be a JSON object.", code="invalid_argument", param="arguments")
    return cast(Json, value)


def _flag(raw: Json) -> bool:
    value = raw.pop("dry_run", False)
    if not isinstance(value, bool):
        raise InvalidRequest("`dry_run` is true or false.", code="invalid_argument", param="dry_run")
    return value


def _key(raw: Json) -> str:
    value = raw.pop("idempotency_key", "")
    if not isinstance(value, str) or len(value) > 256:
        raise InvalidRequest(
            "`idempotency_key` is a text of at most 256 characters.",
            code="invalid_argument",
            param="idempotency_key",
        )
    return value
