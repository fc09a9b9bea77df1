"""A hub for working on the console: the real app on a scripted upstream, without engine, gateway or ledger.

    PYTHONPATH=. python tests/browser/dev_hub.py 8899

prints a sign-in link. The tests of this folder use the whole hub instead (`conftest.py`).
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from tests.assistant.scripted_upstream import Script, count_tokens, create_upstream
from tokenhub.app import create_app
from tokenhub.assistant.api import build_router
from tokenhub.assistant.credentials import DelegatedKeys
from tokenhub.assistant.ports import Envelope
from tokenhub.assistant.runs import Runner
from tokenhub.assistant.service import Assistant
from tokenhub.assistant.types import BooksLine
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.http.console_files import console_router
from tokenhub.http.sessions import router as session_router
from tokenhub.http.state import HttpState
from tokenhub.identity.first_run import ensure_first_run
from tokenhub.identity.sessions import create_login_token
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms


class PaperBooks:
    """Lines made up from what the scripted upstream was asked."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._made: dict[str, BooksLine] = {}
        self._sent = 0

    def line(self, request_id: str) -> BooksLine | None:
        if request_id not in self._made:
            body = self._script.requests[int(request_id.rsplit("_", 1)[1]) - 1]
            given = sum(count_tokens(str(message["content"])) for message in body["messages"])
            output = self._script.sent - self._sent
            self._sent = self._script.sent
            cached = given // 3
            self._made[request_id] = BooksLine(
                request_id=request_id,
                transfer_id="tr_" + request_id,
                at_ms=now_ms(),
                key_id="key_dev",
                model=str(body["model"]),
                input_tokens=given - cached,
                cached_tokens=cached,
                output_tokens=output,
                reasoning_tokens=0,
                total_tokens=given + output,
                amount_nano=given * 150 + output * 600,
                currency="USD",
                price_version_id="price_dev",
                finish="stop",
                source="engine",
                details={"hash": "9f2c1be07a5d44d1" * 4},
            )
        return self._made[request_id]

    def mark_applied(self, request_id: str, *, applied_tokens: int, discarded_tokens: int) -> None:
        assert request_id in self._made

    def envelopes(self, principal: Principal) -> list[Envelope]:
        used = 412_345 + self._script.sent
        at = int(time.time() * 1000)
        year = 86_400_000 * 120
        return [
            Envelope("lim_1", "Ada 2026", "user", "tokens", "calendar year", 3_000_000, used, 8_192, True, at + year, at + year // 2),
            Envelope("lim_2", "Team money", "team", "money", "calendar month", 50_000_000_000, 12_345_678_900, 0, False, at + 86_400_000 * 9, None),
        ]


async def main(port: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="th-dev-"))
    settings = Settings(home=home, database_url="", port=port)
    database = Database(settings)
    migrate(database, settings)
    with database.write("hub") as connection:
        first = ensure_first_run(connection, settings)
        assert first is not None
        links = [create_login_token(connection, org_id=first.org_id, user_id=first.user_id, at_ms=now_ms()) for _ in range(8)]
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

    routers = [session_router, build_router(assistant, default_model="paper-7b", currency="USD"), console_router()]
    app = create_app(HttpState(database, settings), routers=routers, lifespan=lifespan)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    print(f"key {first.admin_key}", flush=True)
    for link in links:
        print(f"http://127.0.0.1:{port}/login#token={link}", flush=True)
    await asyncio.gather(upstream.serve(), server.serve())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8899))
