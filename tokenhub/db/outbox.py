"""The outbox: what leaves the hub is a row first, in the transaction that decided it, and is carried out afterwards.

    waiting → sending → delivered
       │         ├→ waiting     it surely did not arrive, or may have: again later under the same key
       │         ├→ failed      refused for good, or too often not reached
       │         └→ unknown     given up, and nobody knows whether an attempt arrived
       └→ withdrawn             taken back while it waited

The row's id is the idempotency key that the receiver gets with every attempt. A carrier that dies leaves `sending`; its
lease ends, the attempt is counted as unknown, and the next one goes out under the same key.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, case, func, insert, or_, select, update

from tokenhub.db.alone import one_at_a_time
from tokenhub.db.tables import outbox
from tokenhub.kernel.ids import new_id

State = Literal["waiting", "sending", "delivered", "failed", "unknown", "withdrawn"]
Outcome = Literal["delivered", "refused", "later", "unknown"]
LEASE_MS = 60_000
ATTEMPTS_MAX = 8
BACKOFF_MS, BACKOFF_MAX_MS = 5_000, 600_000
HUB = "hub"
"""The sender of what the hub does by itself, for whomever: reminders, deadlines."""
SENDER_MAX, HUB_MAX = 2, 3
"""Letters of one sender, and of the hub itself, that are under way at once; for one target it is one."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One row."""

    id: str
    """Also the idempotency key."""
    org_id: str
    actor_id: str
    channel: str
    target: str
    subject: str
    payload: Mapping[str, Any]
    state: State
    send_at_ms: int
    attempts: int
    unknowns: int
    """Attempts of which nobody knows whether they arrived."""
    error: str
    created_at_ms: int
    ended_at_ms: int | None
    grant_id: str | None
    """Set if an agent's command put it in."""


def add(
    connection: Connection,
    *,
    org_id: str,
    actor_id: str,
    channel: str,
    target: str,
    subject: str,
    payload: Mapping[str, Any],
    at_ms: int,
    wait_ms: int,
    grant_id: str | None = None,
) -> str:
    """Put something in; it is sent `wait_ms` from now at the earliest. Returns its id. `grant_id`: of an agent."""
    letter_id = new_id("out")
    connection.execute(
        insert(outbox).values(
            id=letter_id,
            org_id=org_id,
            actor_id=actor_id,
            channel=channel,
            target=target,
            subject=subject,
            payload=json.dumps(dict(payload), ensure_ascii=False),
            state="waiting",
            send_at_ms=at_ms + wait_ms,
            attempts=0,
            unknowns=0,
            error="",
            runner="",
            lease_until_ms=0,
            created_at_ms=at_ms,
            grant_id=grant_id,
        )
    )
    return letter_id


def anything_due(connection: Connection, *, at_ms: int) -> bool:
    """True if `claim` would find something; a read, so that looking takes no write lock."""
    mine = _due(at_ms) & _free(at_ms)
    return connection.execute(select(outbox.c.id).where(mine).limit(1)).first() is not None


def claim(connection: Connection, *, runner: str, at_ms: int) -> Letter | None:
    """Take what waits longest and is due, or was left by a carrier that died (its attempt counts as unknown).

    Not while another letter for the same target is under way, or `SENDER_MAX` of the same sender: whoever is slow
    delays nobody else. Two who claim at once take turns, so that neither passes these bounds.
    """
    one_at_a_time(connection, "outbox")
    oldest = (
        select(outbox.c.id)
        .where(_due(at_ms), _free(at_ms))
        .order_by(outbox.c.send_at_ms, outbox.c.id)
        .limit(1)
    )
    row = connection.execute(select(outbox.c.id, outbox.c.state).where(outbox.c.id.in_(oldest))).one_or_none()
    if row is None:
        return None
    values: dict[str, Any] = {"state": "sending", "runner": runner, "lease_until_ms": at_ms + LEASE_MS}
    values["attempts"] = outbox.c.attempts + 1
    if row.state == "sending":
        values["unknowns"] = outbox.c.unknowns + 1
    mine = (outbox.c.id == row.id) & (outbox.c.state == row.state) & _due(at_ms)
    taken = connection.execute(update(outbox).where(mine).values(**values).returning(outbox)).one_or_none()
    return None if taken is None else _letter(taken)


