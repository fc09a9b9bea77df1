"""An app with the conventions, the session routes and the identity commands, and clients on it."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tokenhub.commands import identity_verbs
from tokenhub.commands.api import PlainCalls, router_of
from tokenhub.commands.registry import Registry
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.http import sessions
from tokenhub.http.conventions import install
from tokenhub.http.state import HttpState
from tokenhub.identity.first_run import FirstRun, ensure_first_run


@pytest.fixture
def first(database: Database, settings: Settings) -> FirstRun:
    with database.write("hub") as connection:
        made = ensure_first_run(connection, settings)
    assert made is not None
    return made


@pytest.fixture(params=["plain", "routed"])
def app(database: Database, settings: Settings, first: FirstRun, request: pytest.FixtureRequest) -> FastAPI:
    """Once as the hub composes it, and once with the routes alone: a plain call says what the routes would."""
    made = FastAPI(docs_url=None, redoc_url=None)
    commands = Registry(identity_verbs)
    if request.param == "plain":
        made.add_middleware(PlainCalls, registry=commands)
    install(made, HttpState(database, settings))
    made.include_router(sessions.router)
    made.include_router(router_of(commands))

    @made.get("/boom")
    def boom() -> None:
        raise RuntimeError("a bug")

    return made


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://hub.test:8080", raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def bearer(first: FirstRun) -> dict[str, str]:
    return {"authorization": f"Bearer {first.admin_key}"}
