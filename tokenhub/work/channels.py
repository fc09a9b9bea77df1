"""`hub channel …`: where people talk: groups, open channels, and one direct talk of each pair."""

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, Select, delete, insert, or_, select

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.db.upsert import insert_for
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest
from tokenhub.kernel.ids import new_id
from tokenhub.work.errors import ChannelNotFound
from tokenhub.work.people import names_of, notify, person
from tokenhub.work.tables import channel_members, channels
from tokenhub.work.visibility import channels_of

VERBS: list[Command] = []
DIRECT = "direct"


class ChannelView(Model):
    """A place for messages."""

    id: str
    kind: str = Field(
        description="`direct`, `group` (only members) or `open` (everyone in the organisation)."
    )
    name: str
    members: list[str]
    created_at_ms: int


class ChannelCreate(Model):
    """A new channel."""

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[^\s:@]([^:@]*[^\s:@])?$",
        description="Name, unique in the organisation.",
    )
    members: list[str] = Field(
        default=[], max_length=500, description="Who is in it besides you: names or ids."
    )
    open: bool = Field(default=False, description="Everyone in the organisation may read and write.")


class ChannelNamed(Model):
    """One channel."""

    channel: str = Field(description="Name or id of the channel.")


class ChannelPerson(ChannelNamed):
    """A person and a channel."""

    user: str = Field(description="Name or id of the person; `me` for yourself.")


class ChannelList(PageResult):
    """A page of channels."""

    items: list[ChannelView]


@command(
    "channel.create",
    effect="write",
    resource="",
    sinks=("members", "open"),
    permission="work",
    summary="Make a channel for a group, or one that is open to all.",
    positional=("name",),
    examples=[Example("hub channel create launch --member ana --member bob", "The three of you")],
)
def channel_create(ctx: Context, args: ChannelCreate) -> ChannelView:
    """Whoever is in it is told."""
    users = [person(ctx, named, param="members").id for named in args.members]
    taken = select(channels.c.id).where(
        channels.c.org_id == ctx.principal.org_id, channels.c.name == args.name
    )
    if ctx.hub.execute(taken).first() is not None:
        raise Conflict(f"There is a channel named {args.name!r} already.", code="name_taken", param="name")
    channel_id = _insert(ctx, "open" if args.open else "group", args.name, [ctx.principal.actor, *users])
    notify(ctx, users, kind="invited", subject=channel_id, text=args.name)
    return _view(ctx, channel_id)


@command(
    "channel.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List the channels that you see.",
    examples=[Example("hub channel list", "Newest first")],
)
def channel_list(ctx: Context, args: PageArgs) -> ChannelList:
    """Yours and the open ones."""
    query = select(channels).where(channels_of(ctx.principal)).order_by(channels.c.id.desc())
    if args.after is not None:
        query = query.where(channels.c.id < args.after)
    shown = page(ctx.hub.execute(query.limit(args.limit + 1)).all(), limit=args.limit, key=lambda row: row.id)
    return ChannelList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "channel.show",
    effect="read",
    resource="channel",
    permission="read",
    trust="untrusted",
    summary="Show a channel and who is in it.",
    positional=("channel",),
    examples=[Example("hub channel show launch", "Its members")],
)
def channel_show(ctx: Context, args: ChannelNamed) -> ChannelView:
    """By name or id."""
    return _view(ctx, find_channel(ctx.hub, ctx.principal, args.channel).id)


@command(
    "channel.add",
    effect="write",
    resource="channel",
    sinks=("channel", "user"),
    permission="work",
    summary="Bring a person into a channel.",
    positional=("channel", "user"),
    examples=[Example("hub channel add launch eve", "Eve sees what was written there before, too")],
)
def channel_add(ctx: Context, args: ChannelPerson) -> ChannelView:
    """By whoever is in it. Into an open one, everyone may also bring themselves."""
    found = find_channel(ctx.hub, ctx.principal, args.channel)
    if found.kind == DIRECT:
        raise InvalidRequest("A direct talk has two people; make a channel.", param="channel")
    user = person(ctx, args.user, param="user")
    if _join(ctx, found.id, user.id):
        notify(ctx, [user.id], kind="invited", subject=found.id, text=found.name)
    return _view(ctx, found.id)