def finish(
    connection: Connection,
    letter: Letter,
    *,
    runner: str,
    outcome: Outcome,
    error: str,
    at_ms: int,
    once: bool,
) -> State | None:
    """Say how an attempt ended; None if the letter is not this runner's any more.

    `once` = the receiver does not know our key: after an unknown outcome it is not sent again.
    """
    unknowns = letter.unknowns + (outcome == "unknown")
    again = outcome in ("later", "unknown") and letter.attempts < ATTEMPTS_MAX and not (once and unknowns)
    state: State = "delivered" if outcome == "delivered" else "unknown" if unknowns else "failed"
    values: dict[str, Any] = {
        "state": state,
        "ended_at_ms": at_ms,
        "error": error[:500],
        "unknowns": unknowns,
    }
    if again:
        state = "waiting"
        wait = min(BACKOFF_MS * 2 ** (letter.attempts - 1), BACKOFF_MAX_MS)
        values |= {"state": state, "ended_at_ms": None, "send_at_ms": at_ms + wait}
    mine = (outbox.c.id == letter.id) & (outbox.c.state == "sending") & (outbox.c.runner == runner)
    done = connection.execute(update(outbox).where(mine).values(**values))
    return state if done.rowcount else None


def withdraw(connection: Connection, which: ColumnElement[bool], *, at_ms: int) -> list[str]:
    """Take back what still waits; returns the ids that were."""
    waiting = which & (outbox.c.state == "waiting")
    found = connection.execute(
        update(outbox).where(waiting).values(state="withdrawn", ended_at_ms=at_ms).returning(outbox.c.id)
    )
    return list(found.scalars())


def resend(connection: Connection, letter: Letter, *, grant_id: str | None, at_ms: int, wait_ms: int) -> bool:
    """Queue one again that failed or whose outcome is unknown, under its old key; False if it is neither.

    `grant_id`: of the agent that asks for it now; None = a person does, and the stop of an agent counts no more.
    """
    ended = (outbox.c.id == letter.id) & outbox.c.state.in_(("failed", "unknown"))
    values = {"state": "waiting", "send_at_ms": at_ms + wait_ms, "attempts": 0, "ended_at_ms": None}
    values["grant_id"] = grant_id
    return bool(connection.execute(update(outbox).where(ended).values(**values)).rowcount)


def listing(
    connection: Connection,
    mine: ColumnElement[bool],
    *,
    states: Collection[str],
    after: str | None,
    limit: int,
) -> list[Letter]:
    """At most `limit + 1` of those that the condition lets one see, newest first."""
    query = select(outbox).where(mine)
    if states:
        query = query.where(outbox.c.state.in_(states))
    if after is not None:
        query = query.where(outbox.c.id < after)
    return [_letter(row) for row in connection.execute(query.order_by(outbox.c.id.desc()).limit(limit + 1))]


def of_actor(org_id: str, actor_id: str | None) -> ColumnElement[bool]:
    """What this person (None = anyone of the organisation) put in."""
    mine = outbox.c.org_id == org_id
    return mine if actor_id is None else mine & (outbox.c.actor_id == actor_id)


def named(letter_id: str) -> ColumnElement[bool]:
    """This one."""
    return outbox.c.id == letter_id


def about(subject: str) -> ColumnElement[bool]:
    """Whatever is about this thing."""
    return outbox.c.subject == subject


def _due(at_ms: int) -> ColumnElement[bool]:
    waiting = (outbox.c.state == "waiting") & (outbox.c.send_at_ms <= at_ms)
    left = (outbox.c.state == "sending") & (outbox.c.lease_until_ms < at_ms)
    return or_(waiting, left)


def _free(at_ms: int) -> ColumnElement[bool]:
    """Nothing else of its target is under way, and not too much of its sender."""
    sent = outbox.alias()
    under_way = (sent.c.state == "sending") & (sent.c.lease_until_ms >= at_ms)
    busy = select(sent.c.target).where(under_way)
    most = case((sent.c.actor_id == HUB, HUB_MAX), else_=SENDER_MAX)
    many = select(sent.c.actor_id).where(under_way).group_by(sent.c.actor_id).having(func.count() >= most)
    return outbox.c.target.not_in(busy) & outbox.c.actor_id.not_in(many)


def _letter(row: Row[Any]) -> Letter:
    return Letter(
        id=row.id,
        org_id=row.org_id,
        actor_id=row.actor_id,
        channel=row.channel,
        target=row.target,
        subject=row.subject,
        payload=json.loads(row.payload),
        state=row.state,
        send_at_ms=row.send_at_ms,
        attempts=row.attempts,
        unknowns=row.unknowns,
        error=row.error,
        created_at_ms=row.created_at_ms,
        ended_at_ms=row.ended_at_ms,
        grant_id=row.grant_id,
    )
