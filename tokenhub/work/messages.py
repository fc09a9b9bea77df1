"""`hub message …`: what people write to each other: direct, in groups, in threads, with mentions and files."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, insert, or_, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import NOTHING, Books, Found, resolver
from tokenhub.db import outbox
from tokenhub.http.pagination import page
from tokenhub.identity import directory
from tokenhub.identity.directory import User
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest, PermissionDenied
from tokenhub.kernel.ids import new_id
from tokenhub.work.channels import channel_as_found, direct, direct_with, find_channel, members_of
from tokenhub.work.errors import FileNotFound, MessageNotFound
from tokenhub.work.people import TEXT_MAX, names_of, notify, person
from tokenhub.work.tables import files, messages
from tokenhub.work.visibility import files_of, messages_of

VERBS: list[Command] = []
_MENTION = re.compile(r"(?<![\w@])@([\w.-]+)")


class MessageView(Model):
    """A message."""

    id: str
    channel: str = Field(description="Id of its channel.")
    thread: str | None = Field(description="Id of the message that it answers.")
    author: str
    text: str = Field(description="Empty if it was recalled.")
    files: list[str] = Field(description="Ids of attached files.")
    mentions: list[str] = Field(description="Names of those it tells.")
    created_at_ms: int
    edited_at_ms: int | None
    recalled_at_ms: int | None


class MessageSend(Model):
    """A new message."""

    text: str = Field(
        min_length=1, max_length=TEXT_MAX, description="What to say; `@name` tells that person."
    )
    to: str | None = Field(default=None, description="A person, by name or id: a direct message.")
    channel: str | None = Field(default=None, description="A channel, by name or id.")
    thread: str | None = Field(
        default=None, description="Id of the message that it answers; its channel is taken."
    )
    files: list[str] = Field(default=[], max_length=20, description="Ids of files of the drive to attach.")


class MessageNamed(Model):
    """One message."""

    message: str = Field(description="Id of the message.")


class MessageEdit(MessageNamed):
    """Another text."""

    text: str = Field(min_length=1, max_length=TEXT_MAX, description="What it should say.")


class MessageListArgs(PageArgs):
    """Which messages."""

    channel: str | None = Field(default=None, description="Only of this channel, by name or id.")
    person: str | None = Field(default=None, description="Only of the direct talk with this person.")
    thread: str | None = Field(default=None, description="Only this message and its answers.")
    match: str = Field(default="", max_length=200, description="Only those that have this text.")


class MessageList(PageResult):
    """A page of messages."""

    items: list[MessageView]


def _talk(books: Books, principal: Principal, arguments: Mapping[str, Any]) -> Found:
    """The channel, however it is named: itself, by a message of a thread, or as the direct talk with a person."""
    if arguments.get("channel"):
        return _channel(books.hub, principal, str(arguments["channel"]))
    if arguments.get("thread"):
        return _channel(
            books.hub, principal, _find(books.hub, principal, str(arguments["thread"])).channel_id
        )
    other = arguments.get("to") or arguments.get("person")
    if not other:
        return NOTHING
    named = principal.user_id or "" if other == "me" else str(other)
    user = directory.find(books.hub, User, principal.org_id, named)
    found = books.hub.execute(direct_with(principal, user.id)).one_or_none()
    return NOTHING if found is None else _channel(books.hub, principal, found.id)


def _channel(connection: Connection, principal: Principal, named: str) -> Found:
    return channel_as_found(find_channel(connection, principal, named))


@command(
    "message.send",
    effect="write",
    resource="channel",
    acts_on=_talk,
    sinks=("to", "channel", "thread"),
    permission="work",
    summary="Write to a person, a channel or in a thread.",
    positional=("text",),
    examples=[
        Example("hub message send 'Lunch at noon?' --to ana", "A direct message"),
        Example("hub message send '@bob please look' --channel launch", "Bob gets a notice"),
    ],
)
def message_send(ctx: Context, args: MessageSend) -> MessageView:
    """Exactly one of `to`, `channel` and `thread`. Attached files must be ones that you see."""
    if sum(one is not None for one in (args.to, args.channel, args.thread)) != 1:
        raise InvalidRequest("Give one of `to`, `channel` and `thread`.", param="to")
    thread_id: str | None = None
    told: list[str] = []
    if args.to is not None:
        user = person(ctx, args.to, param="to")
        channel_id = direct(ctx, user.id)
        told = [user.id]
    elif args.channel is not None:
        channel_id = find_channel(ctx.hub, ctx.principal, args.channel).id
    else:
        above = _find(ctx.hub, ctx.principal, args.thread or "")
        channel_id, thread_id = above.channel_id, above.thread_id or above.id
        told = [above.author_id]
    message_id = new_id("msg")
    ctx.hub.execute(
        insert(messages).values(
            id=message_id,
            org_id=ctx.principal.org_id,
            channel_id=channel_id,
            thread_id=thread_id,
            author_id=ctx.principal.actor,
            text=args.text,
            file_ids=json.dumps(_attached(ctx, args.files)),
            created_at_ms=ctx.now_ms,
        )
    )
    mentioned = _mentioned(ctx, channel_id, args.text)
    notify(ctx, mentioned, kind="mentioned", subject=message_id, text=args.text)
    notify(
        ctx, [one for one in told if one not in mentioned], kind="message", subject=message_id, text=args.text
    )
    return _view(ctx, message_id)


@command(
    "message.list",
    effect="read",
    resource="channel",
    acts_on=_talk,
    permission="read",
    trust="untrusted",
    summary="List messages that you see.",
    columns=("id", "created_at_ms", "author", "text", "thread"),
    examples=[
        Example("hub message list --channel launch", "Newest first"),
        Example("hub message list --person ana", "A direct talk"),
    ],
)
def message_list(ctx: Context, args: MessageListArgs) -> MessageList:
    """Newest first, of your channels and the open ones."""
    query = select(messages).where(messages_of(ctx.principal)).order_by(messages.c.id.desc())
    if args.channel is not None:
        query = query.where(messages.c.channel_id == find_channel(ctx.hub, ctx.principal, args.channel).id)
    if args.person is not None:
        other = person(ctx, args.person, param="person").id
        query = query.where(messages.c.channel_id.in_(direct_with(ctx.principal, other)))
    if args.thread is not None:
        query = query.where(or_(messages.c.id == args.thread, messages.c.thread_id == args.thread))
    if args.match:
        query = query.where(messages.c.text.icontains(args.match, autoescape=True))
    if args.after is not None:
        query = query.where(messages.c.id < args.after)
    shown = page(ctx.hub.execute(query.limit(args.limit + 1)).all(), limit=args.limit, key=lambda row: row.id)
    return MessageList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "message.show",
    effect="read",
    resource="message",
    permission="read",
    trust="untrusted",
    summary="Show one message.",
    positional=("message",),
    examples=[Example("hub message show msg_01…", "Its text, files and mentions")],
)
def message_show(ctx: Context, args: MessageNamed) -> MessageView:
    """By id."""
    return _view(ctx, _find(ctx.hub, ctx.principal, args.message).id)


@command(
    "message.edit",
    effect="write",
    resource="message",
    sinks=("message",),
    permission="work",
    summary="Change what you wrote.",
    positional=("message", "text"),
    examples=[Example("hub message edit msg_01… 'Lunch at one?'", "It is marked as edited")],
)
def message_edit(ctx: Context, args: MessageEdit) -> MessageView:
    """Only one's own, and not after a recall."""
    row = _mine(ctx, args.message)
    ctx.hub.execute(
        update(messages).where(messages.c.id == row.id).values(text=args.text, edited_at_ms=ctx.now_ms)
    )
    before = _mentioned(ctx, row.channel_id, row.text)
    fresh = [one for one in _mentioned(ctx, row.channel_id, args.text) if one not in before]
    notify(ctx, fresh, kind="mentioned", subject=row.id, text=args.text)
    return _view(ctx, row.id)


