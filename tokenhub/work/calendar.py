"""`hub calendar …`: working hours, time zones, and when people and rooms are free together."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field
from sqlalchemy import Row, Select, insert, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageResult
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.work.calendar_tables import bookings, events, hours, rooms
from tokenhub.work.event_store import TIMING, overlapping, takes_part, times_of, when_of, zone_of
from tokenhub.work.events import ROWS_MAX, minutes, window
from tokenhub.work.people import acts_on_person, names_of, person
from tokenhub.work.recurrence import at_ms, instances, wall, zone
from tokenhub.work.rooms import find_room
from tokenhub.work.tables import absences

VERBS: list[Command] = []
Span = tuple[int, int]
GRID_MS = 15 * 60_000
_DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class HoursView(Model):
    """When somebody works."""

    user: str
    tz: str
    opens: str
    closes: str
    days: list[str]


class CalendarShow(Model):
    """Whose."""

    user: str = Field(default="me", description="Name or id of the person.")


class CalendarSet(Model):
    """What to change of one's own."""

    tz: str | None = Field(default=None, description="Time zone such as Europe/Berlin.")
    opens: str | None = Field(default=None, description="When work begins: 09:00.")
    closes: str | None = Field(default=None, description="When it ends: 17:30.")
    days: list[str] | None = Field(default=None, max_length=7, description="Which days: mon,tue,wed,thu,fri.")


class CalendarFreeArgs(Model):
    """Who, how long, when."""

    people: list[str] = Field(
        default=["me"], max_length=50, description="Who has to be free: names, ids, `me`."
    )
    length: str = Field(default="1h", description="For how long: 30m, 1h, 2h.")
    start: str | None = Field(default=None, description="From when on; now if left out.")
    end: str | None = Field(default=None, description="Until when; a week later if left out.")
    rooms: list[str] = Field(
        default=[], max_length=50, description="One of these rooms has to be free; `any` = whichever."
    )
    any_time: bool = Field(default=False, description="Also outside of working hours.")
    limit: int = Field(default=10, ge=1, le=100, description="Most proposals.")


class FreeView(Model):
    """A time at which all are free."""

    when: str = Field(description="In your time zone.")
    start_at_ms: int
    end_at_ms: int
    rooms: list[str] = Field(description="Which of the rooms asked for are free and large enough.")


class FreeList(PageResult):
    """Proposals, the earliest first."""

    items: list[FreeView]


@command(
    "calendar.show",
    effect="read",
    resource="user",
    acts_on=acts_on_person,
    permission="read",
    summary="Show when somebody works.",
    positional=("user",),
    examples=[Example("hub calendar show ana", "Her time zone and working hours")],
)
def calendar_show(ctx: Context, args: CalendarShow) -> HoursView:
    """Monday to Friday, 9 to 17, UTC, until they set something else."""
    user_id = ctx.principal.actor if args.user == "me" else person(ctx, args.user, param="user").id
    return _hours_view(ctx, user_id)


@command(
    "calendar.set",
    effect="write",
    resource="",
    permission="work",
    summary="Set your time zone and working hours.",
    examples=[
        Example(
            "hub calendar set --tz Europe/Berlin --opens 09:00 --closes 17:30",
            "`hub calendar free` heeds them",
        )
    ],
)
def calendar_set(ctx: Context, args: CalendarSet) -> HoursView:
    """What is left out stays as it is. Times that you give without an offset are read in this zone."""
    me = ctx.principal.actor
    there = ctx.hub.execute(select(hours.c.tz).where(hours.c.user_id == me)).one_or_none()
    values = _hours(ctx, me)
    if args.tz is not None:
        values["tz"] = zone(args.tz).key
    if args.opens is not None:
        values["opens_minute"] = _minute(args.opens, param="opens")
    if args.closes is not None:
        values["closes_minute"] = _minute(args.closes, param="closes")
    if args.days is not None:
        values["days"] = _days(args.days)
    if values["opens_minute"] >= values["closes_minute"]:
        raise InvalidRequest("Work ends after it begins.", param="closes")
    if there is None:
        ctx.hub.execute(insert(hours).values(**values))
    else:
        ctx.hub.execute(update(hours).where(hours.c.user_id == me).values(**values))
    return _hours_view(ctx, me)


