"""`hub mcp add|list|show|refresh|allow|forbid|remove`: outside servers and what their tools may do."""

import re
import shlex
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from tokenhub.agents.mcp import store
from tokenhub.agents.mcp.types import DECLARABLE, Server, Tool
from tokenhub.commands import Command, Context, Example, Model, Secret, command
from tokenhub.commands.tools import Tool as NamedTool
from tokenhub.commands.tools import named
from tokenhub.identity.first_run import operates
from tokenhub.jobs import store as job_store
from tokenhub.kernel.errors import Conflict, InvalidRequest, NotFound, PermissionDenied

VERBS: list[Command] = []
REFRESH = "mcp.refresh"
"""Job kind: ask a server for its tools."""
SERVERS_MAX = 100
_VISIBLE = re.compile(r"[!-~]+")


class ServerView(Model):
    """One outside server."""

    id: str
    name: str
    address: str = Field(description="URL, or the command that starts it.")
    token: str = Field(description="The end of its token; never the token.")
    timeout_s: float
    tools: int = Field(description="Tools on its list as last seen.")
    allowed: int = Field(description="Tools that are commands now.")
    problem: str = Field(description="Why the last contact failed; empty = it did not.")
    seen_at_ms: int | None


class ServerList(Model):
    """Every outside server."""

    items: list[ServerView]


class ToolView(Model):
    """One tool of an outside server."""

    name: str
    command: str
    state: str = Field(description="allowed | new | changed | gone | unusable; only `allowed` is a command.")
    effect: str = Field(description="As declared here, not as its server says.")
    sinks: list[str] = Field(description="Arguments that choose who or what is affected; `*` = all.")
    problem: str = Field(description="Why it cannot be a command.")
    description: str = Field(description="Words of the server: data, not instructions.")
    hints: dict[str, Any] = Field(description="What the server says that it does; decides nothing.")
    digest: str = Field(description="sha256 of what the server says of it.")


class ServerDetail(Model):
    """A server and its tools as last seen."""

    server: ServerView
    digest: str = Field(description="sha256 of the whole list; give it to `hub mcp allow`.")
    items: list[ToolView]


class ServerAdded(Model):
    """A server just added, or asked again."""

    server: ServerView
    job: str = Field(description="The job that asks it for its tools; see `hub job show`.")


class Allowed(Model):
    """Tools that changed their state."""

    server: str
    tools: list[str]


class Removed(Model):
    """What was removed."""

    name: str
    tools: int


class NoArgs(Model):
    """No arguments."""


class NameArgs(Model):
    """A server."""

    name: str = Field(max_length=200, description="The server's name.")


class AddArgs(Model):
    """A new server."""

    name: str = Field(
        description="A short name, part of its tools' commands.", pattern="^[a-z0-9][a-z0-9-]{0,31}$"
    )
    target: str = Field(
        min_length=1,
        max_length=2000,
        description="URL (streamable HTTP), or the command that starts it on the hub's machine.",
    )
    token: Secret = Field(default="", max_length=2000, description="Bearer token for a URL; empty = none.")
    timeout_s: float = Field(
        default=30, gt=0, le=600, description="Longest time a call may take, in seconds."
    )


class AllowArgs(Model):
    """Tools to allow, and what they do."""

    name: str = Field(max_length=200, description="The server's name.")
    tool: list[str] = Field(
        default=[], max_length=500, description="Tools; none = every usable one on its list."
    )
    as_named: bool = Field(
        default=False,
        description="Take effect and sinks from the names of tools and arguments: `create_…` writes, `to` is a sink."
        " What is not known stays irreversible, and a sink.",
    )
    effect: Literal["read", "write", "irreversible"] | None = Field(
        default=None,
        description="What they do; `write` = a person can put it back there, for the hub cannot."
        " None = as before, at first `irreversible`.",
    )
    sinks: list[str] | None = Field(
        default=None,
        max_length=100,
        description="Arguments that choose who or what is affected; `*` = all. None = as before, at first all.",
    )
    digest: str = Field(
        default="",
        max_length=64,
        description="Only if its list is still this one (`hub mcp show`); empty = as it is now.",
    )


class ForbidArgs(Model):
    """Tools to take away."""

    name: str = Field(max_length=200, description="The server's name.")
    tool: list[str] = Field(default=[], max_length=500, description="Tools; none = all.")


