"""Statements on outside servers, their tools and the calls to them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from tokenhub.agents.mcp.schema import Unusable, adopt
from tokenhub.agents.mcp.tables import calls, servers, tools
from tokenhub.agents.mcp.types import Json, Seen, Server, State, Tool
from tokenhub.kernel.errors import Conflict, NotFound
from tokenhub.kernel.ids import new_id

DESCRIPTION_MAX = 4_000
_TOOL_NAME_MAX = 64


def insert_server(
    connection: Connection,
    *,
    org_id: str,
    name: str,
    url: str,
    command: Sequence[str],
    token: str,
    timeout_ms: int,
    creator_id: str,
    at_ms: int,
) -> Server:
    """A new server, not yet seen. Raises: Conflict for a taken name."""
    mine = (servers.c.org_id == org_id) & (servers.c.name == name)
    if connection.execute(select(servers.c.id).where(mine)).first() is not None:
        raise Conflict(f"There is an MCP server {name!r} already.", code="name_taken", param="name")
    server_id = new_id("mcp")
    connection.execute(
        insert(servers).values(
            id=server_id,
            org_id=org_id,
            name=name,
            url=url,
            command=json.dumps(list(command)),
            token=token,
            timeout_ms=timeout_ms,
            digest="",
            problem="",
            seen_at_ms=None,
            creator_id=creator_id,
            created_at_ms=at_ms,
        )
    )
    return get_server(connection, org_id, server_id)


def get_server(connection: Connection, org_id: str, named: str) -> Server:
    """One server of the organisation by name or id. Raises: NotFound."""
    here = (servers.c.org_id == org_id) & ((servers.c.name == named) | (servers.c.id == named))
    row = connection.execute(select(servers).where(here)).mappings().first()
    if row is None:
        raise NotFound(
            f"There is no MCP server {named!r}.",
            code="mcp_server_not_found",
            param="name",
            hint="See `hub mcp list`.",
        )
    return _server(row)


def list_servers(connection: Connection, org_id: str) -> list[Server]:
    """Servers of the organisation by name."""
    query = select(servers).where(servers.c.org_id == org_id).order_by(servers.c.name)
    return [_server(row) for row in connection.execute(query).mappings()]


def delete_server(connection: Connection, server: Server) -> int:
    """Forget a server and its tools; calls stay. Returns how many tools it had."""
    gone = connection.execute(delete(tools).where(tools.c.server_id == server.id)).rowcount
    connection.execute(delete(servers).where(servers.c.id == server.id))
    return gone


def list_tools(connection: Connection, org_id: str, *, server_id: str = "") -> list[Tool]:
    """Tools of one server or of all of the organisation, by name."""
    query = select(tools, servers.c.name.label("server")).join(servers, servers.c.id == tools.c.server_id)
    query = query.where(servers.c.org_id == org_id)
    if server_id:
        query = query.where(servers.c.id == server_id)
    rows = connection.execute(query.order_by(servers.c.name, tools.c.name)).mappings()
    return [_tool(row) for row in rows]


def find_tool(connection: Connection, org_id: str, server: str, name: str) -> Tool | None:
    """One tool of a server of the organisation, whatever its state."""
    query = select(tools, servers.c.name.label("server")).join(servers, servers.c.id == tools.c.server_id)
    here = (servers.c.org_id == org_id) & (servers.c.name == server) & (tools.c.name == name)
    row = connection.execute(query.where(here)).mappings().first()
    return None if row is None else _tool(row)


def digest_of(seen: Seen) -> str:
    """sha256 of everything that a server says of a tool."""
    said = [seen.name, seen.description, seen.schema, seen.hints]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def record(connection: Connection, server: Server, seen: Sequence[Seen], *, at_ms: int) -> None:
    """Keep a tool list as it was just seen; what an admin allowed stays as it was allowed."""
    known = {tool.name: tool for tool in list_tools(connection, server.org_id, server_id=server.id)}
    whole = hashlib.sha256("".join(sorted(map(digest_of, seen))).encode()).hexdigest()
    for one in seen:
        values = _as_seen(one)
        old = known.pop(one.name, None)
        if old is None:
            fresh = {"id": new_id("mcptool"), "server_id": server.id, "name": one.name, "allowed_digest": ""}
            declared = {"effect": "irreversible", "sinks": '["*"]'}
            connection.execute(insert(tools).values(**fresh, **declared, **values))
        elif old.digest != values["digest"] or not old.present:
            connection.execute(update(tools).where(tools.c.id == old.id).values(**values))
    for old in known.values():
        connection.execute(update(tools).where(tools.c.id == old.id).values(present=0))
    told = {"digest": whole, "problem": "", "seen_at_ms": at_ms}
    connection.execute(update(servers).where(servers.c.id == server.id).values(**told))


def record_problem(connection: Connection, server_id: str, problem: str) -> None:
    """Keep why the last contact failed."""
    connection.execute(update(servers).where(servers.c.id == server_id).values(problem=problem[:500]))


def allow(connection: Connection, tool: Tool, *, digest: str, effect: str, sinks: Sequence[str]) -> None:
    """An admin's yes to exactly this digest (empty = no longer), with what it does declared."""
    values = {"allowed_digest": digest, "effect": effect, "sinks": json.dumps(list(sinks))}
    connection.execute(update(tools).where(tools.c.id == tool.id).values(**values))