@command(
    "message.recall",
    effect="write",
    resource="message",
    sinks=("message",),
    permission="work",
    summary="Take back what you wrote.",
    positional=("message",),
    examples=[Example("hub message recall msg_01…", "That it was there stays visible; its text does not")],
)
def message_recall(ctx: Context, args: MessageNamed) -> MessageView:
    """Only one's own. Who read it, has read it; what still waits to leave the hub does not leave it."""
    row = _mine(ctx, args.message)
    mine = outbox.of_actor(ctx.principal.org_id, ctx.principal.actor)
    outbox.withdraw(ctx.hub, mine & outbox.about(row.id), at_ms=ctx.now_ms)
    values = {"text": "", "file_ids": "[]", "recalled_at_ms": ctx.now_ms}
    ctx.hub.execute(update(messages).where(messages.c.id == row.id).values(**values))
    return _view(ctx, row.id)


@resolver("message")
def _message(connection: Connection, principal: Principal, named: str) -> Found:
    row = _find(connection, principal, named)
    return Found(row.id, row.author_id)


def _find(connection: Connection, principal: Principal, message_id: str) -> Row[Any]:
    row = connection.execute(
        select(messages).where(messages_of(principal), messages.c.id == message_id)
    ).one_or_none()
    if row is None:
        raise MessageNotFound(
            f"No message {message_id!r}.", param="message", hint="List them with `hub message list`."
        )
    return row


def _mine(ctx: Context, message_id: str) -> Row[Any]:
    row = _find(ctx.hub, ctx.principal, message_id)
    if row.author_id != ctx.principal.actor or row.recalled_at_ms is not None:
        raise PermissionDenied(
            "Only your own messages can be changed, and none that was recalled.", param="message"
        )
    return row


def _attached(ctx: Context, file_ids: list[str]) -> list[str]:
    seen = set(
        ctx.hub.execute(select(files.c.id).where(files_of(ctx.principal), files.c.id.in_(file_ids))).scalars()
    )
    for one in file_ids:
        if one not in seen:
            raise FileNotFound(f"No file {one!r}.", param="files", hint="List them with `hub file list`.")
    return file_ids


def _mentioned(ctx: Context, channel_id: str, text: str) -> list[str]:
    """Ids of those whom the text names and who see the channel."""
    names = set(_MENTION.findall(text))
    if not names:
        return []
    found = directory.named_in(ctx.hub, ctx.principal.org_id, names)
    members = members_of(ctx, channel_id)
    kind = find_channel(ctx.hub, ctx.principal, channel_id).kind
    return sorted(one for one in found.values() if kind == "open" or one in members)


def _view(ctx: Context, message_id: str) -> MessageView:
    return _views(ctx, [ctx.hub.execute(select(messages).where(messages.c.id == message_id)).one()])[0]


def _views(ctx: Context, rows: list[Row[Any]]) -> list[MessageView]:
    names = names_of(ctx, [row.author_id for row in rows])
    return [
        MessageView(
            id=row.id,
            channel=row.channel_id,
            thread=row.thread_id,
            author=names[row.author_id],
            text=row.text,
            files=json.loads(row.file_ids),
            mentions=sorted(set(_MENTION.findall(row.text))),
            created_at_ms=row.created_at_ms,
            edited_at_ms=row.edited_at_ms,
            recalled_at_ms=row.recalled_at_ms,
        )
        for row in rows
    ]
