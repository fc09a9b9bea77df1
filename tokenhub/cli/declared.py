"""The registry of every declared command and the composed app, for the faces that run in this process."""

import importlib
import importlib.util
from functools import cache

from fastapi import FastAPI

from tokenhub.commands.api import router_of
from tokenhub.commands.registry import Registry
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.http import sessions
from tokenhub.http.conventions import install
from tokenhub.http.state import HttpState

_MODULES = (
    "tokenhub.commands.identity_verbs",
    "tokenhub.budgets.verbs",
    "tokenhub.metering.verbs",
    "tokenhub.pricing.verbs",
    "tokenhub.clearing.verbs",
    "tokenhub.clearing.simulation_verbs",
    "tokenhub.maas.catalog.verbs",
    "tokenhub.maas.deployments.verbs",
    "tokenhub.maas.deployments.provider_verbs",
)


@cache
def registry() -> Registry:
    """Every command."""
    found = [importlib.import_module(name) for name in _MODULES if importlib.util.find_spec(name)]
    return Registry(*found)


def build_app(settings: Settings, database: Database) -> FastAPI:
    app = FastAPI()
    install(app, HttpState(database, settings))
    app.include_router(sessions.router)
    app.include_router(router_of(registry()))
    return app
