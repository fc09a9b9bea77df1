"""A started hub and ways to call commands on it."""

from collections.abc import Callable
from typing import Any

import pytest

from tokenhub.commands import Envelope, identity_verbs
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.registry import Registry
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.identity.first_run import FirstRun, ensure_first_run
from tokenhub.identity.keys import authenticate
from tokenhub.identity.types import Principal

Call = Callable[..., Envelope]


@pytest.fixture
def runtime(database: Database, settings: Settings) -> Runtime:
    return Runtime(database, settings)


@pytest.fixture
def first(database: Database, settings: Settings) -> FirstRun:
    with database.write("hub") as connection:
        made = ensure_first_run(connection, settings)
    assert made is not None
    return made


@pytest.fixture
def admin(database: Database, first: FirstRun) -> Principal:
    with database.read("hub") as connection:
        return authenticate(connection, first.admin_key)


@pytest.fixture
def call(runtime: Runtime, admin: Principal) -> Call:
    registry = Registry(identity_verbs)

    def run(
        name: str, raw: dict[str, Any] | None = None, *, by: Principal = admin, **options: Any
    ) -> Envelope:
        return execute(registry, runtime, by, name, raw or {}, **options)

    return run
