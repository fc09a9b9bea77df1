"""A hub for working on the console: the real app on a scripted upstream, without engine, gateway or ledger.

    PYTHONPATH=. python tests/browser/dev_hub.py 8899

prints a sign-in link. The tests of this folder use the whole hub instead (`conftest.py`).
"""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

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
from tokenhub.db.migrate import migrate
from tokenhub.http.console_files import console_router
from tokenhub.http.conventions import install
from tokenhub.http.sessions import router as session_router
from tokenhub.http.state import HttpState
from tokenhub.identity.first_run import ensure_first_run
from tokenhub.identity.sessions import create_login_token
from tokenhub.kernel.clock import now_ms


async def main(port: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="th-dev-"))
    settings = Settings(home=home, database_url="", port=port)
    database = Database(settings)
    migrate(database, settings)
    with database.write("hub") as connection:
        first = ensure_first_run(connection, settings)
        assert first is not None
        links = [
            create_login_token(connection, org_id=first.org_id, user_id=first.user_id, at_ms=now_ms())
            for _ in range(8)
        ]
    script = Script()
    upstream = uvicorn.Server(uvicorn.Config(create_upstream(script), port=port + 1, log_level="warning"))
    books = PaperBooks(script)
    keys = DelegatedKeys(database)
    url = f"http://127.0.0.1:{port + 1}"
    runner = Runner(database, gateway_url=lambda: url, credentials=keys, books=books, process="dev")
    assistant = Assistant(database, runner, gateway_url=lambda: url, credentials=keys, books=books)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await runner.start()
        yield
        await runner.close()

    app = FastAPI(lifespan=lifespan)
    install(app, HttpState(database, settings))
    for router in (
        session_router,
        build_router(assistant, default_model="paper-7b", currency="USD"),
        console_router(),
    ):
        app.include_router(router)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    print(f"key {first.admin_key}", flush=True)
    for link in links:
        print(f"http://127.0.0.1:{port}/login#token={link}", flush=True)
    await asyncio.gather(upstream.serve(), server.serve())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8899))