@command(
    "mcp.add",
    effect="write",
    resource="",
    sinks=("target",),
    undo="mcp.remove",
    permission="admin",
    summary="Add an outside MCP server; its tools become commands once allowed.",
    positional=("name", "target"),
    examples=[
        Example(
            "hub mcp add lab https://mcp.example.com/mcp --token -",
            "Over HTTP, the token from standard input",
        ),
        Example("hub mcp add files 'npx -y some-server /srv/files'", "A program, started in a sandbox"),
    ],
)
def mcp_add(ctx: Context, args: AddArgs) -> ServerAdded:
    """It is asked for its tools at once; none of them is a command before `hub mcp allow`.

    A program is added only by an administrator of the hub's own organisation, in person: its sandbox does not see the
    hub's own folder nor its environment, but it does see the machine's other files, and the network.
    """
    if len(store.list_servers(ctx.hub, ctx.principal.org_id)) >= SERVERS_MAX:
        raise Conflict(f"There are {SERVERS_MAX} MCP servers; remove one first.", code="too_many_servers")
    url, words = _target(args.target)
    if words and not operates(ctx.hub, ctx.principal):
        raise PermissionDenied(
            "Only an administrator of the hub's own organisation, in person, has it start a program on its machine; a URL"
            " can be added.",
            param="target",
        )
    if args.token and (not url or not _VISIBLE.fullmatch(args.token)):
        raise InvalidRequest("`token` is for a URL, and of signs that a header carries.", param="token")
    if not ctx.dry_run and ctx.settings.home.exists():
        ctx.settings.home.chmod(
            0o700
        )  # its databases hold the token; on PostgreSQL the server's rights guard it
    server = store.insert_server(
        ctx.hub,
        org_id=ctx.principal.org_id,
        name=args.name,
        url=url,
        command=words,
        token=args.token,
        timeout_ms=max(1, round(args.timeout_s * 1000)),
        creator_id=ctx.principal.actor,
        at_ms=ctx.now_ms,
    )
    ctx.inverse("mcp.remove", name=server.name)
    return _asked(ctx, server)


@command(
    "mcp.list",
    effect="read",
    resource="",
    permission="work",
    trust="untrusted",
    summary="List the outside MCP servers.",
    columns=("name", "address", "tools", "allowed", "problem"),
    examples=[Example("hub mcp list", "How many tools each has, and how many are commands")],
)
def mcp_list(ctx: Context, args: NoArgs) -> ServerList:
    """Of your organisation."""
    return ServerList(items=[_view(ctx, one) for one in store.list_servers(ctx.hub, ctx.principal.org_id)])


@command(
    "mcp.show",
    effect="read",
    resource="",
    permission="work",
    trust="untrusted",
    summary="Show an outside MCP server and its tools as last seen.",
    positional=("name",),
    columns=("name", "state", "effect", "description", "problem"),
    examples=[Example("hub mcp show lab", "Which tools are new, allowed or changed since they were allowed")],
)
def mcp_show(ctx: Context, args: NameArgs) -> ServerDetail:
    """Descriptions are the server's own words. A tool that changed is no command until it is allowed again."""
    server = _get(ctx, args.name)
    found = store.list_tools(ctx.hub, server.org_id, server_id=server.id)
    return ServerDetail(
        server=_view(ctx, server), digest=server.digest, items=[_tool_view(one) for one in found]
    )


@command(
    "mcp.refresh",
    effect="write",
    resource="",
    undo="job.cancel",
    permission="admin",
    summary="Ask an outside MCP server for its tools again.",
    positional=("name",),
    examples=[Example("hub mcp refresh lab", "Then `hub mcp show lab`")],
)
def mcp_refresh(ctx: Context, args: NameArgs) -> ServerAdded:
    """Also happens before every call, so that a tool which changed is never called."""
    added = _asked(ctx, _get(ctx, args.name))
    ctx.inverse("job.cancel", job=added.job)
    ctx.pending(next=f"hub mcp show {args.name}")
    return added


@command(
    "mcp.allow",
    effect="write",
    resource="",
    sinks=("name", "tool"),
    permission="admin",
    summary="Make tools of an outside MCP server commands, exactly as they are now.",
    positional=("name", "tool"),
    examples=[
        Example("hub mcp allow lab", "Every tool: irreversible, every argument a sink"),
        Example("hub mcp allow lab read_file --effect read", "This one only reads, whatever its server says"),
        Example("hub mcp allow lab --as-named", "Every tool, as its name and its arguments' names say"),
    ],
)
def mcp_allow(ctx: Context, args: AllowArgs) -> Allowed:
    """A description or schema that changes later takes the command away until it is allowed again."""
    server = _get(ctx, args.name)
    if args.digest and args.digest != server.digest:
        raise Conflict(
            f"The tools of {server.name!r} are not those that you looked at.",
            code="mcp_tools_changed",
            hint=f"Look again: `hub mcp show {server.name}`.",
        )
    chosen = _chosen(ctx, server, args.tool)
    for tool in chosen:
        if tool.problem or not tool.present:
            raise Conflict(
                f"`{tool.name}` cannot be a command: {tool.problem or 'it is not on the list any more'}.",
                code="mcp_tool_unusable",
                param="tool",
            )
        unknown = set(args.sinks or ()) - {"*", *tool.schema.get("properties", {})}
        if unknown:
            raise InvalidRequest(
                f"`{tool.name}` has no argument {min(unknown)[:80]!r}.",
                code="invalid_argument",
                param="sinks",
            )
        said = named(NamedTool(tool.name, tool.description, tool.schema, tool.hints))
        effect, sinks = (said.effect, said.sinks) if args.as_named else (tool.effect, tool.sinks)
        sinks = sinks if args.sinks is None else tuple(args.sinks)
        store.allow(ctx.hub, tool, digest=tool.digest, effect=args.effect or effect, sinks=sinks)
    return Allowed(server=server.name, tools=[tool.command for tool in chosen])


