"""Statements given to the driver itself, and connections that are kept."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tokenhub.db import revision
from tokenhub.db.changes import Changes
from tokenhub.db.driver import Cursor, sql
from tokenhub.db.engine import Database

OPEN = sql("INSERT INTO owner (id, name, journal, pid, opened_at_ms, batch) VALUES (?, 'n', 'j', 1, 2, 3)")
COUNT = sql("SELECT count(*) FROM owner")


def test_it_is_part_of_the_transaction(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write("ledger") as connection:
        Cursor(connection).many(OPEN, [("a",), ("b",)])
        raise RuntimeError
    with database.write("ledger") as connection:
        cursor = Cursor(connection)
        assert cursor.all(COUNT) == [(0,)]
        cursor.many(OPEN, [])
        assert cursor.run(OPEN, ("a",)) == 1
    with database.read("ledger") as connection:
        assert Cursor(connection).all(COUNT) == [(1,)]


def test_errors_are_those_of_every_other_statement(database: Database) -> None:
    with database.write("ledger") as connection:
        Cursor(connection).run(OPEN, ("a",))
    with pytest.raises(IntegrityError), database.write("ledger") as connection:
        Cursor(connection).run(OPEN, ("a",))
    with pytest.raises(IntegrityError), database.write("ledger") as connection:
        Cursor(connection).many(OPEN, [("b",), ("a",)])
    with database.read("ledger") as connection:
        assert Cursor(connection).all(COUNT) == [(1,)]


def test_a_recorded_transaction_knows_that_it_cannot_tell(database: Database) -> None:
    changes = Changes()
    with database.write("ledger", changes=changes) as connection:
        changes.active = True
        Cursor(connection).run(OPEN, ("a",))
        Cursor(connection).all(COUNT)
        changes.active = False
    assert changes.opaque == ["insert into owner"]


def test_a_kept_connection_goes_on_after_an_error(database: Database) -> None:
    kept = database.keep("ledger")
    with kept.write() as connection:
        Cursor(connection).run(OPEN, ("a",))
    with pytest.raises(IntegrityError), kept.write() as connection:
        Cursor(connection).run(OPEN, ("b",))
        Cursor(connection).run(OPEN, ("a",))
    assert kept.look(COUNT, ()) == [(1,)]
    with kept.write() as connection:
        Cursor(connection).run(OPEN, ("b",))
    assert kept.look(COUNT, ()) == [(2,)]
    kept.close()
    assert kept.look(COUNT, ()) == [(2,)]
    kept.close()


def test_a_kept_connection_hears_of_the_changes_of_others(database: Database) -> None:
    kept = database.keep("ledger")
    assert kept.changed()
    with kept.write() as connection:
        connection.execute(text("UPDATE owner SET batch = 1"))
    if database.dialect == "sqlite":
        assert not kept.changed()
    with database.write("ledger") as connection:
        revision.bump(connection)
    assert kept.changed()
    kept.close()
