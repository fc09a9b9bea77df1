"""Rows of events: what they say of time, who is asked, which room is taken, when somebody is reminded."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, Row, delete, exists, insert, or_, select

from tokenhub.commands import Context, Model
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest
from tokenhub.kernel.ids import new_id
from tokenhub.work.calendar_tables import bookings, event_people, events, hours, reminders, rooms
from tokenhub.work.errors import EventNotFound, RoomTaken
from tokenhub.work.people import names_of
from tokenhub.work.recurrence import (
    FIRST,
    LAST,
    Instance,
    Times,
    at_ms,
    instances,
    last_end_ms,
    parse_rule,
    wall,
    zone,
)
from tokenhub.work.visibility import events_of

LENGTH_MAX_S = 366 * 86_400
BOOKINGS_MAX = 400
"""Most instances of a series that books a room."""
TIMING = ("id", "tz", "all_day", "start_local", "length_s", "rule", "exceptions", "extras")
"""All that anybody reads of events that are not shown to them."""
AHEAD_MS = 400 * 86_400_000
"""How far the next reminder is sought."""


class EventView(Model):
    """An event, or one instance of a series."""

    id: str
    instance: str = Field(description="Names this instance of a series; empty if it takes place once.")
    title: str
    when: str = Field(description="In the event's own time zone.")
    start_at_ms: int
    end_at_ms: int
    tz: str
    all_day: bool
    room: str
    place: str
    owner: str
    people: list[str] = Field(description="Who is asked, and what they answered.")
    guests: list[str] = Field(description="Addresses of people outside the hub.")
    answer: str = Field(
        description="Yours: `waiting`, `accepted`, `declined` or `tentative`; empty if not asked."
    )
    repeats: str = Field(description="RRULE; empty = once.")
    everyone: str = Field(description="`read`: colleagues see everything; empty: only that you are busy.")
    busy: bool
    remind_min: int | None
    state: str = Field(description="`confirmed` or `cancelled`.")
    body: str


def zone_of(ctx: Context, user_id: str) -> str:
    """The person's time zone; UTC until they set one."""
    found = ctx.hub.execute(select(hours.c.tz).where(hours.c.user_id == user_id)).scalar()
    return str(found or "UTC")


def wall_time(text: str, tz: str, *, param: str) -> tuple[datetime, bool]:
    """A time as the wall of `tz` shows it, and whether it is a whole day. Raises: InvalidRequest."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            found = found.astimezone(ZoneInfo(tz)).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{text!r} is no time such as 2026-11-23T09:00 or 2026-11-23.", param=param
        ) from error
    if not FIRST < found.date() < LAST:
        raise InvalidRequest(f"{text!r} lies outside the years that a calendar holds.", param=param)
    return found.replace(second=0, microsecond=0), len(text.strip()) <= 10


def times_of(row: Row[Any]) -> Times:
    """When it takes place."""
    return Times(
        row.tz,
        datetime.fromisoformat(row.start_local),
        row.length_s,
        all_day=row.all_day,
        rule=parse_rule(row.rule) if row.rule else None,
        exceptions=frozenset(json.loads(row.exceptions)),
        extras=tuple(json.loads(row.extras)),
    )


def bounds(times: Times) -> dict[str, Any]:
    """The columns that tell when it begins and ends."""
    if not 0 <= times.length_s <= LENGTH_MAX_S:
        raise InvalidRequest("An event ends after it starts, within a year.", param="end")
    return {
        "tz": zone(times.tz).key,
        "all_day": times.all_day,
        "start_local": times.start.isoformat(),
        "length_s": times.length_s,
        "rule": "" if times.rule is None else str(times.rule),
        "exceptions": json.dumps(sorted(times.exceptions)),
        "extras": json.dumps(list(times.extras)),
        "start_at_ms": min([at_ms(times.start, times.tz), *(at_ms(datetime.fromisoformat(one), times.tz) for one in times.extras)]),
        "until_at_ms": last_end_ms(times),
    }  # fmt: skip


def add_event(ctx: Context, values: dict[str, Any], people: Collection[str]) -> str:
    """A new row with those who are asked, its room and its reminder; returns its id. `values` lack id and instants."""
    event_id = new_id("event")
    row = {
        "id": event_id,
        "org_id": ctx.principal.org_id,
        "uid": f"{event_id}@tokenhub",
        "series_id": None,
        "instance": "",
        "owner_id": ctx.principal.actor,
        "body": "",
        "place": "",
        "room_id": None,
        "everyone": "",
        "busy": True,
        "guests": "[]",
        "remind_min": None,
        "sequence": 0,
        "state": "confirmed",
        "created_at_ms": ctx.now_ms,
        "updated_at_ms": ctx.now_ms,
    } | values
    ctx.hub.execute(insert(events).values(**row))
    invite(ctx, event_id, people)
    settle(ctx, event_id)
    return event_id


def invite(
    ctx: Context, event_id: str, people: Collection[str], answers: dict[str, str] | None = None
) -> list[str]:
    """Ask these people too; returns those who were not asked before."""
    there = set(
        ctx.hub.execute(select(event_people.c.user_id).where(event_people.c.event_id == event_id)).scalars()
    )
    new = [one for one in dict.fromkeys(people) if one not in there]
    rows = [
        {
            "event_id": event_id,
            "user_id": one,
            "answer": (answers or {}).get(one, "accepted" if one == ctx.principal.actor else "waiting"),
            "comment": "",
            "answered_at_ms": None,
        }
        for one in new
    ]
    if rows:
        ctx.hub.execute(insert(event_people), rows)
    return new


def asked(ctx: Context, event_id: str) -> dict[str, str]:
    """Who is asked, and what they answered."""
    query = select(event_people.c.user_id, event_people.c.answer).where(event_people.c.event_id == event_id)
    return {row.user_id: row.answer for row in ctx.hub.execute(query.order_by(event_people.c.user_id))}


def settle(ctx: Context, event_id: str) -> None:
    """Book the room and set the next reminder, after anything about the event's time, room or state has changed."""
    row = ctx.hub.execute(select(events).where(events.c.id == event_id)).one()
    ctx.hub.execute(delete(bookings).where(bookings.c.event_id == event_id))
    ctx.hub.execute(delete(reminders).where(reminders.c.event_id == event_id))
    if row.state == "cancelled":
        return
    times = times_of(row)
    if row.room_id is not None:
        _book(ctx, row, times)
    if row.remind_min is not None:
        due = next_reminder(row, after_ms=ctx.now_ms)
        if due is not None:
            ctx.hub.execute(insert(reminders).values(event_id=event_id, **due))


