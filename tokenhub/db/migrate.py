"""Bring both databases to the newest schema, under an exclusive lock, loudly.

Several processes may start at once: one migrates, the others wait and then find nothing to do.
SQLite files are copied to `<name>.db.before-<revision>` before an existing schema is changed.
"""

import fcntl
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from tokenhub.config import Settings
from tokenhub.db.engine import Database, Name
from tokenhub.db.failures import DatabaseUnusable, in_one_sentence

_HERE = Path(__file__).parent / "migrations"
_LOCK_KEY = 0x746F6B656E  # "token"


def migrate(database: Database, settings: Settings) -> list[str]:
    """Apply what is missing; returns `"<database>: <old> -> <new>"` for each database that changed.

    Raises: DatabaseUnusable.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    changed: list[str] = []
    with _exclusive(settings), in_one_sentence():
        for name in ("hub", "ledger"):
            changed += _migrate_one(database, settings, name)
    return changed


def pending(database: Database) -> dict[str, tuple[str | None, str | None]]:
    """Databases that are not at the newest schema: name -> (current revision, newest revision).

    Raises: DatabaseUnusable.
    """
    result: dict[str, tuple[str | None, str | None]] = {}
    for name in ("hub", "ledger"):
        head = ScriptDirectory.from_config(_config(name)).get_current_head()
        with in_one_sentence(), database.engine(name).connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        if current != head:
            result[name] = (current, head)
    return result


def _migrate_one(database: Database, settings: Settings, name: Name) -> list[str]:
    config = _config(name)
    head = ScriptDirectory.from_config(config).get_current_head()
    with database.engine(name).begin() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {name}"))
        current = MigrationContext.configure(connection).get_current_revision()
        if current == head:
            return []
        if current is not None and database.dialect == "sqlite":
            _backup(settings.home / f"{name}.db", current)
        _upgrade(config, connection)
    return [f"{name}: {current or 'empty'} -> {head}"]


def _upgrade(config: Config, connection: Connection) -> None:
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseUnusable(
            f"The database is not one that this version knows ({error}); a newer version may have made it."
        ) from error


def _config(name: Name) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE / name))
    config.set_main_option("path_separator", "os")
    return config


def _backup(path: Path, revision: str) -> None:
    target = path.with_name(f"{path.name}.before-{revision}")
    with sqlite3.connect(path) as source, sqlite3.connect(target) as copy:
        source.backup(copy)


@contextmanager
def _exclusive(settings: Settings) -> Generator[None, None, None]:
    with (settings.home / "migrate.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
