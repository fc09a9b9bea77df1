"""The world, on SQLite and PostgreSQL."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import fresh_postgres
from tests.databases import migrated
from tests.work.bad_input import Faces, changed, faces_of, rows
from tests.work.copies import world_in
from tests.work.world import World
from tokenhub.config import Settings
from tokenhub.db.engine import Database


@pytest.fixture
def world(database: Database, settings: Settings) -> World:
    return world_in(database, settings)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shared_faces(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    """A world, and the ways in, for all of a file's tests that leave it as it is (`unchanged`)."""
    with ExitStack() as stack:
        options: dict[str, Any] = {"home": tmp_path_factory.mktemp("shared") / "var", "database_url": ""}
        if request.param == "postgresql":
            uri, template = (request.getfixturevalue(f"postgres_{name}") for name in ("uri", "template"))
            options["database_url"] = stack.enter_context(fresh_postgres(uri, template))()
        settings = Settings(**options)
        database = migrated(settings)
        stack.callback(database.close)
        yield stack.enter_context(faces_of(world_in(database, settings)))


@pytest.fixture
def unchanged(shared_faces: Faces) -> Iterator[Faces]:
    """The shared world for one test, which fails if any row is not as it was."""
    before = rows(shared_faces.world)
    shared_faces.problems.clear()
    yield shared_faces
    assert changed(before, rows(shared_faces.world)) == []