def next_reminder(row: Row[Any], *, after_ms: int) -> dict[str, int] | None:
    """`due_at_ms` and `start_at_ms` of the first reminder after this instant."""
    ahead = row.remind_min * 60_000
    found = instances(times_of(row), from_ms=after_ms, until_ms=after_ms + ahead + AHEAD_MS)
    for one in found:
        if one.start_ms - ahead > after_ms:
            return {"due_at_ms": one.start_ms - ahead, "start_at_ms": one.start_ms}
    return None


def _book(ctx: Context, row: Row[Any], times: Times) -> None:
    """One booking an instance. Raises: RoomTaken; Conflict for a room that is too small; InvalidRequest without end."""
    room = ctx.hub.execute(select(rooms).where(rooms.c.id == row.room_id)).one()
    heads = len(asked(ctx, row.id).keys() | {row.owner_id})
    if heads > room.capacity:
        message = f"{room.name!r} holds {room.capacity}, and you are {heads}."
        raise Conflict(
            message, code="room_too_small", param="room", hint="`hub calendar free` finds another."
        )
    taken: list[dict[str, Any]] = []
    if row.until_at_ms is not None:
        for one in instances(times, from_ms=row.start_at_ms, until_ms=row.until_at_ms + 1):
            taken.append({"start_at_ms": one.start_ms, "end_at_ms": one.end_ms})
            if len(taken) > BOOKINGS_MAX:
                break
    if row.until_at_ms is None or len(taken) > BOOKINGS_MAX:
        raise InvalidRequest(
            f"A series that books a room ends within {BOOKINGS_MAX} times; give its rule COUNT or UNTIL.",
            param="repeat",
            code="room_needs_end",
        )
    for start in range(0, len(taken), 100):
        _refuse_overlap(ctx, row, room.name, taken[start : start + 100])
    if taken:
        ctx.hub.execute(insert(bookings), [{**one, "event_id": row.id, "room_id": room.id} for one in taken])


def _refuse_overlap(ctx: Context, row: Row[Any], room: str, taken: Sequence[dict[str, Any]]) -> None:
    """Says when the room is taken; what comes in between is refused by the database itself."""
    clash = or_(
        *(
            (bookings.c.start_at_ms < one["end_at_ms"]) & (bookings.c.end_at_ms > one["start_at_ms"])
            for one in taken
        )
    )
    query = select(bookings).where(bookings.c.room_id == row.room_id, bookings.c.event_id != row.id, clash)
    found = ctx.hub.execute(query.order_by(bookings.c.start_at_ms).limit(1)).one_or_none()
    if found is not None:
        when = when_of(found.start_at_ms, found.end_at_ms, row.tz, all_day=False)
        raise RoomTaken(f"{room!r} is taken: {when}.", param="room", hint="`hub calendar free` finds a time or another room.")  # fmt: skip


