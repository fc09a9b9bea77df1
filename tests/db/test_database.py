"""Both databases: migrations, transactions and revision counters, on both engines."""

import pytest
from sqlalchemy import text

from tokenhub.config import Settings
from tokenhub.db import revision
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate, pending


def test_migrate_is_complete_and_idempotent(settings: Settings, database: Database) -> None:
    assert pending(database) == {}
    assert migrate(database, settings) == []


def test_bump_counts_and_rolls_back(database: Database) -> None:
    with database.write("hub") as connection:
        revision.bump(connection)
    with pytest.raises(RuntimeError), database.write("hub") as connection:
        revision.bump(connection)
        raise RuntimeError
    with database.read("hub") as connection:
        assert revision.current(connection) == 1
    with database.read("ledger") as connection:
        assert revision.current(connection) == 0


def test_reader_sees_a_stable_snapshot_while_a_writer_commits(database: Database) -> None:
    with database.read("hub") as reader:
        before = revision.current(reader)
        with database.write("hub") as writer:
            revision.bump(writer)
        if database.dialect == "sqlite":
            assert revision.current(reader) == before
        reader.execute(text("SELECT 1"))
