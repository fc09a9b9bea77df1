"""Notices as rows, and on their way out of the hub for those who want them there too."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from tokenhub.db import outbox
from tokenhub.identity import directory
from tokenhub.kernel.ids import new_id
from tokenhub.work.calendar_tables import hooks
from tokenhub.work.tables import notices

WEBHOOK = "webhook"
HUB = outbox.HUB
"""Who tells what the hub does by itself: reminders, deadlines."""


def tell(
    connection: Connection,
    users: Iterable[str],
    *,
    org_id: str,
    actor_id: str,
    kind: str,
    subject: str,
    text: str,
    at_ms: int,
    wait_ms: int,
    grant_id: str | None = None,
) -> None:
    """A notice for each of these people; what their hooks want waits `wait_ms` in the outbox.

    `grant_id`: of the agent whose command tells it; if the agent is stopped, what waits does not leave.
    """
    told = list(dict.fromkeys(users))
    rows = [
        {
            "id": new_id("note"),
            "org_id": org_id,
            "user_id": user_id,
            "kind": kind,
            "subject": subject,
            "text": text[:500],
            "actor_id": actor_id,
            "created_at_ms": at_ms,
        }
        for user_id in told
    ]
    if not rows:
        return
    connection.execute(insert(notices), rows)
    theirs = (hooks.c.org_id == org_id) & hooks.c.owner_id.in_(told)
    for row in connection.execute(select(hooks).where(theirs)).all():
        if {kind, "*"} & set(json.loads(row.kinds)):
            queue(
                connection, row, actor_id=actor_id, kind=kind, subject=subject, text=text[:500], at_ms=at_ms, wait_ms=wait_ms,
                grant_id=grant_id,
            )  # fmt: skip


def queue(
    connection: Connection,
    hook: Row[Any],
    *,
    actor_id: str,
    kind: str,
    subject: str,
    text: str,
    at_ms: int,
    wait_ms: int,
    grant_id: str | None = None,
) -> str:
    """Put one text for a hook into the outbox; returns its id."""
    sender = directory.user_names(connection, hook.org_id, {actor_id}).get(actor_id, actor_id)
    payload = {
        "kind": kind,
        "subject": subject,
        "text": text,
        "from": sender,
        "hook": hook.name,
        "at_ms": at_ms,
    }
    return outbox.add(
        connection,
        org_id=hook.org_id,
        actor_id=actor_id,
        channel=WEBHOOK,
        target=hook.id,
        subject=subject,
        payload=payload,
        at_ms=at_ms,
        wait_ms=wait_ms,
        grant_id=grant_id,
    )