def find_event(connection: Connection, principal: Principal, named: str) -> Row[Any]:
    """By id, or by a title that only one has, among those that the caller sees. Raises: EventNotFound."""
    query = select(events).where(events_of(principal), or_(events.c.id == named, events.c.title == named))
    rows = connection.execute(query.order_by(events.c.id != named).limit(50)).all()
    exact = [row for row in rows if row.id == named]
    live = [row for row in rows if row.state != "cancelled" and row.series_id is None]
    chosen = exact or live
    if len(chosen) != 1:
        problem = (
            f"Several events are called {named!r}; name one by its id." if chosen else f"No event {named!r}."
        )
        raise EventNotFound(problem, param="event", hint="List them with `hub event list`.")
    return chosen[0]


def takes_part(user_id: str) -> ColumnElement[bool]:
    """Events that this person owns or was asked to, and did not decline."""
    mine = exists().where(
        event_people.c.event_id == events.c.id,
        event_people.c.user_id == user_id,
        event_people.c.answer != "declined",
    )
    return or_(events.c.owner_id == user_id, mine)


def overlapping(from_ms: int, until_ms: int) -> ColumnElement[bool]:
    """Events that may have an instance in this window."""
    ends = or_(events.c.until_at_ms.is_(None), events.c.until_at_ms >= from_ms)
    return (events.c.state != "cancelled") & (events.c.start_at_ms < until_ms) & ends


def first_instance(row: Row[Any]) -> Instance:
    """The first one that takes place; of a series that has none left, as if it took place at its start."""
    times = times_of(row)
    end = row.until_at_ms or row.start_at_ms + AHEAD_MS
    for one in instances(times, from_ms=row.start_at_ms, until_ms=end + 1):
        return one
    return Instance(row.start_at_ms, row.start_at_ms + row.length_s * 1000, row.start_local)


def views(ctx: Context, found: Sequence[tuple[Row[Any], Instance]]) -> list[EventView]:
    """What a person sees of them."""
    ids = {row.id for row, _ in found}
    people: dict[str, list[Row[Any]]] = {one: [] for one in ids}
    for row in ctx.hub.execute(select(event_people).where(event_people.c.event_id.in_(ids))):
        people[row.event_id].append(row)
    names = names_of(
        ctx, [one.user_id for rows in people.values() for one in rows] + [row.owner_id for row, _ in found]
    )
    kept = ctx.hub.execute(
        select(rooms.c.id, rooms.c.name).where(rooms.c.id.in_({row.room_id for row, _ in found}))
    )
    halls = {row.id: row.name for row in kept}
    return [_view(ctx, row, one, people[row.id], names, halls) for row, one in found]


def _view(
    ctx: Context,
    row: Row[Any],
    one: Instance,
    people: Sequence[Row[Any]],
    names: dict[str, str],
    halls: dict[str, str],
) -> EventView:
    answers = {asked.user_id: asked.answer for asked in people}
    told = sorted(f"{names[user]} ({answer})" for user, answer in answers.items())
    return EventView(
        id=row.id,
        instance=one.local if row.rule else row.instance,
        title=row.title,
        when=when_of(one.start_ms, one.end_ms, row.tz, all_day=row.all_day),
        start_at_ms=one.start_ms,
        end_at_ms=one.end_ms,
        tz=row.tz,
        all_day=row.all_day,
        room=halls.get(row.room_id or "", ""),
        place=row.place,
        owner=names[row.owner_id],
        people=told,
        guests=json.loads(row.guests),
        answer=answers.get(ctx.principal.actor, ""),
        repeats=row.rule,
        everyone=row.everyone,
        busy=row.busy,
        remind_min=row.remind_min,
        state=row.state,
        body=row.body,
    )


def when_of(start_ms: int, end_ms: int, tz: str, *, all_day: bool) -> str:
    """`Mon 2026-11-23 09:00-10:00 CET`; of all-day events the days."""
    starts, ends = wall(start_ms, tz), wall(end_ms, tz)
    if all_day:
        last = ends - timedelta(days=1)
        return f"{starts:%a %Y-%m-%d}" + (f" - {last:%a %Y-%m-%d}" if last.date() > starts.date() else "")
    name = datetime.fromtimestamp(start_ms / 1000, ZoneInfo(tz)).tzname() or tz
    same = ends.date() == starts.date()
    return f"{starts:%a %Y-%m-%d %H:%M}-{ends:{'%H:%M' if same else '%a %Y-%m-%d %H:%M'}} {name}"
