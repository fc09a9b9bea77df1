"""`hub event …`: what takes place when, who is asked, and what they answer.

An event is seen by its owner and those who are asked; everyone else in the organisation sees that these are busy, or
everything if the owner says so (`everyone`). Changing one lives in `event_edits.py`, files in `calendar_files.py`.
"""

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, Select, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import encode_cursor
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import parse_duration_ms
from tokenhub.kernel.errors import InvalidRequest, PermissionDenied
from tokenhub.work.calendar_tables import event_people, events
from tokenhub.work.event_store import (
    TIMING,
    EventView,
    add_event,
    bounds,
    find_event,
    first_instance,
    invite,
    overlapping,
    settle,
    takes_part,
    times_of,
    views,
    wall_time,
    when_of,
    zone_of,
)
from tokenhub.work.people import TEXT_MAX, acts_on_person, instant_ms, notify, person
from tokenhub.work.recurrence import Instance, Times, at_ms, instances, parse_rule, zone
from tokenhub.work.rooms import find_room
from tokenhub.work.visibility import events_of

VERBS: list[Command] = []
DAY_MS = 86_400_000
SPAN_MAX_MS = 400 * DAY_MS
ROWS_MAX = 5000
START_HELP = "When: 2026-11-23T09:00 in your time zone, with an offset, or a date alone for a whole day."
ANSWERS = Literal["accepted", "declined", "tentative"]


class EventCreate(Model):
    """A new event."""

    title: str = Field(min_length=1, max_length=200, description="What it is.")
    start: str = Field(description=START_HELP)
    end: str | None = Field(default=None, description="When it ends; of whole days the last one.")
    length: str | None = Field(
        default=None,
        description="How long, such as 45m or 1h30m, instead of `end`; an hour if both are left out.",
    )
    tz: str | None = Field(default=None, description="Time zone such as Europe/Berlin; yours if left out.")
    people: list[str] = Field(default=[], max_length=500, description="Who is asked to come: names or ids.")
    room: str | None = Field(default=None, description="Room to book, by name or id.")
    place: str = Field(default="", max_length=200, description="Where, if in no room.")
    repeat: str | None = Field(
        default=None,
        description="daily, weekdays, weekly, fortnightly, monthly, yearly, or an RRULE such as FREQ=WEEKLY;COUNT=10.",
    )
    body: str = Field(default="", max_length=TEXT_MAX, description="More about it.")
    everyone: Literal["", "read"] = Field(
        default="", description="`read`: colleagues see everything; left out, only that you are busy."
    )
    free: bool = Field(default=False, description="It takes nobody's time: a birthday, a holiday.")
    remind: str | None = Field(
        default=None, description="How long before a notice reminds, such as 15m or 1d."
    )


class EventNamed(Model):
    """One event."""

    event: str = Field(description="Id of the event, or its title if only one has it.")


class EventInvite(EventNamed):
    """Whom else."""

    people: list[str] = Field(min_length=1, max_length=500, description="Who is asked too: names or ids.")


class EventAnswer(EventNamed):
    """An answer."""

    answer: ANSWERS = Field(description="Whether you come.")
    comment: str = Field(default="", max_length=500, description="Something to say; the owner is told.")


class EventListArgs(PageArgs):
    """Which events."""

    start: str | None = Field(default=None, description="From when on; now if left out.")
    end: str | None = Field(default=None, description="Until when; a week later if left out.")
    user: str = Field(default="me", description="Whose: a name or id.")
    match: str = Field(default="", max_length=200, description="Only those whose title has this.")


class EventList(PageResult):
    """A page of events, by time."""

    items: list[EventView]


@command(
    "event.create",
    effect="write",
    resource="",
    sinks=("people", "room", "everyone"),
    permission="work",
    cost=2,
    summary="Make an event, ask people and book a room.",
    positional=("title", "start"),
    examples=[
        Example(
            "hub event create Review 2026-11-27T10:00 --length 45m --people ana,bob --room blue",
            "They get a notice",
        ),
        Example(
            "hub event create Standup 2026-11-23T09:15 --length 15m --repeat weekdays",
            "Every working day, on your clock",
        ),
    ],
)
def event_create(ctx: Context, args: EventCreate) -> EventView:
    """A room that is taken at any of its times refuses it. Series keep their hour when the clocks change."""
    tz = zone(args.tz).key if args.tz else zone_of(ctx, ctx.principal.actor)
    times = spoken_times(args.start, args.end, args.length, tz=tz, repeat=args.repeat)
    people = [person(ctx, one, param="people").id for one in args.people]
    values = {
        "title": args.title,
        "body": args.body,
        "place": args.place,
        "room_id": find_room(ctx.hub, ctx.principal, args.room).id if args.room else None,
        "everyone": args.everyone,
        "busy": not args.free,
        "remind_min": minutes(args.remind, param="remind"),
        **bounds(times),
    }
    event_id = add_event(ctx, values, people)
    shown = show(ctx, event_id)
    notify(ctx, people, kind="invited", subject=event_id, text=f"{args.title}, {shown.when}")
    return shown


