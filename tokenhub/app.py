"""The way in for HTTP behind the gateway: lists the routers, holds no logic."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import APIRouter, FastAPI

from tokenhub import __version__
from tokenhub.http.conventions import install
from tokenhub.http.state import HttpState


def create_app(
    state: HttpState,
    *,
    routers: list[APIRouter],
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
) -> FastAPI:
    """The app with `routers` in this order (the console's files, a catch-all, come last)."""
    app = FastAPI(
        title="Token Hub",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    install(app, state)
    for router in (_health(), *routers):
        app.include_router(router)
    return app


def _health() -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/api/health", summary="The app answers")
    def health() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    return router
