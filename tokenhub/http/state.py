"""What every route of the app can reach: databases, settings, clock."""

from dataclasses import dataclass, field
from typing import cast

from fastapi import FastAPI, Request

from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class HttpState:
    """Set once by `conventions.install`."""

    database: Database
    settings: Settings
    clock: Clock = field(default_factory=SystemClock)


def set_state(app: FastAPI, state: HttpState) -> None:
    """Keep the state on the app."""
    app.state.hub = state


def state_of(request: Request) -> HttpState:
    """The state of the app that serves this request."""
    return cast(HttpState, request.app.state.hub)
