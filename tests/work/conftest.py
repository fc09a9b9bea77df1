"""The world, on SQLite and PostgreSQL."""

import pytest

from tests.work.world import World, build
from tokenhub.config import Settings
from tokenhub.db.engine import Database


@pytest.fixture
def world(database: Database, settings: Settings) -> World:
    return build(database, settings)
