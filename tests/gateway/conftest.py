"""A whole gateway in the test's own process: real databases, real sockets, a scripted upstream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import uvloop
from sqlalchemy import insert, text

from tests.databases import migrated
from tests.gateway.client import Answer, Client, request
from tests.gateway.upstream import ScriptedUpstream
from tokenhub.budgets.store import create_limit
from tokenhub.budgets.types import Limit, Window
from tokenhub.config import Settings
from tokenhub.db import revision
from tokenhub.db.engine import Database
from tokenhub.identity.first_run import ensure_first_run
from tokenhub.identity.keys import KeySpec, create_key
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.ids import new_id
from tokenhub.ledger.types import Unit
from tokenhub.maas.deployments.store import create_provider_deployment
from tokenhub.maas.deployments.tables import deployments, providers
from tokenhub.maas.gateway.connection import ClientConnection
from tokenhub.maas.gateway.server import GatewayServer, listen

KEY = "sk-test"
ALL_KINDS = ["chat", "completion", "embedding"]


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Any]:
    """These tests run on the loop that the gateway runs on."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Hub:
    """A running gateway and what a test does with it."""

    settings: Settings
    database: Database
    server: GatewayServer
    port: int
    upstream: ScriptedUpstream
    key_id: str
    org_id: str
    user_id: str

    async def ask(self, *args: Any, **options: Any) -> Answer:
        """One request on a connection of its own."""
        async with await Client.open(self.port) as client:
            client.send(request(*args, **options))
            return await client.answer(method=options.get("method", "POST"))

    async def open(self) -> Client:
        return await Client.open(self.port)

    async def settled(self) -> list[dict[str, Any]]:
        """Usage events in the books, once everything captured is settled."""
        for _ in range(400):
            if self.server.clerk.stats().backlog == 0:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        with self.database.read("ledger") as connection:
            rows = connection.execute(text("SELECT * FROM usage_event ORDER BY at_ms, request_id")).mappings()
            return [dict(row) for row in rows]

    async def held(self) -> int:
        """Tokens held by requests in flight, by this process's own count: 0 when all is closed."""
        await self.settled()
        return sum(1 for hold in self.server.clerk._drafted.values() if not hold.closed)

    async def buckets(self) -> list[dict[str, Any]]:
        await self.settled()
        with self.database.read("ledger") as connection:
            return [dict(row) for row in connection.execute(text("SELECT * FROM bucket")).mappings()]

    async def limit(
        self, cap: int, *, unit: Unit = Unit.TOKENS, name: str = "cap", window: Window | None = None
    ) -> str:
        """Put a hard limit on the key and wait until the gateway knows it."""
        limit_id = new_id("limit")
        with self.database.write("ledger") as connection:
            limit = Limit(limit_id, "key", self.key_id, unit, cap, True, window or Window(), None, name)
            create_limit(connection, limit, now_ms=now_ms())
        await self.server.keeper.check()
        return limit_id


MakeHub = Callable[..., Awaitable[Hub]]


def seed(database: Database, settings: Settings, port: int, **options: Any) -> tuple[str, str, str]:
    """Key `sk-test` and the models m, m2 (two deployments) at the scripted upstream. -> key, org, user ids."""
    at_ms = now_ms()
    with database.write("hub") as hub:
        first = ensure_first_run(hub, settings)
        assert first is not None
        spec = KeySpec(first.org_id, "test", frozenset({"inference"}), user_id=first.user_id)
        key = create_key(hub, spec, at_ms=at_ms, secret=KEY)
        add_provider(hub, port, models=["m"], **options)
        revision.bump(hub)
    return key.key_id, first.org_id, first.user_id


def add_provider(
    hub: Any, port: int, *, models: list[str], url: str = "", context_tokens: int = 8192, **times: int
) -> None:
    provider_id = new_id("prov")
    hub.execute(
        insert(providers).values(
            id=provider_id,
            name=provider_id,
            base_url=url or f"http://127.0.0.1:{port}/v1",
            api_key="sk-up",
            connect_timeout_ms=times.get("connect", 1000),
            first_token_timeout_ms=times.get("first", 5000),
            idle_timeout_ms=times.get("idle", 5000),
            created_at_ms=now_ms(),
        )
    )
    for model in models:
        create_provider_deployment(
            hub, provider_id, model=model, upstream_model="up", context_tokens=context_tokens, kinds=ALL_KINDS
        )
    revision.bump(hub)


@asynccontextmanager
async def running(settings: Settings, **options: Any) -> AsyncIterator[Hub]:
    """A hub on fresh databases."""
    adapters = options.pop("adapters", {})
    counter = options.pop("prompt_counter", None)
    adapter = options.pop("adapter", "")
    upstream = ScriptedUpstream()
    upstream_port = await upstream.start(ssl=options.pop("ssl", None))
    database = migrated(settings)
    key_id, org_id, user_id = seed(database, settings, upstream_port, **options)
    if adapter:
        with database.write("hub") as hub:
            own = {
                "provider_id": None,
                "base_url": f"http://127.0.0.1:{upstream_port}/v1",
                "engine_boot": "boot_1",
            }
            hub.execute(deployments.update().values(adapter=adapter, **own))
    loop = asyncio.get_running_loop()
    server = GatewayServer(settings, database, index=0, adapters=adapters, prompt_counter=counter, loop=loop)
    await server.start()
    sock = listen("127.0.0.1", 0)
    listener = await loop.create_server(lambda: ClientConnection(server), sock=sock)
    try:
        yield Hub(settings, database, server, sock.getsockname()[1], upstream, key_id, org_id, user_id)
    finally:
        listener.close()
        if not server.draining:
            await server.drain(0.3)
        await upstream.stop()
        database.close()


@pytest.fixture
async def hub(sqlite_settings: Settings) -> AsyncIterator[Hub]:
    """A running hub on SQLite with short time-outs."""
    short = {"header_timeout_s": 1.0, "body_timeout_s": 1.0, "write_timeout_s": 1.0, "hold_wait_s": 0.3}
    async with running(replace(sqlite_settings, **short)) as made:
        yield made
