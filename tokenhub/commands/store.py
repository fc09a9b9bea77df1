"""Statements on idempotency keys; part of the running command's transaction.

They run for every command that has a key, so they are prepared.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tokenhub.commands.tables import idempotency
from tokenhub.db.engine import Name
from tokenhub.db.prepared import Prepared

IDEMPOTENCY_TTL_MS = 24 * 60 * 60 * 1000
SWEEP_EVERY = 256
"""One call in so many, by chance of its millisecond, also clears what has expired."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A command that was run under the same idempotency key before."""

    command: str
    body_hash: str
    answer: dict[str, Any]


def peek(connection: Connection, name: Name, *, actor: str, key: str, at_ms: int) -> Stored | None:
    """What is stored under an idempotency key and has not expired, without taking it."""
    found = {"actor_": actor, "key_": key, "fresh": at_ms - IDEMPOTENCY_TTL_MS}
    rows = _PEEK[name].rows(connection, found)
    return Stored(rows[0][0], rows[0][1], json.loads(rows[0][2])) if rows else None


def claim(
    connection: Connection, name: Name, *, actor: str, key: str, command: str, body_hash: str, at_ms: int
) -> Stored | None:
    """Take an idempotency key that `peek` found free; else what was stored under it in between.

    On PostgreSQL it waits for a transaction that holds the same key. On SQLite the writer is alone: nothing can have
    come in between, and `keep` writes the row.
    """
    expired = {"before": at_ms - IDEMPOTENCY_TTL_MS}
    if at_ms % SWEEP_EVERY == 0:
        _SWEEP[name].rows(connection, expired)
    if connection.dialect.name == "sqlite":
        return None
    values = {"actor": actor, "key": key, "command": command, "body_hash": body_hash}
    taken = _CLAIM[name].rows(connection, {**values, "answer": "{}", "created_at_ms": at_ms, **expired})
    return None if taken else peek(connection, name, actor=actor, key=key, at_ms=at_ms)


def keep(
    connection: Connection,
    name: Name,
    *,
    actor: str,
    key: str,
    command: str,
    body_hash: str,
    at_ms: int,
    answer: Mapping[str, Any],
) -> None:
    """Store the answer under a claimed key."""
    text = json.dumps(answer)
    if connection.dialect.name == "sqlite":
        values = {"actor": actor, "key": key, "command": command, "body_hash": body_hash}
        _PUT[name].rows(connection, {**values, "answer": text, "created_at_ms": at_ms})
    else:
        _KEEP[name].rows(connection, {"actor_": actor, "key_": key, "answer_": text})


def _statements(name: Name) -> tuple[Executable, ...]:
    table = idempotency[name]
    here = (table.c.actor == bindparam("actor_")) & (table.c.key == bindparam("key_"))
    old = table.c.created_at_ms < bindparam("before")
    put, take = sqlite.insert(table), postgresql.insert(table)
    columns = ("command", "body_hash", "answer", "created_at_ms")
    fresh = {column: put.excluded[column] for column in columns}
    again = {column: take.excluded[column] for column in columns}
    primary = [table.c.actor, table.c.key]
    return (
        select(table.c.command, table.c.body_hash, table.c.answer).where(
            here, table.c.created_at_ms >= bindparam("fresh")
        ),
        delete(table).where(old),
        take.on_conflict_do_update(index_elements=primary, set_=again, where=old).returning(table.c.key),
        put.on_conflict_do_update(index_elements=primary, set_=fresh),
        update(table).where(here).values(answer=bindparam("answer_")),
    )


_ALL: dict[Name, tuple[Prepared, ...]] = {
    "hub": tuple(map(Prepared, _statements("hub"))),
    "ledger": tuple(map(Prepared, _statements("ledger"))),
}
_PEEK, _SWEEP, _CLAIM, _PUT, _KEEP = (
    {name: found[place] for name, found in _ALL.items()} for place in range(5)
)