@command(
    "calendar.free",
    effect="read",
    resource="",
    permission="read",
    summary="Find when people and rooms are free together.",
    columns=("when", "rooms"),
    examples=[
        Example("hub calendar free --people me,ana,bob --length 45m", "Within everybody's working hours"),
        Example(
            "hub calendar free --people ana --rooms any --start 2026-11-23 --end 2026-11-24", "A room too"
        ),
    ],
)
def calendar_free(ctx: Context, args: CalendarFreeArgs) -> FreeList:
    """Tells only when, never what keeps them busy. Absences count; events that somebody declined do not."""
    from_ms, until_ms = window(ctx, args.start, args.end)
    from_ms = -(-from_ms // GRID_MS) * GRID_MS
    length_ms = (minutes(args.length, param="length") or 0) * 60_000
    if length_ms <= 0:
        raise InvalidRequest("A length such as 30m or 1h.", param="length")
    named = [
        ctx.principal.actor if one == "me" else person(ctx, one, param="people").id for one in args.people
    ]
    people = list(dict.fromkeys(named))
    gaps: list[Span] = [(from_ms, until_ms)]
    for one in people:
        if not args.any_time:
            gaps = _within(gaps, _working(ctx, one, from_ms, until_ms))
        gaps = _without(gaps, _taken(ctx, one, from_ms, until_ms))
    halls = _halls(ctx, args.rooms, heads=len(people))
    busy = {room.id: _booked(ctx, room.id, from_ms, until_ms) for room in halls}
    tz = zone_of(ctx, ctx.principal.actor)
    items: list[FreeView] = []
    for start in _starts(gaps, length_ms):
        span = (start, start + length_ms)
        free = [room.name for room in halls if not any(_overlap(span, one) for one in busy[room.id])]
        if free or not args.rooms:
            when = when_of(*span, tz, all_day=False)
            items.append(FreeView(when=when, start_at_ms=span[0], end_at_ms=span[1], rooms=free))
        if len(items) == args.limit:
            break
    return FreeList(items=items)


def _starts(gaps: Iterable[Span], length_ms: int) -> Iterable[int]:
    """Every start on the quarter of an hour, one proposal a half hour or a length apart, whichever is less."""
    step = min(max(GRID_MS, length_ms // GRID_MS * GRID_MS), 2 * GRID_MS)
    for begins, ends in gaps:
        start = -(-begins // GRID_MS) * GRID_MS
        while start + length_ms <= ends:
            yield start
            start += step


def _working(ctx: Context, user_id: str, from_ms: int, until_ms: int) -> list[Span]:
    kept = _hours(ctx, user_id)
    day = wall(from_ms, kept["tz"]).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    found: list[Span] = []
    while at_ms(day, kept["tz"]) < until_ms:
        if str(day.isoweekday()) in kept["days"]:
            opens, closes = (
                at_ms(day + timedelta(minutes=kept[name]), kept["tz"])
                for name in ("opens_minute", "closes_minute")
            )
            found.append((opens, closes))
        day += timedelta(days=1)
    return found


def _taken(ctx: Context, user_id: str, from_ms: int, until_ms: int) -> list[Span]:
    """When the person is busy or away; only times are read."""
    org_id = ctx.principal.org_id
    mine = (events.c.org_id == org_id) & takes_part(user_id) & events.c.busy.is_(True)
    timing: Select[Any] = select(*(events.c[name] for name in TIMING)).where(
        mine, overlapping(from_ms, until_ms)
    )
    rows: list[Row[Any]] = list(ctx.hub.execute(timing.limit(ROWS_MAX)))
    found = [
        (one.start_ms, one.end_ms)
        for row in rows
        for one in instances(times_of(row), from_ms=from_ms, until_ms=until_ms)
    ]
    away = (absences.c.org_id == org_id) & (absences.c.user_id == user_id) & absences.c.ended_at_ms.is_(None)
    inside = (absences.c.from_ms < until_ms) & (absences.c.until_ms > from_ms)
    gone = ctx.hub.execute(select(absences.c.from_ms, absences.c.until_ms).where(away, inside))
    return found + [(row.from_ms, row.until_ms) for row in gone]


def _halls(ctx: Context, named: list[str], *, heads: int) -> list[Row[Any]]:
    if "any" in named:
        mine = (rooms.c.org_id == ctx.principal.org_id) & rooms.c.closed_at_ms.is_(None)
        query = select(rooms).where(mine, rooms.c.capacity >= heads).order_by(rooms.c.capacity, rooms.c.name)
        return list(ctx.hub.execute(query.limit(100)))
    found = [find_room(ctx.hub, ctx.principal, one, param="rooms") for one in named]
    return [room for room in found if room.capacity >= heads]


def _booked(ctx: Context, room_id: str, from_ms: int, until_ms: int) -> list[Span]:
    inside = (bookings.c.start_at_ms < until_ms) & (bookings.c.end_at_ms > from_ms)
    query = select(bookings.c.start_at_ms, bookings.c.end_at_ms).where(bookings.c.room_id == room_id, inside)
    return [(row.start_at_ms, row.end_at_ms) for row in ctx.hub.execute(query)]


def _within(gaps: list[Span], windows: list[Span]) -> list[Span]:
    return [
        (max(gap[0], one[0]), min(gap[1], one[1])) for gap in gaps for one in windows if _overlap(gap, one)
    ]


def _without(gaps: list[Span], taken: list[Span]) -> list[Span]:
    for one in sorted(taken):
        left: list[Span] = []
        for gap in gaps:
            if not _overlap(gap, one):
                left.append(gap)
                continue
            left += [part for part in ((gap[0], one[0]), (one[1], gap[1])) if part[0] < part[1]]
        gaps = left
    return gaps


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _hours(ctx: Context, user_id: str) -> dict[str, Any]:
    """The person's own hours, or the standard ones."""
    row = ctx.hub.execute(select(hours).where(hours.c.user_id == user_id)).mappings().one_or_none()
    if row is not None:
        return dict(row)
    opening = {"opens_minute": 9 * 60, "closes_minute": 17 * 60, "days": "12345"}
    return {"user_id": user_id, "org_id": ctx.principal.org_id, "tz": "UTC", **opening}


def _hours_view(ctx: Context, user_id: str) -> HoursView:
    kept = _hours(ctx, user_id)
    opens, closes = (
        f"{kept[name] // 60:02d}:{kept[name] % 60:02d}" for name in ("opens_minute", "closes_minute")
    )
    days = [_DAY_NAMES[int(one) - 1] for one in kept["days"]]
    return HoursView(
        user=names_of(ctx, [user_id])[user_id], tz=kept["tz"], opens=opens, closes=closes, days=days
    )


def _minute(text: str, *, param: str) -> int:
    try:
        found = datetime.strptime(text, "%H:%M")
    except ValueError as error:
        if text == "24:00":
            return 24 * 60
        raise InvalidRequest(f"{text!r} is no time of day such as 09:00.", param=param) from error
    return found.hour * 60 + found.minute


def _days(named: list[str]) -> str:
    try:
        return "".join(sorted({str(_DAY_NAMES.index(one.lower()[:3]) + 1) for one in named}))
    except ValueError as error:
        raise InvalidRequest("Days are mon, tue, wed, thu, fri, sat, sun.", param="days") from error