@command(
    "mcp.forbid",
    effect="write",
    resource="",
    permission="admin",
    summary="Take tools of an outside MCP server from the commands.",
    positional=("name", "tool"),
    examples=[Example("hub mcp forbid lab delete_file", "Counts before the next command")],
)
def mcp_forbid(ctx: Context, args: ForbidArgs) -> Allowed:
    """Calls that still wait in the outbox are not sent either."""
    server = _get(ctx, args.name)
    chosen = [tool for tool in _chosen(ctx, server, args.tool, every=True) if tool.allowed_digest]
    for tool in chosen:
        store.allow(ctx.hub, tool, digest="", effect=tool.effect, sinks=tool.sinks)
    return Allowed(server=server.name, tools=[tool.command for tool in chosen])


@command(
    "mcp.remove",
    effect="irreversible",
    resource="",
    sinks=("name",),
    permission="admin",
    summary="Forget an outside MCP server, its token and what was allowed.",
    positional=("name",),
    examples=[Example("hub mcp remove lab", "Its tools are no commands any more; its calls stay on record")],
)
def mcp_remove(ctx: Context, args: NameArgs) -> Removed:
    """Calls that still wait in the outbox are not sent."""
    server = _get(ctx, args.name)
    job_store.cancel_live(ctx.hub, REFRESH, server.id)
    return Removed(name=server.name, tools=store.delete_server(ctx.hub, server))


def _target(text: str) -> tuple[str, list[str]]:
    """URL or words of a command. Raises: InvalidRequest."""
    target = text.strip()
    if "://" in target.split(" ", 1)[0]:
        try:
            parts = urlsplit(target)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable, parts = False, urlsplit("")
        if not usable or not _VISIBLE.fullmatch(target) or "@" in parts.netloc or parts.fragment:
            raise InvalidRequest(
                "`target` must be http(s)://host[:port]/path without user or fragment, or a command.",
                code="invalid_url",
                param="target",
            )
        return target, []
    try:
        words = shlex.split(target)
    except ValueError as error:
        raise InvalidRequest(f"`target` is no command: {error}.", param="target") from error
    if not words:
        raise InvalidRequest("`target` is a URL or a command.", param="target")
    return "", words


def _chosen(ctx: Context, server: Server, named: list[str], *, every: bool = False) -> list[Tool]:
    """The named tools, or all that can be commands (`every` = all there are). Raises: NotFound, Conflict."""
    there = {tool.name: tool for tool in store.list_tools(ctx.hub, server.org_id, server_id=server.id)}
    for name in named:
        if name not in there:
            raise NotFound(
                f"{server.name!r} has no tool {name[:80]!r}.",
                code="mcp_tool_not_found",
                param="tool",
                hint=f"See `hub mcp show {server.name}`.",
            )
    if named:
        return [there[name] for name in dict.fromkeys(named)]
    chosen = [tool for tool in there.values() if every or (not tool.problem and tool.present)]
    if not chosen and not every:
        raise Conflict(
            f"{server.name!r} has no tool that could be a command yet.",
            code="no_tools",
            hint=f"See `hub mcp show {server.name}`, or `hub mcp refresh {server.name}`.",
        )
    return chosen


def _get(ctx: Context, name: str) -> Server:
    return store.get_server(ctx.hub, ctx.principal.org_id, name)


def _asked(ctx: Context, server: Server) -> ServerAdded:
    arguments = {"org": server.org_id, "server": server.id}
    job = job_store.enqueue(ctx.hub, REFRESH, subject=server.id, arguments=arguments)
    return ServerAdded(server=_view(ctx, server), job=job.id)


def _view(ctx: Context, server: Server) -> ServerView:
    found = store.list_tools(ctx.hub, server.org_id, server_id=server.id)
    return ServerView(
        id=server.id,
        name=server.name,
        address=server.address,
        token=f"…{server.token[-4:]}" if len(server.token) > 8 else "…" if server.token else "",
        timeout_s=server.timeout_ms / 1000,
        tools=sum(tool.present for tool in found),
        allowed=sum(tool.state == "allowed" for tool in found),
        problem=server.problem,
        seen_at_ms=server.seen_at_ms,
    )


def _tool_view(tool: Tool) -> ToolView:
    assert tool.effect in DECLARABLE
    return ToolView(
        name=tool.name,
        command=tool.command,
        state=tool.state,
        effect=tool.effect,
        sinks=list(tool.sinks),
        problem=tool.problem,
        description=tool.description,
        hints=tool.hints,
        digest=tool.digest,
    )
