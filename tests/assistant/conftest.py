"""An app with the assistant on a scripted upstream that stands in for the gateway, signed in as the first admin."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from tests.assistant.paper_books import PaperBooks
from tests.assistant.scripted_upstream import Script, create_upstream
from tokenhub.assistant.api import build_router
from tokenhub.assistant.credentials import DelegatedKeys
from tokenhub.assistant.runs import Runner
from tokenhub.assistant.service import Assistant
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.http.conventions import install
from tokenhub.http.state import HttpState
from tokenhub.identity.first_run import ensure_first_run


@dataclass
class Hub:
    """What a test holds of the running app."""

    database: Database
    script: Script
    books: PaperBooks
    runner: Runner
    assistant: Assistant
    client: httpx.AsyncClient
    upstream_url: str

    async def ask(self, text: str, conversation_id: str | None = None) -> tuple[str, dict[str, str]]:
        """Ask in a (new) conversation; returns its id and the run."""
        if conversation_id is None:
            made = await self.client.post("/api/assistant/conversations", json={"model": "paper-7b"})
            conversation_id = str(made.json()["id"])
        answer = await self.client.post(
            f"/api/assistant/conversations/{conversation_id}/runs", json={"content": text}
        )
        assert answer.status_code == 201, answer.text
        return conversation_id, answer.json()["run"]

    async def ended(self, run_id: str) -> dict[str, str]:
        """Wait for the run's end."""
        async with asyncio.timeout(20):
            while True:
                run = (await self.client.get(f"/api/assistant/runs/{run_id}")).json()
                if run["status"] != "running":
                    return run
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Serve an app on a free port; yields its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


@pytest.fixture
async def hub(settings: Settings, database: Database) -> AsyncIterator[Hub]:
    with database.write("hub") as connection:
        first = ensure_first_run(connection, settings)
    assert first is not None
    script = Script()
    script.rates[""] = 1000.0
    async with serving(create_upstream(script)) as url:
        books = PaperBooks(script)
        keys = DelegatedKeys(database)
        runner = Runner(database, gateway_url=lambda: url, credentials=keys, books=books, process="test")
        assistant = Assistant(database, runner, gateway_url=lambda: url, credentials=keys, books=books)

        @contextlib.asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            await runner.start()
            yield
            await runner.close()

        app = FastAPI(lifespan=lifespan)
        install(app, HttpState(database, settings))
        app.include_router(build_router(assistant, default_model="paper-7b", currency="USD"))
        async with (
            serving(app) as own,
            httpx.AsyncClient(
                base_url=own, headers={"authorization": f"Bearer {first.admin_key}"}, timeout=30
            ) as client,
        ):
            yield Hub(database, script, books, runner, assistant, client, url)
