"""Statements on idempotency keys; part of the running command's transaction."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tokenhub.commands.tables import idempotency
from tokenhub.db.engine import Name

IDEMPOTENCY_TTL_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """A command that was run under the same idempotency key before."""

    command: str
    body_hash: str
    answer: dict[str, Any]


def claim(
    connection: Connection, name: Name, *, actor: str, key: str, command: str, body_hash: str, at_ms: int
) -> Stored | None:
    """Take an idempotency key; None if it was free, else what was stored under it.

    Waits for a transaction that holds the same key at this moment, on both databases.
    """
    table = idempotency[name]
    expired = (table.c.actor == actor) & (table.c.created_at_ms < at_ms - IDEMPOTENCY_TTL_MS)
    connection.execute(delete(table).where(expired))
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    taken = connection.execute(
        dialect.insert(table)
        .values(actor=actor, key=key, command=command, body_hash=body_hash, answer="{}", created_at_ms=at_ms)
        .on_conflict_do_nothing()
        .returning(table.c.key)
    )
    if taken.first() is not None:
        return None
    row = connection.execute(select(table).where(table.c.actor == actor, table.c.key == key)).one()
    return Stored(row.command, row.body_hash, json.loads(row.answer))


def keep_answer(
    connection: Connection, name: Name, *, actor: str, key: str, answer: Mapping[str, Any]
) -> None:
    """Store the answer under a claimed key."""
    table = idempotency[name]
    connection.execute(
        update(table).where(table.c.actor == actor, table.c.key == key).values(answer=json.dumps(answer))
    )


def peek(connection: Connection, name: Name, *, actor: str, key: str, at_ms: int) -> Stored | None:
    """What is stored under an idempotency key, without taking it."""
    table = idempotency[name]
    fresh = table.c.created_at_ms >= at_ms - IDEMPOTENCY_TTL_MS
    row = connection.execute(
        select(table).where(table.c.actor == actor, table.c.key == key, fresh)
    ).one_or_none()
    return None if row is None else Stored(row.command, row.body_hash, json.loads(row.answer))
