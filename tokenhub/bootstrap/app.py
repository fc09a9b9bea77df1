"""The app role: commands, sessions, assistant and console files on a Unix socket behind the gateway."""

import contextlib
import json
import os
from collections.abc import AsyncGenerator, Callable

import uvicorn
from fastapi import FastAPI

from tokenhub.app import create_app
from tokenhub.assistant.api import build_router
from tokenhub.assistant.books import LedgerBooks
from tokenhub.assistant.credentials import DelegatedKeys
from tokenhub.assistant.runs import Runner
from tokenhub.assistant.service import Assistant
from tokenhub.bootstrap.commands import registry
from tokenhub.bootstrap.logs import configure_logs
from tokenhub.commands.api import router_of
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.http import sessions
from tokenhub.http.console_files import console_router
from tokenhub.http.state import HttpState
from tokenhub.kernel.errors import Unavailable


def run_app(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logs(settings)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    settings.app_socket.unlink(missing_ok=True)  # of an app that was killed
    database = Database(settings)
    try:
        config = uvicorn.Config(
            build_app(settings, database),
            uds=str(settings.app_socket),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            timeout_keep_alive=120,
            proxy_headers=True,
            forwarded_allow_ips="*",  # only the gateway reaches the socket
        )
        os.umask(0o077)
        uvicorn.Server(config).run()
    finally:
        database.close()


def build_app(settings: Settings, database: Database) -> FastAPI:
    """The composed app."""
    assistant = _assistant(settings, database)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        await assistant.runner.start()
        try:
            yield
        finally:
            await assistant.runner.close()

    return create_app(
        HttpState(database=database, settings=settings),
        routers=[
            sessions.router,
            router_of(registry()),
            build_router(
                assistant,
                default_model=settings.model,
                currency=settings.currency,
            ),
            console_router(),
        ],
        lifespan=lifespan,
    )


def _assistant(settings: Settings, database: Database) -> Assistant:
    books = LedgerBooks(database)
    credentials = DelegatedKeys(database)
    gateway_url = gateway_url_of(settings)
    runner = Runner(
        database,
        gateway_url=gateway_url,
        credentials=credentials,
        books=books,
        process=f"{os.uname().nodename}:{settings.home}",  # the same in its next life, which ends its runs
    )
    return Assistant(database, runner, gateway_url=gateway_url, credentials=credentials, books=books)


def gateway_url_of(settings: Settings) -> Callable[[], str]:
    """Where this machine's gateway listens, as `hub up` wrote it down; read at each call, because it may move."""

    def url() -> str:
        try:
            written = json.loads((settings.run_dir / "hub.json").read_text())
        except FileNotFoundError:
            if settings.port == 0:
                raise Unavailable("No gateway runs on this machine.") from None
            return f"http://127.0.0.1:{settings.port}"
        return str(written["url"])

    return url
