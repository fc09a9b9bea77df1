"""Tools of outside servers as commands `mcp.SERVER.TOOL`: found by organisation, only as long as they are allowed.

The command puts a call into the outbox and answers `pending`; `courier.py` sends it, `hub mcp result` tells the answer.
What the tool does is what an admin declared, else irreversible with every argument a sink; what its server says of it
(read-only, idempotent …) never makes it freer.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import Connection

from tokenhub.agents.mcp import store
from tokenhub.agents.mcp.schema import check
from tokenhub.agents.mcp.types import Json, Tool
from tokenhub.commands import Command, Context, Example, Model
from tokenhub.commands.tools import provenance_of
from tokenhub.kernel.errors import Conflict

HOLD_MS = 5_000
"""How long a call that is no read waits in the outbox, so that `hub mcp withdraw` can take it back."""


class Queued(Model):
    """A call in the outbox."""

    call: str
    command: str
    state: str = Field(description="queued | sent | done | failed | unknown | withdrawn")


class OutsideArguments(BaseModel):
    """Arguments of a tool, checked by the schema as it was allowed."""

    model_config = ConfigDict(extra="allow", frozen=True)
    adopted: ClassVar[Json] = {}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problem = check(self.adopted, self.model_extra or {})
        if problem is not None:
            raise PydanticCustomError("schema", "{problem}", {"problem": problem})
        return self

    @classmethod
    def model_json_schema(cls, *_args: Any, **_options: Any) -> Json:
        """The server's schema, references written out."""
        return deepcopy(cls.adopted)


class OutsideTools:
    """A source of the registry."""

    def find(self, connection: Connection, org_id: str, name: str) -> Command | None:
        """The command of this name, if such a tool is allowed now."""
        noun, _, rest = name.partition(".")
        server, _, named = rest.partition(".")
        if noun != "mcp" or not named:
            return None
        tool = store.find_tool(connection, org_id, server, named)
        return command_of(tool) if tool is not None and tool.state == "allowed" else None

    def every(self, connection: Connection, org_id: str) -> Iterator[Command]:
        """Every allowed tool of the organisation."""
        for tool in store.list_tools(connection, org_id):
            if tool.state == "allowed":
                yield command_of(tool)


def command_of(tool: Tool) -> Command:
    """The tool as a command."""
    properties: Json = tool.schema.get("properties", {})
    arguments = type("Arguments", (OutsideArguments,), {"adopted": tool.schema, "__module__": __name__})
    sinks = tuple(properties) if "*" in tool.sinks else tuple(set(tool.sinks) & properties.keys())
    first, _, rest = tool.description.strip().partition("\n")
    return Command(
        name=tool.command,
        summary=(first or f"{tool.name} of the outside server {tool.server}.")[:200],
        effect=tool.effect,
        permission="work",
        writes="hub",
        arguments=arguments,
        result=Queued,
        run=_Sender(tool),
        positional=(),
        columns=(),
        examples=(
            Example(f"hub mcp {tool.server}.{tool.name}", "Then `hub mcp result CALL` tells the answer"),
        ),
        description=rest.strip(),
        sinks=sinks,
        trust="untrusted",
        outside=True,
        **provenance_of(tool.name, tool.effect, sinks),
    )


class _Sender:
    """Puts the call into the outbox, in the transaction of the command."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool

    def __call__(self, ctx: Context, args: BaseModel) -> Queued:
        tool = self._tool
        now = store.find_tool(ctx.hub, ctx.principal.org_id, tool.server, tool.name)
        if now is None or now.state != "allowed" or now.digest != tool.digest:
            raise Conflict(
                f"`{tool.command}` is not what was allowed any more.",
                code="mcp_tool_changed",
                hint=f"An administrator looks at it: `hub mcp show {tool.server}`.",
            )
        row = store.insert_call(
            ctx.hub,
            {
                "org_id": ctx.principal.org_id,
                "server_id": tool.server_id,
                "tool": tool.name,
                "digest": tool.digest,
                "effect": tool.effect,
                "actor": ctx.principal.actor,
                "grant_id": ctx.principal.grant_id,
                "arguments": json.dumps(args.model_dump(mode="json"), ensure_ascii=False),
                "created_at_ms": ctx.now_ms,
            },
        )
        ctx.pending(next=f"hub mcp result {row['id']}")
        return Queued(call=row["id"], command=tool.command, state="queued")
