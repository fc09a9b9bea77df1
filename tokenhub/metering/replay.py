"""Usage events of a period, streamed in order: what a simulation or an export reads."""

from collections.abc import Iterator

from sqlalchemy import Connection, select

from tokenhub.metering.store import event_of
from tokenhub.metering.tables import usage_event
from tokenhub.metering.types import UsageEvent


def events_between(
    connection: Connection,
    *,
    org_id: str,
    start_ms: int,
    end_ms: int,
    model: str | None = None,
    team_id: str | None = None,
) -> Iterator[UsageEvent]:
    """Events of one organisation captured in [start_ms, end_ms), oldest first; a thousand rows in memory at most."""
    query = select(usage_event).where(
        usage_event.c.org_id == org_id, usage_event.c.at_ms >= start_ms, usage_event.c.at_ms < end_ms
    )
    if model is not None:
        query = query.where(usage_event.c.model == model)
    if team_id is not None:
        query = query.where(usage_event.c.team_id == team_id)
    query = query.order_by(usage_event.c.at_ms, usage_event.c.request_id)
    for row in connection.execution_options(yield_per=1000).execute(query):
        yield event_of(row)[0]
