"""Statements on kept answers. Each is one short transaction, run in a thread."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, delete, select, update

from tokenhub.db.upsert import insert_for
from tokenhub.maas.gateway.tables import kept_answer

State = Literal["running", "kept", "too_large"]
ALIVE_MS = 20_000
"""A running request whose gateway has not said so for this long is dead; its key is free."""
KEEP_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What is known under a key."""

    body_hash: str
    state: State
    request_id: str
    content_type: str
    body: bytes


def claim(
    connection: Connection,
    *,
    key_id: str,
    idempotency_key: str,
    body_hash: str,
    owner: str,
    request_id: str,
    now_ms: int,
) -> KeptAnswer | None:
    """Take a key for `request_id`; None if it was free, else what is under it."""
    here = (kept_answer.c.key_id == key_id) & (kept_answer.c.idempotency_key == idempotency_key)
    dead = (kept_answer.c.state == "running") & (kept_answer.c.alive_at_ms < now_ms - ALIVE_MS)
    old = kept_answer.c.alive_at_ms < now_ms - KEEP_MS
    connection.execute(delete(kept_answer).where(here & (dead | old)))
    taken = connection.execute(
        insert_for(connection, kept_answer)
        .values(
            key_id=key_id,
            idempotency_key=idempotency_key,
            body_hash=body_hash,
            state="running",
            owner=owner,
            request_id=request_id,
            content_type="",
            body=b"",
            alive_at_ms=now_ms,
        )
        .on_conflict_do_nothing()
        .returning(kept_answer.c.key_id)
    )
    if taken.first() is not None:
        return None
    row = connection.execute(select(kept_answer).where(here)).one()
    return KeptAnswer(row.body_hash, row.state, row.request_id, row.content_type, bytes(row.body))


def keep(
    connection: Connection, request_id: str, *, state: State, content_type: str, body: bytes, now_ms: int
) -> None:
    """The answer of a claimed key."""
    connection.execute(
        update(kept_answer)
        .where(kept_answer.c.request_id == request_id)
        .values(state=state, content_type=content_type, body=body, alive_at_ms=now_ms)
    )


def release(connection: Connection, request_id: str) -> None:
    """Free a claimed key: there is no answer to keep."""
    connection.execute(delete(kept_answer).where(kept_answer.c.request_id == request_id))


def say_alive(connection: Connection, owner: str, *, now_ms: int) -> None:
    """The running requests of this gateway go on; what is past its time is deleted."""
    mine = (kept_answer.c.owner == owner) & (kept_answer.c.state == "running")
    connection.execute(update(kept_answer).where(mine).values(alive_at_ms=now_ms))
    connection.execute(delete(kept_answer).where(kept_answer.c.alive_at_ms < now_ms - KEEP_MS))