@command(
    "event.list",
    effect="read",
    resource="user",
    acts_on=acts_on_person,
    permission="read",
    trust="untrusted",
    summary="List what takes place, by time.",
    columns=("when", "title", "room", "owner", "answer", "id"),
    examples=[
        Example("hub event list", "Your next week"),
        Example(
            "hub event list --user ana --start 2026-11-23 --end 2026-11-24",
            "Her day; what is private shows as busy",
        ),
    ],
)
def event_list(ctx: Context, args: EventListArgs) -> EventList:
    """Every instance of a series by itself. Events of a colleague that you may not see show as `busy`, without words."""
    user = person(ctx, args.user, param="user") if args.user != "me" else None
    user_id = user.id if user else ctx.principal.actor
    from_ms, until_ms = window(ctx, args.start, args.end)
    theirs = overlapping(from_ms, until_ms) & takes_part(user_id)
    query = select(events).where(events_of(ctx.principal), theirs)
    if args.match:
        query = query.where(events.c.title.icontains(args.match, autoescape=True))
    rows: list[Row[Any]] = list(ctx.hub.execute(query.limit(ROWS_MAX + 1)))
    hidden: list[Row[Any]] = []
    if user_id != ctx.principal.actor and not args.match:
        others = (
            (events.c.org_id == ctx.principal.org_id) & ~events_of(ctx.principal) & events.c.busy.is_(True)
        )
        timing: Select[Any] = select(*(events.c[name] for name in TIMING)).where(theirs, others)
        hidden = list(ctx.hub.execute(timing.limit(ROWS_MAX + 1)))
    if len(rows) > ROWS_MAX or len(hidden) > ROWS_MAX:
        raise InvalidRequest("There are too many events in this time; ask for a shorter one.", param="end")
    found = [
        (row, one)
        for row in [*rows, *hidden]
        for one in instances(times_of(row), from_ms=from_ms, until_ms=until_ms)
    ]
    found.sort(key=_place)
    left = [one for one in found if args.after is None or _place(one) > args.after]
    shown = left[: args.limit]
    secret = {row.id for row in hidden}
    whole = iter(views(ctx, [one for one in shown if one[0].id not in secret]))
    owner = user.name if user else ""
    items = [_busy(row, one, owner) if row.id in secret else next(whole) for row, one in shown]
    following = encode_cursor(_place(shown[-1])) if len(left) > len(shown) else None
    return EventList(items=items, next_cursor=following)


@command(
    "event.show",
    effect="read",
    resource="event",
    permission="read",
    trust="untrusted",
    summary="Show an event and who comes.",
    positional=("event",),
    examples=[Example("hub event show Review", "Its times, room, people and their answers")],
)
def event_show(ctx: Context, args: EventNamed) -> EventView:
    """By id, or by a title that only one has. Of a series, its first instance."""
    return show(ctx, find_event(ctx.hub, ctx.principal, args.event).id)


@command(
    "event.answer",
    effect="write",
    resource="event",
    sinks=("event",),
    permission="work",
    trust="untrusted",
    summary="Say whether you come.",
    positional=("event", "answer"),
    examples=[
        Example(
            "hub event answer Review accepted",
            "Its owner is told; a `declined` event takes none of your time",
        )
    ],
)
def event_answer(ctx: Context, args: EventAnswer) -> EventView:
    """Only if you were asked. The newest answer counts."""
    row = find_event(ctx.hub, ctx.principal, args.event)
    mine = (event_people.c.event_id == row.id) & (event_people.c.user_id == ctx.principal.actor)
    values = {"answer": args.answer, "comment": args.comment, "answered_at_ms": ctx.now_ms}
    if (
        row.state == "cancelled"
        or not ctx.hub.execute(update(event_people).where(mine).values(**values)).rowcount
    ):
        raise PermissionDenied("Nobody asked you to this event, or it was cancelled.", param="event")
    words = f"{args.answer}: {args.comment or row.title}"
    notify(ctx, [row.owner_id], kind="answered", subject=row.id, text=words)
    return show(ctx, row.id)


