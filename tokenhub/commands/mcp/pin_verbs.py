"""`hub mcp tools|pin|unpin`: what an MCP client of the hub is shown."""

from contextlib import suppress
from typing import Any

from pydantic import Field
from sqlalchemy import delete, select

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.commands.describe import inlined
from tokenhub.commands.mcp.desk import tool_name
from tokenhub.commands.mcp.tables import pins
from tokenhub.db.upsert import insert_for
from tokenhub.kernel.errors import Conflict, NotFound

VERBS: list[Command] = []
PINS_MAX = 50
_DRY_RUN = {"type": "boolean", "description": "Show what would change, change nothing."}
_KEY = {"type": "string", "description": "Makes a retry safe: the same key does it once."}


class Tool(Model):
    """One tool as a client is told it."""

    name: str
    command: str = Field(description="The command behind it; empty for the three that reach every command.")
    description: str
    arguments: dict[str, Any] = Field(description="JSON schema.")
    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool = Field(description="It reaches beyond the hub.")


class ToolList(Model):
    """Every tool of a caller."""

    items: list[Tool]


class NoArgs(Model):
    """No arguments."""


class Named(Model):
    """A command."""

    command: str = Field(max_length=200, description="The command, such as `task.create`.")


class Pinned(Model):
    """What was pinned or unpinned."""

    command: str
    tool: str


@command(
    "mcp.tools",
    effect="read",
    resource="",
    permission="",
    cost=0,
    summary="Show what an MCP client of yours sees.",
    columns=("name", "command", "description"),
    examples=[Example("hub mcp tools", "search, describe, call, and what you pinned")],
)
def mcp_tools(ctx: Context, args: NoArgs) -> ToolList:
    """Three tools reach every command, whatever their number; pinned commands come after them."""
    names = [declared.name for declared in ctx.registry if ctx.principal.allows(declared.permission)]
    return ToolList(items=[*_three(names), *map(_tool, _pinned(ctx))])


@command(
    "mcp.pin",
    effect="write",
    resource="",
    permission="",
    summary="Show a command to your MCP clients as a tool of its own.",
    positional=("command",),
    examples=[Example("hub mcp pin task.create", "Clients see it when they list tools next")],
)
def mcp_pin(ctx: Context, args: Named) -> Pinned:
    """Each costs a client's model some hundred tokens, so pin the few that are used all the time."""
    found = ctx.command(args.command.replace(" ", "."))
    if len(_pinned(ctx)) >= PINS_MAX:
        raise Conflict(f"{PINS_MAX} commands are pinned; unpin one first.", code="too_many_pins")
    values = {**_mine(ctx), "command": found.name, "created_at_ms": ctx.now_ms}
    ctx.hub.execute(insert_for(ctx.hub, pins).values(values).on_conflict_do_nothing())
    return Pinned(command=found.name, tool=tool_name(found.name))


@command(
    "mcp.unpin",
    effect="write",
    resource="",
    permission="",
    summary="Take a pinned command from your MCP clients' list.",
    positional=("command",),
    examples=[Example("hub mcp unpin task.create", "It stays reachable through `call`")],
)
def mcp_unpin(ctx: Context, args: Named) -> Pinned:
    """What is not pinned is still reached by `search`, `describe` and `call`."""
    name = args.command.replace(" ", ".")
    here = (pins.c.org_id == ctx.principal.org_id) & (pins.c.actor == ctx.principal.actor)
    if not ctx.hub.execute(delete(pins).where(here, pins.c.command == name)).rowcount:
        raise NotFound(
            f"`{name}` is not pinned.", code="not_pinned", param="command", hint="See `hub mcp tools`."
        )
    return Pinned(command=name, tool=tool_name(name))


def _mine(ctx: Context) -> dict[str, str]:
    return {"org_id": ctx.principal.org_id, "actor": ctx.principal.actor}


def _pinned(ctx: Context) -> list[Command]:
    """Pinned commands that there still are, in alphabetical order."""
    mine = (pins.c.org_id == ctx.principal.org_id) & (pins.c.actor == ctx.principal.actor)
    rows = ctx.hub.execute(select(pins.c.command).where(mine).order_by(pins.c.command).limit(PINS_MAX))
    found: list[Command] = []
    for name in rows.scalars().all():
        with suppress(NotFound):
            found.append(ctx.command(name))
    return found


def _tool(declared: Command) -> Tool:
    schema = inlined(declared.arguments.model_json_schema())
    schema.pop("title", None)
    if declared.effect != "read":
        schema["properties"] = {"dry_run": _DRY_RUN, "idempotency_key": _KEY, **schema.get("properties", {})}
    return Tool(
        name=tool_name(declared.name),
        command=declared.name,
        description=declared.summary + (f" {declared.description}" if declared.description else ""),
        arguments=schema,
        read_only=declared.effect == "read",
        destructive=declared.effect == "irreversible",
        idempotent=declared.effect == "read",
        open_world=declared.outside,
    )


def _three(names: list[str]) -> list[Tool]:
    nouns: dict[str, list[str]] = {}
    for name in names:
        noun, _, verb = name.partition(".")
        nouns.setdefault(noun, []).append(verb)
    catalogue = "; ".join(f"{noun} {'|'.join(verbs)}" for noun, verbs in nouns.items())
    text = {"type": "string", "description": "What you want to do, in a few words."}
    command = {"type": "string", "description": "noun.verb, such as task.create."}
    return [
        _builtin(
            "search",
            "Find the command for a task. All there are: " + catalogue + ".",
            {"text": text, "limit": {"type": "integer", "minimum": 1, "maximum": 200}},
            required=["text"],
        ),
        _builtin(
            "describe",
            "Arguments (JSON schema), effect and examples of one command; read it before `call`.",
            {"name": command},
            required=["name"],
        ),
        _builtin(
            "call",
            "Run a command as your person, within your grant. Answers an envelope: status success, pending (a person "
            "decides; `next` tells how it goes on), partial_failure or failure (`error.hint` tells what to do).",
            {
                "command": command,
                "arguments": {"type": "object", "description": "As `describe` tells."},
                "dry_run": _DRY_RUN,
                "idempotency_key": _KEY,
            },
            required=["command"],
            reads=False,
        ),
    ]


def _builtin(
    name: str, description: str, properties: dict[str, Any], *, required: list[str], reads: bool = True
) -> Tool:
    schema = {"type": "object", "properties": properties, "required": required}
    return Tool(
        name=name,
        command="",
        description=description,
        arguments={**schema, "additionalProperties": False},
        read_only=reads,
        destructive=not reads,
        idempotent=reads,
        open_world=False,
    )
