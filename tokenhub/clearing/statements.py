"""Statements: one line a request, with the transfer that settled it and what became of it since."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from tokenhub.clearing.tables import applied, correction
from tokenhub.identity.types import Principal
from tokenhub.ledger.store import get_transfer
from tokenhub.metering.store import get_event, list_events
from tokenhub.metering.summary import UsageScope, visible
from tokenhub.metering.types import UsageEvent


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One request in the books."""

    event: UsageEvent
    transfer_id: str
    transfer_seq: int
    """Place of its transfer in the hash chain."""
    transfer_hash: str
    applied_tokens: int | None
    discarded_tokens: int | None
    corrected_by: str | None
    """The reversing transfer, if its charge was taken back."""


def statement_line(connection: Connection, request_id: str) -> StatementLine | None:
    """The line of one request; None while it is not settled."""
    found = get_event(connection, request_id)
    return None if found is None else _lines(connection, [found])[0]


def statement(
    connection: Connection,
    principal: Principal,
    *,
    scope: UsageScope | None = None,
    since_ms: int = 0,
    until_ms: int = 2**62,
    before: str | None = None,
    limit: int = 100,
) -> list[StatementLine]:
    """Lines that `principal` may see, newest first; `before` is the request id of the last line of the page before."""
    rows = list_events(
        connection,
        visible(principal, scope or UsageScope()),
        since_ms=since_ms,
        until_ms=until_ms,
        before=before,
        limit=limit,
    )
    return _lines(connection, rows)


def _lines(connection: Connection, rows: Sequence[tuple[UsageEvent, str]]) -> list[StatementLine]:
    ids = [event.request_id for event, _ in rows]
    marks = {
        row.request_id: row
        for row in connection.execute(select(applied).where(applied.c.request_id.in_(ids)))
    }
    reversals = {
        row.request_id: row.transfer_id
        for row in connection.execute(select(correction).where(correction.c.request_id.in_(ids)))
    }
    transfers = {
        transfer_id: get_transfer(connection, transfer_id) for transfer_id in {row[1] for row in rows}
    }
    lines: list[StatementLine] = []
    for event, transfer_id in rows:
        mark = marks.get(event.request_id)
        posted = transfers[transfer_id]
        lines.append(
            StatementLine(
                event=event,
                transfer_id=transfer_id,
                transfer_seq=posted.seq if posted else 0,
                transfer_hash=posted.hash if posted else "",
                applied_tokens=mark.applied_tokens if mark else None,
                discarded_tokens=mark.discarded_tokens if mark else None,
                corrected_by=reversals.get(event.request_id),
            )
        )
    return lines
