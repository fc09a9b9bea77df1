"""Statements on runs and their event logs. Nothing here commits."""

from collections.abc import Sequence

from sqlalchemy import Connection, Row, delete, insert, select, update

from tokenhub.assistant.tables import conversation, message, run, run_event
from tokenhub.assistant.types import ConversationId, MessageId, Outcome, Run, RunEvent, RunId
from tokenhub.kernel.errors import NotFound
from tokenhub.kernel.ids import new_id


def new_run_id() -> RunId:
    """An id for a run that is about to be stored."""
    return RunId(new_id("run"))


def add_run(
    connection: Connection,
    *,
    run_id: RunId,
    conversation_id: ConversationId,
    message_id: MessageId,
    process: str,
    model: str,
    at_ms: int,
) -> Run:
    """Store a run as running."""
    connection.execute(
        insert(run).values(
            id=run_id,
            conversation_id=conversation_id,
            message_id=message_id,
            process=process,
            model=model,
            status="running",
            request_id="",
            finish_reason="",
            error_code="",
            error_message="",
            created_at_ms=at_ms,
            ended_at_ms=None,
        )
    )
    return get_run(connection, run_id)


def get_run(connection: Connection, run_id: str) -> Run:
    """Raises: NotFound."""
    row = connection.execute(select(run).where(run.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound("There is no such run.")
    return _run(row)


def get_owned_run(connection: Connection, run_id: str, *, owner: str) -> Run:
    """The run, if its conversation belongs to `owner`. Raises: NotFound."""
    row = connection.execute(
        select(run)
        .join(conversation, conversation.c.id == run.c.conversation_id)
        .where(run.c.id == run_id, conversation.c.owner == owner)
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such run.")
    return _run(row)


def running_in_conversation(connection: Connection, conversation_id: str) -> list[Run]:
    """Runs of the conversation that have not ended."""
    rows = connection.execute(
        select(run).where(run.c.conversation_id == conversation_id, run.c.status == "running")
    )
    return [_run(row) for row in rows]


def running_of_process(connection: Connection, process: str) -> list[Run]:
    """Runs that a former life of `process` left behind."""
    return [
        _run(row)
        for row in connection.execute(select(run).where(run.c.status == "running", run.c.process == process))
    ]


def set_request_id(connection: Connection, run_id: RunId, request_id: str) -> None:
    """Remember under which request id the gateway books this run."""
    connection.execute(update(run).where(run.c.id == run_id).values(request_id=request_id))


def append_events(connection: Connection, run_id: RunId, events: Sequence[RunEvent]) -> None:
    """Add entries to the log of a run that was not deleted; their numbers are the caller's and unique."""
    there = select(run.c.id).where(run.c.id == run_id).with_for_update(read=True, key_share=True)
    if events and connection.execute(there).first() is not None:
        connection.execute(
            insert(run_event),
            [{"run_id": run_id, "seq": item.seq, "kind": item.kind, "data": item.data} for item in events],
        )


def events_after(connection: Connection, run_id: str, *, after: int, limit: int) -> list[RunEvent]:
    """Entries with a number above `after`, in order."""
    rows = connection.execute(
        select(run_event.c.seq, run_event.c.kind, run_event.c.data)
        .where(run_event.c.run_id == run_id, run_event.c.seq > after)
        .order_by(run_event.c.seq)
        .limit(limit)
    )
    return [RunEvent(seq=row.seq, kind=row.kind, data=row.data) for row in rows]


def finish_run(connection: Connection, ended: Run, outcome: Outcome, *, at_ms: int) -> None:
    """Store how the run ended and its whole text, as one message."""
    connection.execute(
        update(run)
        .where(run.c.id == ended.id)
        .values(
            status=outcome.status,
            finish_reason=outcome.finish_reason,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
            request_id=outcome.request_id,
            ended_at_ms=at_ms,
        )
    )
    connection.execute(
        update(message)
        .where(message.c.id == ended.message_id)
        .values(status=outcome.status, content=outcome.text, reasoning=outcome.reasoning)
    )
    connection.execute(
        update(conversation).where(conversation.c.id == ended.conversation_id).values(updated_at_ms=at_ms)
    )


def prune_events(connection: Connection, *, ended_before_ms: int) -> int:
    """Drop the logs of runs that ended long ago (their text is in the message); returns how many entries."""
    old = select(run.c.id).where(run.c.ended_at_ms < ended_before_ms)
    return connection.execute(delete(run_event).where(run_event.c.run_id.in_(old))).rowcount


def _run(row: Row[tuple[object, ...]]) -> Run:
    return Run(
        id=row.id,
        conversation_id=row.conversation_id,
        message_id=row.message_id,
        model=row.model,
        status=row.status,
        request_id=row.request_id,
        finish_reason=row.finish_reason,
        error_code=row.error_code,
        error_message=row.error_message,
        created_at_ms=row.created_at_ms,
        ended_at_ms=row.ended_at_ms,
    )
