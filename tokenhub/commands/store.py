"""Statements on idempotency keys; part of the running command's transaction.

They are built once: what a statement costs here is mostly its making.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tokenhub.commands.tables import idempotency
from tokenhub.db.engine import Name

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
    row = connection.execute(_PEEK[name], found).one_or_none()
    return None if row is None else Stored(row.command, row.body_hash, json.loads(row.answer))


def claim(
    connection: Connection, name: Name, *, actor: str, key: str, command: str, body_hash: str, at_ms: int
) -> Stored | None:
    """Take an idempotency key that `peek` found free; else what was stored under it in between.

    On PostgreSQL it waits for a transaction that holds the same key. On SQLite the writer is alone: nothing can have
    come in between, and `keep` writes the row.
    """
    expired = {"before": at_ms - IDEMPOTENCY_TTL_MS}
    if at_ms % SWEEP_EVERY == 0:
        connection.execute(_SWEEP[name], expired)
    if connection.dialect.name == "sqlite":
        return None
    connection.execute(_DROP[name], {"actor_": actor, "key_": key, **expired})
    values = {"actor": actor, "key": key, "command": command, "body_hash": body_hash}
    taken = connection.execute(_CLAIM[name], {**values, "answer": "{}", "created_at_ms": at_ms})
    return None if taken.first() is not None else peek(connection, name, actor=actor, key=key, at_ms=at_ms)


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
        connection.execute(_PUT[name], {**values, "answer": text, "created_at_ms": at_ms})
    else:
        connection.execute(_KEEP[name], {"actor_": actor, "key_": key, "answer_": text})


def _statements(name: Name) -> tuple[Any, ...]:
    table = idempotency[name]
    here = (table.c.actor == bindparam("actor_")) & (table.c.key == bindparam("key_"))
    old = table.c.created_at_ms < bindparam("before")
    put = sqlite.insert(table)
    fresh = {column: put.excluded[column] for column in ("command", "body_hash", "answer", "created_at_ms")}
    return (
        select(table).where(here, table.c.created_at_ms >= bindparam("fresh")),
        delete(table).where(old),
        delete(table).where(here, old),
        postgresql.insert(table).on_conflict_do_nothing().returning(table.c.key),
        put.on_conflict_do_update(index_elements=[table.c.actor, table.c.key], set_=fresh),
        update(table).where(here).values(answer=bindparam("answer_")),
    )


_ALL: dict[Name, tuple[Any, ...]] = {"hub": _statements("hub"), "ledger": _statements("ledger")}
_PEEK, _SWEEP, _DROP, _CLAIM, _PUT, _KEEP = (
    {name: found[place] for name, found in _ALL.items()} for place in range(6)
)
