"""The way in for HTTP behind the gateway: lists the routers and runs them on a Unix socket; no logic."""

import contextlib
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable

import uvicorn
from fastapi import APIRouter, FastAPI

from tokenhub import __version__
from tokenhub.assistant.api import build_router
from tokenhub.bootstrap.app import build_assistant
from tokenhub.bootstrap.commands import registry
from tokenhub.bootstrap.logs import configure_logs
from tokenhub.commands.api import PlainCalls, router_of
from tokenhub.commands.mcp.route import mcp_router
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.http import sessions
from tokenhub.http.console_files import console_router
from tokenhub.http.conventions import install
from tokenhub.http.state import HttpState

SWITCH_S = 0.001
"""A command gives the interpreter away at each statement; it is not to wait five milliseconds each time to get it back."""


def run_app(
    settings: Settings,
    *,
    listener: socket.socket | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT. `listener`: a listening socket inherited from the supervisor."""
    configure_logs(settings)
    sys.setswitchinterval(SWITCH_S)
    if listener is None:
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        settings.app_socket.unlink(missing_ok=True)  # of an app that was killed
    database = Database(settings)
    try:
        config = uvicorn.Config(
            build_app(settings, database, on_ready=on_ready),
            uds=str(settings.app_socket),
            log_config=None,
            access_log=False,
            server_header=False,  # the gateway sends the date, nobody needs the rest
            date_header=False,
            timeout_graceful_shutdown=3,
            timeout_keep_alive=120,
            proxy_headers=True,
            forwarded_allow_ips="*",  # only the gateway reaches the socket
        )
        os.umask(0o077)
        uvicorn.Server(config).run(None if listener is None else [listener])
    finally:
        database.close()


def build_app(
    settings: Settings, database: Database, *, on_ready: Callable[[], None] = lambda: None
) -> FastAPI:
    """The composed app. The console's files, a catch-all, come last. on_ready: called when it has started."""
    assistant = build_assistant(settings, database)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        await assistant.runner.start()
        on_ready()
        try:
            yield
        finally:
            await assistant.runner.close()

    app = FastAPI(
        title="Token Hub",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    commands = registry()
    app.add_middleware(PlainCalls, registry=commands)  # within the conventions
    install(app, HttpState(database=database, settings=settings))
    assistant_router = build_router(assistant, default_model=settings.model, currency=settings.currency)
    for router in (
        _health(),
        sessions.router,
        router_of(commands),
        mcp_router(commands),
        assistant_router,
        console_router(),
    ):
        app.include_router(router)
    return app


def _health() -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/api/health", summary="The app answers")
    def health() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    return router
