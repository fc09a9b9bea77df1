"""Statements on conversations and messages. Every list takes an owner and a limit; nothing here commits."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import Connection, Row, and_, delete, exists, func, insert, literal, or_, select, update

from tokenhub.assistant.tables import conversation, message, run, run_event
from tokenhub.assistant.types import (
    Conversation,
    ConversationId,
    Message,
    MessageId,
    Role,
    RunId,
    Status,
)
from tokenhub.kernel.errors import NotFound
from tokenhub.kernel.ids import new_id

_running = exists().where(run.c.conversation_id == conversation.c.id, run.c.status == "running")


def create_conversation(
    connection: Connection, *, org_id: str, owner: str, title: str, model: str, at_ms: int
) -> Conversation:
    """A new, empty conversation of `owner`."""
    made = Conversation(
        id=ConversationId(new_id("conv")),
        title=title,
        model=model,
        head_id=None,
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
    )
    connection.execute(
        insert(conversation).values(
            id=made.id,
            org_id=org_id,
            owner=owner,
            title=title,
            model=model,
            head_id=None,
            created_at_ms=at_ms,
            updated_at_ms=at_ms,
        )
    )
    return made


def list_conversations(
    connection: Connection, *, owner: str, search: str, before: tuple[int, str] | None, limit: int
) -> list[Conversation]:
    """Newest first; `before` is (updated_at_ms, id) of the last one already seen; `search` looks in titles and texts."""
    statement = select(conversation, _running.label("running")).where(conversation.c.owner == owner)
    if before is not None:
        at_ms, last_id = before
        statement = statement.where(
            or_(
                conversation.c.updated_at_ms < at_ms,
                and_(conversation.c.updated_at_ms == at_ms, conversation.c.id < last_id),
            )
        )
    if search:
        found = exists().where(
            message.c.conversation_id == conversation.c.id,
            func.lower(message.c.content).contains(search.lower(), autoescape=True),
        )
        title = func.lower(conversation.c.title).contains(search.lower(), autoescape=True)
        statement = statement.where(or_(title, found))
    statement = statement.order_by(conversation.c.updated_at_ms.desc(), conversation.c.id.desc()).limit(limit)
    return [_conversation(row) for row in connection.execute(statement)]


def get_conversation(connection: Connection, conversation_id: str, *, owner: str) -> Conversation:
    """Raises: NotFound if there is none of this owner."""
    row = connection.execute(
        select(conversation, _running.label("running")).where(
            conversation.c.id == conversation_id, conversation.c.owner == owner
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such conversation.")
    return _conversation(row)


def update_conversation(
    connection: Connection,
    conversation_id: str,
    *,
    title: str | None = None,
    model: str | None = None,
    head_id: str | None = None,
    at_ms: int | None = None,
) -> None:
    """Set what is not None."""
    values = {"title": title, "model": model, "head_id": head_id, "updated_at_ms": at_ms}
    given = {name: value for name, value in values.items() if value is not None}
    if given:
        connection.execute(update(conversation).where(conversation.c.id == conversation_id).values(given))


def delete_conversation(connection: Connection, conversation_id: str) -> None:
    """Delete its texts, runs and events for good; what it used stays in the ledger."""
    runs = select(run.c.id).where(run.c.conversation_id == conversation_id)
    connection.execute(runs.with_for_update())  # who adds an entry to one at this moment is waited for
    connection.execute(delete(run_event).where(run_event.c.run_id.in_(runs)))
    connection.execute(delete(run).where(run.c.conversation_id == conversation_id))
    connection.execute(delete(message).where(message.c.conversation_id == conversation_id))
    connection.execute(delete(conversation).where(conversation.c.id == conversation_id))


def add_message(
    connection: Connection,
    *,
    conversation_id: ConversationId,
    parent_id: MessageId | None,
    role: Role,
    content: str,
    status: Status,
    model: str,
    run_id: RunId | None,
    at_ms: int,
) -> MessageId:
    """Append one message under `parent_id`."""
    made = MessageId(new_id("msg"))
    connection.execute(
        insert(message).values(
            id=made,
            conversation_id=conversation_id,
            parent_id=parent_id,
            role=role,
            content=content,
            reasoning="",
            status=status,
            model=model,
            run_id=run_id,
            created_at_ms=at_ms,
        )
    )
    return made


def get_message(connection: Connection, conversation_id: str, message_id: str) -> Message:
    """Raises: NotFound if the conversation has no such message."""
    row = connection.execute(
        select(message).where(message.c.id == message_id, message.c.conversation_id == conversation_id)
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such message in this conversation.")
    return _message(row, ())


def branch(connection: Connection, conversation_id: str, *, head_id: str | None, limit: int) -> list[Message]:
    """The last `limit` messages of the branch that ends at `head_id`, oldest first."""
    if head_id is None:
        return []
    start = select(message.c.id, message.c.parent_id, literal(0).label("depth")).where(
        message.c.id == head_id, message.c.conversation_id == conversation_id
    )
    path = start.cte("path", recursive=True)
    path = path.union_all(
        select(message.c.id, message.c.parent_id, (path.c.depth + 1).label("depth")).where(
            message.c.id == path.c.parent_id, path.c.depth < limit - 1
        )
    )
    rows = connection.execute(
        select(
            message,
            func.coalesce(run.c.request_id, "").label("request_id"),
            func.coalesce(run.c.finish_reason, "").label("finish_reason"),
            func.coalesce(run.c.error_code, "").label("error_code"),
            func.coalesce(run.c.error_message, "").label("error_message"),
        )
        .join(path, path.c.id == message.c.id)
        .outerjoin(run, run.c.id == message.c.run_id)
        .order_by(path.c.depth.desc())
    ).all()
    versions = _versions(connection, conversation_id, [row.parent_id for row in rows])
    return [_message(row, versions.get(row.parent_id, ())) for row in rows]


def newest_leaf(connection: Connection, conversation_id: str, message_id: str) -> MessageId:
    """The newest message without followers under (or at) `message_id`: where a switch of version leads."""
    start = select(message.c.id, message.c.created_at_ms).where(
        message.c.id == message_id, message.c.conversation_id == conversation_id
    )
    below = start.cte("below", recursive=True)
    below = below.union_all(
        select(message.c.id, message.c.created_at_ms).where(
            message.c.parent_id == below.c.id, message.c.conversation_id == conversation_id
        )
    )
    found = connection.execute(
        select(below.c.id).order_by(below.c.created_at_ms.desc(), below.c.id.desc()).limit(1)
    ).scalar()
    if found is None:
        raise NotFound("There is no such message in this conversation.")
    return MessageId(found)


def _versions(
    connection: Connection, conversation_id: str, parents: Sequence[str | None]
) -> dict[str | None, tuple[MessageId, ...]]:
    """Ids of all children of each parent, oldest first; None is the parent of first messages."""
    real = [parent for parent in parents if parent is not None]
    condition = message.c.parent_id.in_(real)
    if None in parents:
        condition = or_(condition, message.c.parent_id.is_(None))
    rows = connection.execute(
        select(message.c.parent_id, message.c.id)
        .where(message.c.conversation_id == conversation_id, condition)
        .order_by(message.c.created_at_ms, message.c.id)
    )
    found: dict[str | None, list[MessageId]] = {}
    for parent_id, child_id in rows:
        found.setdefault(parent_id, []).append(MessageId(child_id))
    return {parent_id: tuple(children) for parent_id, children in found.items()}


def _conversation(row: Row[tuple[object, ...]]) -> Conversation:
    return Conversation(
        id=row.id,
        title=row.title,
        model=row.model,
        head_id=row.head_id,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
        running=bool(row.running),
    )


def _message(row: Row[tuple[object, ...]], siblings: tuple[MessageId, ...]) -> Message:
    extra = {
        name: cast(str, getattr(row, name, ""))
        for name in ("request_id", "finish_reason", "error_code", "error_message")
    }
    return Message(
        id=row.id,
        conversation_id=row.conversation_id,
        parent_id=row.parent_id,
        role=row.role,
        content=row.content,
        reasoning=row.reasoning,
        status=row.status,
        model=row.model,
        run_id=row.run_id,
        created_at_ms=row.created_at_ms,
        siblings=siblings,
        **extra,
    )
