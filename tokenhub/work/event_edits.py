"""`hub event set|cancel`: changes of a whole event, of one instance of a series, or of that one and all that follow.

One instance that differs is an event of its own (`series_id`), and its series skips it. "This and following" ends the
series before it and starts another one there.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Row, select, update

from tokenhub.commands import Command, Context, Example, command
from tokenhub.kernel.errors import InvalidRequest, PermissionDenied
from tokenhub.work.calendar_tables import events
from tokenhub.work.event_store import (
    EventView,
    add_event,
    asked,
    bounds,
    find_event,
    invite,
    settle,
    times_of,
    wall_time,
)
from tokenhub.work.events import START_HELP, EventNamed, minutes, show, spoken_times
from tokenhub.work.people import TEXT_MAX, notify
from tokenhub.work.recurrence import Times, at_ms, ended_before, instances, parse_rule, zone
from tokenhub.work.rooms import find_room

VERBS: list[Command] = []
COPIED = ("title", "body", "place", "room_id", "everyone", "busy", "guests", "remind_min", "uid")


class EventPart(EventNamed):
    """An event, or a part of a series."""

    instance: str | None = Field(
        default=None, description="Only this one of a series: its start or day, as `hub event list` tells it."
    )
    following: bool = Field(default=False, description="With `instance`: that one and all that follow.")


class EventSet(EventPart):
    """What to change."""

    title: str | None = Field(default=None, min_length=1, max_length=200, description="New title.")
    start: str | None = Field(default=None, description=START_HELP)
    end: str | None = Field(default=None, description="When it ends; of whole days the last one.")
    length: str | None = Field(default=None, description="How long, such as 45m, instead of `end`.")
    tz: str | None = Field(default=None, description="Time zone of the event; its hour stays.")
    room: str | None = Field(default=None, description="Other room, by name or id; `none` = none.")
    place: str | None = Field(default=None, max_length=200, description="Where, if in no room.")
    repeat: str | None = Field(default=None, description="New rule, as with `create`; `none` = once.")
    body: str | None = Field(default=None, max_length=TEXT_MAX, description="New text.")
    everyone: Literal["", "read"] | None = Field(default=None, description="What colleagues see.")
    remind: str | None = Field(default=None, description="How long before a notice reminds; `none` = not.")


@command(
    "event.set",
    effect="write",
    resource="event",
    sinks=("event", "room", "everyone"),
    permission="work",
    trust="untrusted",
    cost=2,
    summary="Change or move an event, or one instance of a series.",
    positional=("event",),
    examples=[
        Example("hub event set Review --start 2026-11-27T14:00", "Whoever is asked is told"),
        Example("hub event set Standup --instance 2026-12-24 --start 2026-12-24T08:00", "Only on that day"),
        Example("hub event set Standup --instance 2027-01-04 --following --length 30m", "From then on"),
    ],
)
def event_set(ctx: Context, args: EventSet) -> EventView:
    """By its owner. What is left out stays. A room that is taken at the new time refuses it."""
    row = _own(ctx, args)
    if args.instance is None:
        event_id = _set_whole(ctx, row, args)
    elif args.following:
        event_id = _set_following(ctx, row, args, _named(ctx, row, args.instance))
    else:
        event_id = _set_one(ctx, row, args, _named(ctx, row, args.instance))
    shown = show(ctx, event_id)
    notify(ctx, asked(ctx, event_id), kind="moved", subject=event_id, text=f"{shown.title}, {shown.when}")
    return shown


@command(
    "event.cancel",
    effect="write",
    resource="event",
    sinks=("event",),
    permission="work",
    trust="untrusted",
    summary="Cancel an event, or one instance of a series.",
    positional=("event",),
    examples=[
        Example("hub event cancel Review", "Whoever is asked is told, and the room is free again"),
        Example("hub event cancel Standup --instance 2026-12-25", "Only on that day"),
    ],
)
def event_cancel(ctx: Context, args: EventPart) -> EventView:
    """By its owner. Nothing is deleted; `hub audit undo` puts it back if its room is still free."""
    row = _own(ctx, args)
    values: dict[str, Any] = {"state": "cancelled"}
    when = ""
    if args.instance is not None:
        named = _named(ctx, row, args.instance)
        when = f" ({named.isoformat(timespec='minutes')})"
        times = times_of(row)
        if args.following:
            _cancel_moved(ctx, row, named)
            if named > times.start:
                assert times.rule is not None
                cut = ended_before(times.rule, named, all_day=times.all_day, tz=times.tz)
                kept = tuple(one for one in times.extras if one < named.isoformat())
                values = bounds(replace(times, rule=cut, extras=kept))
        else:
            values = bounds(replace(times, exceptions=times.exceptions | {named.isoformat()}))
    else:
        _cancel_moved(ctx, row, datetime.min)
    _change(ctx, row, values)
    notify(ctx, asked(ctx, row.id), kind="cancelled", subject=row.id, text=row.title + when)
    return show(ctx, row.id)


def _own(ctx: Context, args: EventPart) -> Row[Any]:
    row = find_event(ctx.hub, ctx.principal, args.event)
    if row.owner_id != ctx.principal.actor:
        raise PermissionDenied("Only its owner changes an event.", param="event")
    if row.state == "cancelled":
        raise InvalidRequest("It was cancelled; `hub audit undo` puts it back.", param="event")
    if args.following and args.instance is None:
        raise InvalidRequest("Say from which instance on.", param="instance")
    return row


def _named(ctx: Context, row: Row[Any], instance: str) -> datetime:
    """The wall start of the instance that is meant. Raises: InvalidRequest if there is none."""
    local, whole = wall_time(instance, row.tz, param="instance")
    if not row.rule:
        raise InvalidRequest(f"{row.title!r} is no series.", param="instance")
    day_ms = at_ms(local, row.tz)
    for one in instances(times_of(row), from_ms=day_ms, until_ms=day_ms + (90_000_000 if whole else 60_000)):
        starts = datetime.fromisoformat(one.local)
        if starts == local or (whole and starts.date() == local.date()):
            return starts
    raise InvalidRequest(
        f"{row.title!r} does not take place at {instance}.", param="instance", hint="See `hub event list`."
    )


def _said(ctx: Context, args: EventSet, times: Times) -> tuple[Times, dict[str, Any]]:
    """New times and columns."""
    values: dict[str, Any] = {
        name: getattr(args, name)
        for name in ("title", "body", "place", "everyone")
        if getattr(args, name) is not None
    }
    if args.room is not None:
        values["room_id"] = None if args.room == "none" else find_room(ctx.hub, ctx.principal, args.room).id
    if args.remind is not None:
        values["remind_min"] = minutes(args.remind, param="remind")
    if args.tz is not None:
        times = replace(times, tz=zone(args.tz).key)
    if args.start is not None or args.end is not None or args.length is not None:
        start = args.start or (times.start.date() if times.all_day else times.start).isoformat()
        spoken = spoken_times(start, args.end, args.length, tz=times.tz, repeat=None)
        same = args.end is None and args.length is None and spoken.all_day == times.all_day
        length_s = times.length_s if same else spoken.length_s
        times = replace(times, start=spoken.start, all_day=spoken.all_day, length_s=length_s)
    if args.repeat is not None:
        times = replace(times, rule=None if args.repeat == "none" else parse_rule(args.repeat))
    return times, values


def _set_whole(ctx: Context, row: Row[Any], args: EventSet) -> str:
    before = times_of(row)
    times, values = _said(ctx, args, before)
    if row.series_id is not None and times.rule is not None:
        raise InvalidRequest("One instance of a series does not repeat by itself.", param="repeat")
    shift = times.start - before.start
    if shift:
        times = replace(
            times,
            exceptions=frozenset(_moved(one, shift) for one in times.exceptions),
            extras=tuple(_moved(one, shift) for one in times.extras),
        )
        for child in _children(ctx, row):
            moved = _moved(child.instance, shift)
            ctx.hub.execute(update(events).where(events.c.id == child.id).values(instance=moved))
    _change(ctx, row, {**values, **bounds(times)})
    return str(row.id)


def _set_one(ctx: Context, row: Row[Any], args: EventSet, named: datetime) -> str:
    if args.repeat is not None:
        raise InvalidRequest("One instance does not repeat; use `following`.", param="repeat")
    times = times_of(row)
    alone = replace(times, start=named, rule=None, exceptions=frozenset(), extras=())
    changed, values = _said(ctx, args, alone)
    _change(ctx, row, bounds(replace(times, exceptions=times.exceptions | {named.isoformat()})))
    copied = {name: getattr(row, name) for name in COPIED}
    about = {"series_id": row.id, "instance": named.isoformat(), "sequence": row.sequence + 1}
    return _copy(ctx, row, {**copied, **values, **about, **bounds(changed)})


def _set_following(ctx: Context, row: Row[Any], args: EventSet, named: datetime) -> str:
    times = times_of(row)
    if named == times.start:
        return _set_whole(ctx, row, args)
    assert times.rule is not None
    later, rest = named.isoformat(), times.rule
    if rest.count is not None:
        kept = replace(times, exceptions=frozenset(), extras=())
        before = sum(1 for _ in instances(kept, from_ms=row.start_at_ms, until_ms=at_ms(named, times.tz)))
        rest = replace(rest, count=rest.count - before)
    begun = replace(
        times,
        start=named,
        rule=rest,
        exceptions=frozenset(one for one in times.exceptions if one >= later),
        extras=tuple(one for one in times.extras if one >= later),
    )
    changed, values = _said(ctx, args, begun)
    shift = changed.start - named
    ended = replace(
        times,
        rule=ended_before(times.rule, named, all_day=times.all_day, tz=times.tz),
        exceptions=frozenset(one for one in times.exceptions if one < later),
        extras=tuple(one for one in times.extras if one < later),
    )
    _change(ctx, row, bounds(ended))
    changed = replace(
        changed,
        exceptions=frozenset(_moved(one, shift) for one in changed.exceptions),
        extras=tuple(_moved(one, shift) for one in changed.extras),
    )
    copied = {name: getattr(row, name) for name in COPIED if name != "uid"}
    event_id = _copy(ctx, row, {**copied, **values, **bounds(changed)})
    uid = ctx.hub.execute(select(events.c.uid).where(events.c.id == event_id)).scalar_one()
    for child in _children(ctx, row):
        if child.instance >= later:
            moved = {"series_id": event_id, "uid": uid, "instance": _moved(child.instance, shift)}
            ctx.hub.execute(update(events).where(events.c.id == child.id).values(**moved))
    return event_id


def _copy(ctx: Context, row: Row[Any], values: Mapping[str, Any]) -> str:
    """A new event with the people of `row`; what they answered stays answered."""
    event_id = add_event(ctx, {"owner_id": row.owner_id, **values}, [])
    answers = asked(ctx, row.id)
    invite(ctx, event_id, answers, answers)
    settle(ctx, event_id)
    return event_id


def _cancel_moved(ctx: Context, row: Row[Any], since: datetime) -> None:
    for child in _children(ctx, row):
        if child.state != "cancelled" and datetime.fromisoformat(child.instance) >= since:
            _change(ctx, child, {"state": "cancelled"})


def _children(ctx: Context, row: Row[Any]) -> list[Row[Any]]:
    """Instances of this series that differ from it."""
    query = select(events).where(events.c.series_id == row.id, events.c.org_id == row.org_id)
    return list(ctx.hub.execute(query.order_by(events.c.id)))


def _change(ctx: Context, row: Row[Any], values: Mapping[str, Any]) -> None:
    written = {**values, "updated_at_ms": ctx.now_ms, "sequence": row.sequence + 1}
    ctx.hub.execute(update(events).where(events.c.id == row.id).values(**written))
    settle(ctx, row.id)


def _moved(local: str, shift: timedelta) -> str:
    moved = datetime.fromisoformat(local) + shift
    return moved.isoformat() if "T" in local else moved.date().isoformat()
