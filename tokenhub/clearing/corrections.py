"""Corrections: a posted request is never changed; a reversing transfer takes it back, with a reason."""

from sqlalchemy import Connection, insert, select

from tokenhub.clearing.entries import entries_of
from tokenhub.clearing.settle import amount_of, load_paths
from tokenhub.clearing.tables import correction
from tokenhub.kernel.errors import Conflict, NotFound
from tokenhub.ledger import buckets
from tokenhub.ledger.transfers import Entry, Transfer, post
from tokenhub.ledger.types import Unit
from tokenhub.metering.groups import groups_of
from tokenhub.metering.store import get_event


def correct(connection: Connection, request_id: str, *, reason: str, actor: str, now_ms: int) -> str:
    """Take a request's charge back, in the accounts and in every budget that still counts it.

    Returns: the id of the reversing transfer. Raises: NotFound; Conflict if it was corrected before.
    """
    found = get_event(connection, request_id)
    if found is None:
        raise NotFound(f"request {request_id} is not in the books")
    if connection.execute(
        select(correction.c.request_id).where(correction.c.request_id == request_id)
    ).first():
        raise Conflict(f"request {request_id} is corrected already")
    event, transfer_id = found
    path = load_paths(connection, {event.path_id})[event.path_id]
    amounts = {bucket_id: amount_of(event, unit) for bucket_id, unit, _ in path if unit != Unit.CONCURRENCY}
    buckets.give_back(connection, amounts, at_ms=event.at_ms)
    reversing = post(
        connection,
        Transfer(
            kind="correct",
            idempotency_key=f"correct:{request_id}",
            entries=[Entry(item.account, -item.amount) for item in entries_of(groups_of([event]))],
            request_id=request_id,
            reverses=transfer_id,
            actor=actor,
            memo=reason,
        ),
        now_ms=now_ms,
    )
    connection.execute(
        insert(correction).values(
            request_id=request_id, at_ms=now_ms, actor=actor, reason=reason, transfer_id=reversing
        )
    )
    return reversing
