"""Statements on audit rows and idempotency keys; part of the running command's transaction."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from tokenhub.commands.tables import audit, idempotency
from tokenhub.db.engine import Name
from tokenhub.db.upsert import insert_for
from tokenhub.identity.types import Principal
from tokenhub.kernel.ids import new_id

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
    taken = connection.execute(
        insert_for(connection, table)
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


def write_audit(
    connection: Connection,
    name: Name,
    principal: Principal,
    *,
    command: str,
    effect: str,
    outcome: str,
    arguments: Mapping[str, Any],
    request_id: str,
    at_ms: int,
) -> str:
    """Insert one audit row; returns its id."""
    audit_id = new_id("audit")
    connection.execute(
        insert(audit[name]).values(
            id=audit_id,
            at_ms=at_ms,
            org_id=principal.org_id,
            actor=principal.actor,
            key_id=principal.key_id,
            app=principal.app,
            command=command,
            effect=effect,
            outcome=outcome,
            arguments=json.dumps(arguments, ensure_ascii=False, sort_keys=True),
            request_id=request_id,
        )
    )
    return audit_id
