"""`hub room …`: rooms that events book."""

from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, insert, or_, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict
from tokenhub.kernel.ids import new_id
from tokenhub.work.calendar_tables import bookings, rooms
from tokenhub.work.errors import RoomNotFound

VERBS: list[Command] = []


class RoomView(Model):
    """A room."""

    id: str
    name: str
    place: str
    capacity: int = Field(description="How many people it holds.")
    created_at_ms: int
    closed_at_ms: int | None


class RoomCreate(Model):
    """A new room."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique in the organisation.")
    capacity: int = Field(ge=1, le=100_000, description="How many people it holds.")
    place: str = Field(default="", max_length=200, description="Where it is.")


class RoomNamed(Model):
    """One room."""

    room: str = Field(description="Name or id of the room.")


class RoomSet(RoomNamed):
    """What to change."""

    name: str | None = Field(default=None, min_length=1, max_length=100, description="New name.")
    capacity: int | None = Field(default=None, ge=1, le=100_000, description="How many people it holds now.")
    place: str | None = Field(default=None, max_length=200, description="Where it is now.")


class RoomList(PageResult):
    """A page of rooms."""

    items: list[RoomView]


@command(
    "room.create",
    effect="write",
    resource="",
    permission="admin",
    summary="Add a room that events can book.",
    positional=("name",),
    examples=[
        Example(
            "hub room create blue --capacity 8 --place 'second floor'", "Whoever makes an event can book it"
        )
    ],
)
def room_create(ctx: Context, args: RoomCreate) -> RoomView:
    """Two events never have it at the same time."""
    _free(ctx, args.name)
    room_id = new_id("room")
    values = {"id": room_id, "org_id": ctx.principal.org_id, "created_at_ms": ctx.now_ms, **args.model_dump()}
    ctx.hub.execute(insert(rooms).values(**values))
    return _view(find_room(ctx.hub, ctx.principal, room_id))


@command(
    "room.list",
    effect="read",
    resource="",
    permission="read",
    summary="List rooms.",
    columns=("id", "name", "place", "capacity"),
    examples=[Example("hub room list", "Newest first")],
)
def room_list(ctx: Context, args: PageArgs) -> RoomList:
    """Those that can be booked; `hub calendar free` tells when."""
    query = select(rooms).where(rooms.c.org_id == ctx.principal.org_id, rooms.c.closed_at_ms.is_(None))
    if args.after is not None:
        query = query.where(rooms.c.id < args.after)
    found = ctx.hub.execute(query.order_by(rooms.c.id.desc()).limit(args.limit + 1)).all()
    shown = page(found, limit=args.limit, key=lambda row: row.id)
    return RoomList(items=[_view(row) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "room.set",
    effect="write",
    resource="room",
    sinks=("room",),
    permission="admin",
    summary="Change a room.",
    positional=("room",),
    examples=[Example("hub room set blue --capacity 10", "Events that have booked it keep it")],
)
def room_set(ctx: Context, args: RoomSet) -> RoomView:
    """What is left out stays as it is."""
    row = find_room(ctx.hub, ctx.principal, args.room)
    values = {name: value for name, value in args.model_dump(exclude={"room"}).items() if value is not None}
    if values.get("name", row.name) != row.name:
        _free(ctx, values["name"])
    if values:
        ctx.hub.execute(update(rooms).where(rooms.c.id == row.id).values(**values))
    return _view(find_room(ctx.hub, ctx.principal, row.id))


@command(
    "room.close",
    effect="write",
    resource="room",
    sinks=("room",),
    permission="admin",
    summary="Close a room: nobody can book it any more.",
    positional=("room",),
    examples=[Example("hub room close blue", "Refused while somebody has booked it")],
)
def room_close(ctx: Context, args: RoomNamed) -> RoomView:
    """Refused while events that are still to come have booked it."""
    row = find_room(ctx.hub, ctx.principal, args.room)
    coming = select(bookings.c.event_id).where(
        bookings.c.room_id == row.id, bookings.c.end_at_ms > ctx.now_ms
    )
    if ctx.hub.execute(coming.limit(1)).first() is not None:
        raise Conflict(f"{row.name!r} is booked; move those events first.", code="room_in_use", param="room")
    ctx.hub.execute(update(rooms).where(rooms.c.id == row.id).values(closed_at_ms=ctx.now_ms))
    return _view(ctx.hub.execute(select(rooms).where(rooms.c.id == row.id)).one())


def find_room(connection: Connection, principal: Principal, named: str, *, param: str = "room") -> Row[Any]:
    """By id or name, of those that can be booked. Raises: RoomNotFound."""
    mine = (rooms.c.org_id == principal.org_id) & rooms.c.closed_at_ms.is_(None)
    query = select(rooms).where(mine, or_(rooms.c.id == named, rooms.c.name == named))
    found = connection.execute(query.order_by(rooms.c.id == named)).all()
    if not found:
        raise RoomNotFound(f"No room {named!r}.", param=param, hint="List them with `hub room list`.")
    return found[-1]


@resolver("room")
def _room(connection: Connection, principal: Principal, named: str) -> Found:
    row = find_room(connection, principal, named)
    return Found(row.id, name=row.name)


def _free(ctx: Context, name: str) -> None:
    taken = select(rooms.c.id).where(rooms.c.org_id == ctx.principal.org_id, rooms.c.name == name)
    if ctx.hub.execute(taken).first() is not None:
        raise Conflict(f"There is a room named {name!r} already.", code="name_taken", param="name")


def _view(row: Row[Any]) -> RoomView:
    return RoomView(
        id=row.id,
        name=row.name,
        place=row.place,
        capacity=row.capacity,
        created_at_ms=row.created_at_ms,
        closed_at_ms=row.closed_at_ms,
    )