@command(
    "channel.leave",
    effect="write",
    resource="channel",
    sinks=("channel",),
    permission="work",
    summary="Leave a channel.",
    positional=("channel",),
    examples=[Example("hub channel leave launch", "Somebody in it can bring you back")],
)
def channel_leave(ctx: Context, args: ChannelNamed) -> ChannelView:
    """What you wrote stays."""
    found = find_channel(ctx.hub, ctx.principal, args.channel)
    if found.kind == DIRECT:
        raise InvalidRequest("A direct talk cannot be left.", param="channel")
    mine = (channel_members.c.channel_id == found.id) & (channel_members.c.user_id == ctx.principal.actor)
    ctx.hub.execute(delete(channel_members).where(mine))
    return _view(ctx, found.id)


def direct(ctx: Context, user_id: str) -> str:
    """The direct talk with this person, made at the first message; returns its id."""
    found = ctx.hub.execute(direct_with(ctx.principal, user_id)).one_or_none()
    if found is not None:
        return str(found.id)
    return _insert(ctx, DIRECT, _pair(ctx.principal, user_id), [ctx.principal.actor, user_id])


def direct_with(principal: Principal, user_id: str) -> Select[tuple[str]]:
    """The id of the direct talk of the caller with this person; none before the first message."""
    mine = (channels.c.org_id == principal.org_id) & (channels.c.kind == DIRECT)
    return select(channels.c.id).where(mine, channels.c.name == _pair(principal, user_id))


def find_channel(connection: Connection, principal: Principal, named: str) -> Row[Any]:
    """By id or name, among those that the caller sees. Raises: ChannelNotFound."""
    query = select(channels).where(
        channels_of(principal),
        or_(channels.c.id == named, (channels.c.name == named) & (channels.c.kind != DIRECT)),
    )
    rows = connection.execute(query.order_by(channels.c.id == named)).all()
    if not rows:
        raise ChannelNotFound(
            f"No channel {named!r}.", param="channel", hint="List them with `hub channel list`."
        )
    return rows[-1]


def members_of(ctx: Context, channel_id: str) -> list[str]:
    """Ids of those who are in it."""
    query = select(channel_members.c.user_id).where(channel_members.c.channel_id == channel_id)
    return list(ctx.hub.execute(query.order_by(channel_members.c.user_id)).scalars())


@resolver("channel")
def _channel(connection: Connection, principal: Principal, named: str) -> Found:
    return channel_as_found(find_channel(connection, principal, named))


def channel_as_found(row: Row[Any]) -> Found:
    """A channel as policies see it."""
    return Found(row.id, row.creator_id, "" if row.kind == DIRECT else row.name)


def _pair(principal: Principal, user_id: str) -> str:
    return ":".join(sorted((principal.actor, user_id)))


def _insert(ctx: Context, kind: str, name: str, users: list[str]) -> str:
    channel_id = new_id("chan")
    ctx.hub.execute(
        insert(channels).values(
            id=channel_id,
            org_id=ctx.principal.org_id,
            kind=kind,
            name=name,
            creator_id=ctx.principal.actor,
            created_at_ms=ctx.now_ms,
        )
    )
    for user_id in dict.fromkeys(users):
        _join(ctx, channel_id, user_id)
    return channel_id


def _join(ctx: Context, channel_id: str, user_id: str) -> bool:
    values = {"channel_id": channel_id, "user_id": user_id, "created_at_ms": ctx.now_ms}
    added = insert_for(ctx.hub, channel_members).values(values).on_conflict_do_nothing()
    return ctx.hub.execute(added.returning(channel_members.c.user_id)).first() is not None


def _view(ctx: Context, channel_id: str) -> ChannelView:
    return _views(ctx, [ctx.hub.execute(select(channels).where(channels.c.id == channel_id)).one()])[0]


def _views(ctx: Context, rows: list[Row[Any]]) -> list[ChannelView]:
    found: dict[str, list[str]] = {row.id: [] for row in rows}
    query = select(channel_members).where(channel_members.c.channel_id.in_(found))
    for one in ctx.hub.execute(query.order_by(channel_members.c.user_id)):
        found[one.channel_id].append(one.user_id)
    names = names_of(ctx, [user for users in found.values() for user in users])
    views: list[ChannelView] = []
    for row in rows:
        members = sorted(names[user] for user in found[row.id])
        kind: Literal["direct", "group", "open"] = row.kind
        name = ", ".join(members) if kind == DIRECT else row.name
        views.append(
            ChannelView(id=row.id, kind=kind, name=name, members=members, created_at_ms=row.created_at_ms)
        )
    return views
