"""What became of delivered tokens: applied (a person used the answer) or discarded.

delivered = applied + discarded + unattributed; what nobody marks stays unattributed.
"""

from sqlalchemy import Connection, insert, select

from tokenhub.clearing.tables import applied
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import InvalidRequest, NotFound
from tokenhub.ledger.transfers import TOKENS, Account, Entry, Transfer, post
from tokenhub.metering.store import get_event


def mark_applied(
    connection: Connection, request_id: str, *, applied_tokens: int, discarded_tokens: int
) -> None:
    """Say what happened to a request's output tokens; the first mark stands, later ones do nothing.

    Raises: NotFound if the request is not settled (it is within about 50 ms); InvalidRequest if the two are
    negative or more than what was delivered.
    """
    if connection.execute(select(applied.c.request_id).where(applied.c.request_id == request_id)).first():
        return
    found = get_event(connection, request_id)
    if found is None:
        raise NotFound(f"request {request_id} is not in the books (yet)")
    event, _ = found
    if (
        min(applied_tokens, discarded_tokens) < 0
        or applied_tokens + discarded_tokens > event.completion_tokens
    ):
        raise InvalidRequest(
            f"{applied_tokens} applied and {discarded_tokens} discarded do not fit"
            f" {event.completion_tokens} delivered output tokens",
            param="applied_tokens",
        )
    holder = f"{event.org_id}/{event.model}"
    sides = [
        Entry(Account("delivered", TOKENS, holder), -applied_tokens - discarded_tokens),
        Entry(Account("applied", TOKENS, holder), applied_tokens),
        Entry(Account("discarded", TOKENS, holder), discarded_tokens),
    ]
    transfer_id = post(
        connection,
        Transfer(
            kind="apply",
            idempotency_key=f"apply:{request_id}",
            entries=[side for side in sides if side.amount],
            request_id=request_id,
        ),
        now_ms=now_ms(),
    )
    connection.execute(
        insert(applied).values(
            request_id=request_id,
            at_ms=now_ms(),
            engine_boot=event.engine_boot,
            applied_tokens=applied_tokens,
            discarded_tokens=discarded_tokens,
            transfer_id=transfer_id,
        )
    )