@command(
    "event.invite",
    effect="write",
    resource="event",
    sinks=("event", "people"),
    permission="work",
    trust="untrusted",
    summary="Ask more people to an event.",
    positional=("event", "people"),
    examples=[Example("hub event invite Review eve", "Eve gets a notice")],
)
def event_invite(ctx: Context, args: EventInvite) -> EventView:
    """By its owner. Whoever was asked already is not asked again."""
    row = find_event(ctx.hub, ctx.principal, args.event)
    if row.owner_id != ctx.principal.actor or row.state == "cancelled":
        raise PermissionDenied("Only the owner asks people, while the event takes place.", param="event")
    new = invite(ctx, row.id, [person(ctx, one, param="people").id for one in args.people])
    if row.room_id is not None:
        settle(ctx, row.id)
    notify(ctx, new, kind="invited", subject=row.id, text=f"{row.title}, {show(ctx, row.id).when}")
    return show(ctx, row.id)


@resolver("event")
def _event(connection: Connection, principal: Principal, named: str) -> Found:
    row = find_event(connection, principal, named)
    return Found(row.id, row.owner_id, row.title)


def show(ctx: Context, event_id: str) -> EventView:
    """One event as its first instance."""
    row = ctx.hub.execute(select(events).where(events.c.id == event_id)).one()
    return views(ctx, [(row, first_instance(row))])[0]


def window(ctx: Context, start: str | None, end: str | None) -> tuple[int, int]:
    """From when until when, in the caller's time zone; a day that ends it is whole. Raises: InvalidRequest."""
    tz = zone_of(ctx, ctx.principal.actor)
    from_ms = instant_ms(start, param="start", tz=tz) if start else ctx.now_ms
    assert from_ms is not None
    until_ms = from_ms + 7 * DAY_MS
    if end:
        local, whole = wall_time(end, tz, param="end")
        until_ms = at_ms(local, tz) + (DAY_MS if whole else 0)
    if not 0 < until_ms - from_ms <= SPAN_MAX_MS or not 0 <= from_ms < 7_000_000_000_000:
        raise InvalidRequest("Ask for a time that ends after it starts, within 400 days.", param="end")
    return from_ms, until_ms


def spoken_times(start: str, end: str | None, length: str | None, *, tz: str, repeat: str | None) -> Times:
    """What was asked for in words. Raises: InvalidRequest."""
    begins, whole = wall_time(start, tz, param="start")
    if end is not None and length is not None:
        raise InvalidRequest("Give `end` or `length`, not both.", param="length")
    length_s = 86_400 if whole else 3600
    if end is not None:
        ends, ends_whole = wall_time(end, tz, param="end")
        if ends_whole != whole:
            raise InvalidRequest("`start` and `end` are both days or both times.", param="end")
        if whole:
            length_s = ((ends - begins).days + 1) * 86_400
        else:
            length_s = (at_ms(ends, tz) - at_ms(begins, tz)) // 1000
        if length_s <= 0:
            raise InvalidRequest("It ends before it starts.", param="end")
    if length is not None:
        length_s = (minutes(length, param="length") or 0) * 60
        if length_s <= 0 or (whole and length_s % 86_400):
            raise InvalidRequest("A length such as 45m; of whole days such as 2d.", param="length")
    return Times(tz, begins, length_s, all_day=whole, rule=parse_rule(repeat) if repeat else None)


def minutes(text: str | None, *, param: str) -> int | None:
    """`15m` -> 15; None for none. Raises: InvalidRequest."""
    if not text or text == "none":
        return None
    try:
        found = parse_duration_ms(text) // 60_000
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param=param) from error
    if found > 366 * 1440:
        raise InvalidRequest("No longer than a year.", param=param)
    return found


def _place(found: tuple[Row[Any], Instance]) -> str:
    """Its place in a list by time."""
    return f"{found[1].start_ms:015d}/{found[0].id}"


def _busy(row: Row[Any], one: Instance, owner: str) -> EventView:
    """What a colleague sees of an event that is not shown to them."""
    return EventView(
        id="",
        instance="",
        title="busy",
        when=when_of(one.start_ms, one.end_ms, row.tz, all_day=row.all_day),
        start_at_ms=one.start_ms,
        end_at_ms=one.end_ms,
        tz=row.tz,
        all_day=row.all_day,
        room="",
        place="",
        owner=owner,
        people=[],
        guests=[],
        answer="",
        repeats="",
        everyone="",
        busy=True,
        remind_min=None,
        state="confirmed",
        body="",
    )
