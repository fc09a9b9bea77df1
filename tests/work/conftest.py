"""The world, on SQLite and PostgreSQL."""

import pytest

from tests.work.copies import world_in
from tests.work.world import World
from tokenhub.config import Settings
from tokenhub.db.engine import Database


@pytest.fixture
def world(database: Database, settings: Settings) -> World:
    return world_in(database, settings)
