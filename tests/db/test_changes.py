"""What a transaction did to rows is told of the rows that it did it to."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Update, bindparam, insert, select, update

from tokenhub.db.changes import Changes
from tokenhub.db.engine import Database
from tokenhub.db.tables import outbox

ROWS = range(1, 5)
numbered = outbox.c


def row(number: int) -> dict[str, Any]:
    """A letter whose two instants are small numbers."""
    texts = {column.name: "" for column in outbox.columns if column.type.python_type is str}
    counts = {column.name: 0 for column in outbox.columns if column.type.python_type is int}
    return {**texts, **counts, "id": f"c{number}", "created_at_ms": number, "send_at_ms": number}


def touched(database: Database, statement: Update, given: Mapping[str, Any]) -> list[str]:
    """Ids of the rows that it changes, as recorded; nothing is kept."""
    changes = Changes()
    with database.write("hub", changes=changes) as connection:
        changes.active = True
        connection.execute(statement, given)
        found = sorted(str(change.key[0]) for change in changes.collect(connection))
        connection.rollback()
    return found


def test_the_same_statement_is_told_with_the_values_of_each_time(database: Database) -> None:
    with database.write("hub") as connection:
        connection.execute(insert(outbox), [row(number) for number in ROWS])
        assert len(connection.execute(select(numbered.id)).all()) == len(ROWS)
    for number in ROWS:
        among = update(outbox).where(numbered.id.in_([f"c{number}", "none"])).values(send_at_ms=99)
        assert touched(database, among, {}) == [f"c{number}"]
    for number in ROWS:  # a value and a condition of one column: their parameters are called alike
        plus = update(outbox).where(numbered.send_at_ms == number)
        plus = plus.values(send_at_ms=numbered.send_at_ms + 3)
        assert touched(database, plus, {}) == [f"c{number}"]
    named = update(outbox).where(numbered.id == bindparam("which")).values(send_at_ms=bindparam("to"))
    for number in ROWS:
        assert touched(database, named, {"which": f"c{number}", "to": 50}) == [f"c{number}"]