def insert_call(connection: Connection, values: Mapping[str, Any]) -> RowMapping:
    """Queue a call."""
    call_id = new_id("call")
    fresh = {"id": call_id, "state": "queued", "result": "{}", "error": "", "sent_at_ms": None}
    connection.execute(insert(calls).values(**{**fresh, "ended_at_ms": None, **values}))
    return get_call(connection, call_id)


def get_call(connection: Connection, call_id: str) -> RowMapping:
    """One call. Raises: NotFound."""
    row = connection.execute(select(calls).where(calls.c.id == call_id)).mappings().first()
    if row is None:
        raise NotFound(f"There is no call {call_id[:80]!r}.", code="call_not_found", param="call")
    return row


def list_calls(connection: Connection, org_id: str, actor: str | None, *, limit: int) -> list[RowMapping]:
    """The newest calls of an organisation, of one caller or of all."""
    query = select(calls).where(calls.c.org_id == org_id).order_by(calls.c.id.desc()).limit(limit)
    if actor is not None:
        query = query.where(calls.c.actor == actor)
    return list(connection.execute(query).mappings())


def due_calls(connection: Connection, *, at_ms: int, hold_ms: int, limit: int) -> list[str]:
    """Ids of calls that may leave: reads at once, the rest when they can no longer be withdrawn."""
    ripe = (calls.c.effect == "read") | (calls.c.created_at_ms <= at_ms - hold_ms)
    query = select(calls.c.id).where(calls.c.state == "queued", ripe).order_by(calls.c.id).limit(limit)
    return list(connection.execute(query).scalars())


def mark_sent(connection: Connection, call_id: str, *, at_ms: int) -> bool:
    """Take a queued call, once and for all: it is sent at most once. False if somebody else took it."""
    here = (calls.c.id == call_id) & (calls.c.state == "queued")
    return connection.execute(update(calls).where(here).values(state="sent", sent_at_ms=at_ms)).rowcount == 1


def end_call(
    connection: Connection,
    call_id: str,
    *,
    of: Literal["queued", "sent"],
    state: State,
    result: Json,
    error: str,
    at_ms: int,
) -> bool:
    """Write down how a call that was queued or sent ended; False if it is not so (any more)."""
    here = (calls.c.id == call_id) & (calls.c.state == of)
    values = {"state": state, "result": json.dumps(result, ensure_ascii=False), "error": error[:1000]}
    return connection.execute(update(calls).where(here).values(**values, ended_at_ms=at_ms)).rowcount == 1


def lost_calls(connection: Connection, *, at_ms: int, grace_ms: int) -> list[str]:
    """Ids of calls that were sent so long ago that whoever waited for the answer is dead."""
    timeout_ms = func.coalesce(servers.c.timeout_ms, 600_000)
    lost = (calls.c.state == "sent") & (calls.c.sent_at_ms + timeout_ms + grace_ms < at_ms)
    query = select(calls.c.id).outerjoin(servers, servers.c.id == calls.c.server_id).where(lost).limit(100)
    return list(connection.execute(query).scalars())


def arguments_of(row: RowMapping) -> Json:
    """The arguments of a call."""
    return json.loads(row["arguments"])


def _as_seen(seen: Seen) -> Json:
    problem, schema = "", {}
    try:
        schema = adopt(seen.schema)
    except Unusable as error:
        problem = str(error)
    legal = seen.name.replace("_", "").replace("-", "").replace(".", "")
    if not (legal.isascii() and legal.isalnum()) or len(seen.name) > _TOOL_NAME_MAX:
        problem = "its name has other signs than letters, digits, `_`, `-` and `.`, or is too long"
    return {
        "description": seen.description[:DESCRIPTION_MAX],
        "schema": json.dumps(schema, ensure_ascii=False),
        "hints": json.dumps(dict(seen.hints), ensure_ascii=False),
        "problem": problem,
        "digest": digest_of(seen),
        "present": 1,
    }


def _server(row: RowMapping) -> Server:
    return Server(
        id=row["id"],
        org_id=row["org_id"],
        name=row["name"],
        url=row["url"],
        command=tuple(json.loads(row["command"])),
        token=row["token"],
        timeout_ms=row["timeout_ms"],
        digest=row["digest"],
        problem=row["problem"],
        seen_at_ms=row["seen_at_ms"],
        created_at_ms=row["created_at_ms"],
    )


def _tool(row: RowMapping) -> Tool:
    return Tool(
        id=row["id"],
        server_id=row["server_id"],
        server=row["server"],
        name=row["name"],
        description=row["description"],
        schema=json.loads(row["schema"]),
        hints=json.loads(row["hints"]),
        problem=row["problem"],
        digest=row["digest"],
        allowed_digest=row["allowed_digest"],
        effect=row["effect"] if row["effect"] in ("read", "write") else "irreversible",
        sinks=tuple(json.loads(row["sinks"])),
        present=bool(row["present"]),
    )
