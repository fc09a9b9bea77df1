"""The MCP server through the SDK's own client, over HTTP and stdio, and with input that no client would send."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.work.copies import world_in
from tests.work.world import World
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.mcp.desk import command_name, tool_name
from tokenhub.commands.mcp.route import mcp_router
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.http.conventions import install
from tokenhub.http.state import HttpState


@pytest.fixture
def world(database: Database, settings: Settings) -> World:
    return world_in(database, settings)


@pytest.fixture
def app(world: World) -> FastAPI:
    made = FastAPI()
    install(made, HttpState(world.database, world.settings))
    made.include_router(mcp_router(registry()))
    return made


@asynccontextmanager
async def connected(app: FastAPI, key: str, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), headers=headers) as http,
        Client(streamable_http_client("http://hub/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def envelope(result: Any) -> dict[str, Any]:
    found = result.structured_content
    assert json.loads(result.content[0].text)["status"] == found["status"]
    assert result.is_error == (found["error"] is not None)
    return found


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_finds_describes_and_calls(app: FastAPI, world: World, mode: str) -> None:
    async with connected(app, world.keys["admin"], mode) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(listed)[:3] == ["search", "describe", "call"]
        assert listed["search"].annotations.read_only_hint and listed["call"].annotations.destructive_hint
        assert "task comment|create" in (listed["search"].description or "")
        found = envelope(await client.call_tool("search", {"text": "make a task"}))
        assert "task.create" in [item["name"] for item in found["data"]["items"]]
        told = envelope(await client.call_tool("describe", {"name": "task.create"}))
        assert told["data"]["effect"] == "write" and "title" in told["data"]["arguments"]["properties"]
        call = {"command": "task.create", "arguments": {"title": "By MCP"}}
        plan = envelope(await client.call_tool("call", {**call, "dry_run": True}))
        assert plan["dry_run"] and plan["changes"][0]["table"] == "tasks"
        first = envelope(await client.call_tool("call", {**call, "idempotency_key": "k1"}))
        again = envelope(await client.call_tool("call", {**call, "idempotency_key": "k1"}))
        assert first["ok"] and again["replayed"] and again["data"]["id"] == first["data"]["id"]


async def test_pinned_commands_are_tools_of_their_own(app: FastAPI, world: World) -> None:
    async with connected(app, world.keys["ana"]) as client:
        for name in ("task.create", "task.list", "message.send"):
            assert envelope(
                await client.call_tool("call", {"command": "mcp.pin", "arguments": {"command": name}})
            )["ok"]
        await client.call_tool("call", {"command": "mcp.unpin", "arguments": {"command": "message.send"}})
        listed = {tool.name: tool for tool in (await client.list_tools(cache_mode="refresh")).tools}
        assert list(listed)[3:] == ["task_create", "task_list"]
        assert not listed["task_create"].annotations.read_only_hint
        assert not listed["task_create"].annotations.destructive_hint
        assert listed["task_list"].annotations.read_only_hint
        assert {"title", "dry_run"} <= set(listed["task_create"].input_schema["properties"])
        made = envelope(await client.call_tool("task_create", {"title": "Short way", "idempotency_key": "k"}))
        assert made["ok"] and made["data"]["creator"] == "ana"
    async with connected(app, world.keys["bob"]) as client:
        assert len((await client.list_tools()).tools) == 3, "pins are the caller's own"


async def test_an_agent_acts_within_its_grant_and_waits_for_a_person(app: FastAPI, world: World) -> None:
    revoke = {"command": "key.revoke", "arguments": {"key": world.ids["turned"]}}
    async with connected(app, world.keys["agent"]) as client:
        asked = await client.call_tool("call", revoke)
        told = envelope(asked)
        assert told["status"] == "pending" and told["next"] == f"hub gate show {told['data']['gate']}"
        assert not asked.is_error and told["data"]["gate"] in asked.content[0].text
        world.do("admin", "gate.approve", gate=told["data"]["gate"])
        assert envelope(await client.call_tool("call", revoke))["ok"]
        world.do("admin", "agent.stop", agent="helper", reason="enough")
        stopped = envelope(await client.call_tool("call", {"command": "task.list"}))
        assert stopped["error"]["code"] == "agent_stopped"


async def test_what_fails_is_a_tool_error_with_the_envelopes_words(app: FastAPI, world: World) -> None:
    async with connected(app, world.keys["ana"]) as client:
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("call", {"command": "task.creat", "arguments": {}}, "unknown_command"),
            ("call", {"command": "task.create", "arguments": {}}, "invalid_argument"),
            ("call", {"command": "task.create", "arguments": {"title": 7}}, "invalid_argument"),
            ("call", {"command": "task.create", "arguments": "no json"}, "invalid_argument"),
            ("call", {"command": "task.create", "arguments": [1]}, "invalid_argument"),
            ("call", {"command": "task.create", "title": "beside"}, "invalid_argument"),
            (
                "call",
                {"command": "task.create", "arguments": {"title": "x"}, "dry_run": "yes"},
                "invalid_argument",
            ),
            ("call", {"command": "task.show", "arguments": {"task": "x\x00"}}, "invalid_argument"),
            ("call", {"command": ["task.create"]}, "invalid_argument"),
            ("call", {}, "invalid_argument"),
            ("call", {"command": "user.create", "arguments": {"name": "x"}}, "permission_denied"),
            ("call", {"command": "task.list", "idempotency_key": "k" * 300}, "invalid_argument"),
            ("describe", {"name": "none.none"}, "unknown_command"),
            ("search", {"text": 5}, "invalid_argument"),
            ("task_create", {"title": "x", "nonsense": 1}, "invalid_argument"),
            ("nothing", {}, "unknown_command"),
            ("../../etc", {}, "unknown_command"),
            ("", {}, "unknown_command"),
        ]
        for tool, given, code in cases:
            told = envelope(await client.call_tool(tool, given))
            assert told["error"]["code"] == code, (tool, given, told)
        listed = envelope(
            await client.call_tool("call", {"command": "task.list", "arguments": '{"assignee": "ana"}'})
        )
        assert listed["ok"], "arguments that came as text"


def test_the_route_refuses_what_is_no_mcp(app: FastAPI, world: World) -> None:
    key = {"authorization": f"Bearer {world.keys['ana']}"}
    rpc = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    with TestClient(app, base_url="http://hub.test", raise_server_exceptions=False) as client:
        assert client.post("/mcp", json={}).status_code == 401
        assert client.post("/mcp", json={}, headers={"authorization": "Bearer none"}).status_code == 401
        client.cookies.set("th_session", "x" * 40)
        assert client.post("/mcp", json={}, headers={"origin": "http://hub.test"}).status_code == 401
        for method in ("GET", "DELETE", "PUT"):
            refused = client.request(method, "/mcp", headers=key)
            assert refused.status_code == 405 and refused.headers["allow"] == "POST"
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert client.post("/mcp", json=ping, headers={**key, **rpc}).json()["result"] == {}
        hostile: list[bytes] = [
            b"",
            b"{",
            b"[]",
            b"[" * 100_000,
            b"\xff\xfe",
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call","arguments":7}}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}',
            b'{"jsonrpc":"2.0","id":1,"method":"nothing"}',
            b'{"jsonrpc":"1.0","id":{},"method":5}',
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call","arguments":{"command":"task.create",'
            b'"arguments":{"title":"\\ud800"}}}}',
        ]
        for body in hostile:
            answer = client.post("/mcp", content=body, headers={**key, **rpc})
            assert answer.status_code < 500, (body[:60], answer.status_code, answer.text[:200])
        modern = {**key, **rpc, "mcp-protocol-version": "2099-01-01"}
        assert client.post("/mcp", json=ping, headers=modern).status_code == 400
        small = HttpState(world.database, Settings(home=world.settings.home, body_bytes_max=2048))
        app.state.hub = small
        assert client.post("/mcp", content=b"x" * 4096, headers={**key, **rpc}).status_code == 413


async def test_stdio_speaks_as_the_keys_owner(world: World) -> None:
    environment = {
        "PYTHONPATH": ":".join(sys.path),
        "TOKENHUB_HOME": str(world.settings.home),
        "TOKENHUB_DATABASE_URL": world.settings.database_url,
        "TOKENHUB_API_KEY": world.keys["ana"],
    }
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "tokenhub.cli.main", "mcp", "serve"], env=environment
    )
    async with Client(server, read_timeout_seconds=60) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["search", "describe", "call"]
        made = envelope(
            await client.call_tool("call", {"command": "task.create", "arguments": {"title": "By pipe"}})
        )
        assert made["ok"] and made["data"]["creator"] == "ana"
        refused = envelope(
            await client.call_tool("call", {"command": "user.create", "arguments": {"name": "x"}})
        )
        assert refused["error"]["code"] == "permission_denied"


def test_every_command_has_a_tool_name_that_leads_back() -> None:
    names = [declared.name for declared in registry()] + ["mcp.lab.read_file", "mcp.lab-2.a_b_c"]
    assert [command_name(tool_name(name)) for name in names] == names
    assert len({tool_name(name) for name in names}) == len(names)
