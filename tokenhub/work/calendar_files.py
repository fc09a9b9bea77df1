"""`hub event import|export`: calendars as iCalendar files, from and to other programs."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import Field
from sqlalchemy import Row, insert, or_, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.admission import may_also
from tokenhub.commands.declare import Content
from tokenhub.commands.resources import Found
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.kernel.ids import new_id
from tokenhub.work import ical
from tokenhub.work.calendar_tables import events
from tokenhub.work.event_store import asked, bounds, find_event, settle, takes_part, times_of, zone_of
from tokenhub.work.ical import Entry
from tokenhub.work.people import names_of
from tokenhub.work.visibility import events_of

VERBS: list[Command] = []
EXPORT_MAX = 1000


class EventImport(Model):
    """A calendar file."""

    content: Content = Field(
        min_length=1, max_length=ical.SIZE_MAX, description="The file's text; `@FILE` sends that file."
    )
    tz: str | None = Field(default=None, description="Zone of times that name none; yours if left out.")


class Imported(Model):
    """What became of the file's events."""

    added: int
    updated: int = Field(description="Events of yours that the file has too (by UID).")
    skipped: list[str] = Field(description="Those that could not be taken, and why.")


class EventExport(Model):
    """Which events."""

    events: list[str] = Field(
        default=[], max_length=100, description="Their ids or titles; all of yours if left out."
    )


class Exported(Model):
    """A calendar file."""

    content: str


@command(
    "event.import",
    effect="write",
    resource="",
    permission="work",
    trust="untrusted",
    cost=5,
    summary="Take events from a calendar file.",
    positional=("content",),
    examples=[Example("hub event import @calendar.ics", "A second time updates instead of doubling")],
)
def event_import(ctx: Context, args: EventImport) -> Imported:
    """They become your own events: nobody is asked and no room is booked; the file's people stay as addresses.

    Up to 1 MB and 1,000 events. An event that cannot be taken, or that is there and that you may not change, is skipped
    and named; the others are taken.
    """
    parsed = ical.parse(args.content, tz=args.tz or zone_of(ctx, ctx.principal.actor))
    mine = (events.c.owner_id == ctx.principal.actor) & (events.c.org_id == ctx.principal.org_id)
    uids = {entry.uid for entry in parsed.entries if entry.uid}
    there: dict[tuple[str, str], Row[Any]] = {
        (row.uid, row.instance): row
        for row in ctx.hub.execute(select(events).where(mine, events.c.uid.in_(uids)).order_by(events.c.id))
    }
    kept = {key for key, row in there.items() if not _may_change(ctx, row)}
    new: list[dict[str, Any]] = []
    skipped_here = [f"{there[key].title!r}: you may not change it" for key in kept]
    updated = 0
    reminded: list[str] = []
    for entry, parts in ical.by_series(parsed.entries):
        skipped = frozenset(one.instance.isoformat() for one in parts if one.instance is not None)
        whole = replace(entry, times=replace(entry.times, exceptions=entry.times.exceptions | skipped))
        named = (entry.uid, "" if entry.instance is None else entry.instance.isoformat())
        if named in kept:
            continue
        found = there.get(named)
        series_id = found.id if found is not None else new_id("event")
        for one in (whole, *(part for part in parts if not part.cancelled)):
            child = one.instance is not None and one is not whole
            name = "" if one.instance is None else one.instance.isoformat()
            row = there.get((one.uid, name))
            if (one.uid, name) in kept:
                continue
            values = _columns(ctx, one) | {"series_id": series_id if child else None, "instance": name}
            event_id = row.id if row is not None else (new_id("event") if child else series_id)
            if row is None:
                new.append(
                    {"id": event_id, **values, "org_id": ctx.principal.org_id, "created_at_ms": ctx.now_ms}
                )
            else:
                ctx.hub.execute(update(events).where(events.c.id == row.id).values(**values))
                updated += 1
            if one.remind_min is not None or row is not None:
                reminded.append(event_id)
    if new:
        ctx.hub.execute(insert(events), [{**one, "owner_id": ctx.principal.actor} for one in new])
    for event_id in reminded:
        settle(ctx, event_id)
    return Imported(added=len(new), updated=updated, skipped=[*parsed.skipped, *skipped_here][:200])


@command(
    "event.export",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="Write events into a calendar file.",
    positional=("events",),
    examples=[
        Example(
            "hub event export > mine.ics",
            "For other calendar programs; series keep rule, zone and exceptions",
        )
    ],
)
def event_export(ctx: Context, args: EventExport) -> Exported:
    """Your events and those that you are asked to, at most 1,000; or the named ones."""
    seen = events_of(ctx.principal)
    if args.events:
        named = [find_event(ctx.hub, ctx.principal, one).id for one in args.events]
        query = select(events).where(seen, or_(events.c.id.in_(named), events.c.series_id.in_(named)))
    else:
        query = select(events).where(seen, takes_part(ctx.principal.actor), events.c.state != "cancelled")
    rows = list(ctx.hub.execute(query.order_by(events.c.id).limit(EXPORT_MAX + 1)))
    if len(rows) > EXPORT_MAX:
        raise InvalidRequest(
            f"There are more than {EXPORT_MAX} events; name those that you want.", param="events"
        )
    moved: dict[str, set[str]] = {}
    for row in rows:
        if row.series_id is not None:
            moved.setdefault(row.series_id, set()).add(row.instance)
    now = datetime.fromtimestamp(ctx.now_ms / 1000, UTC)
    return Exported(
        content=ical.to_text([_entry(ctx, row, moved.get(row.id, set())) for row in rows], now=now)
    )


def _may_change(ctx: Context, row: Row[Any]) -> bool:
    """An event that is there is changed only by whoever might run `event.set` on it."""
    return may_also(ctx, "event.set", {"event": row.id}, Found(row.id, row.owner_id, row.title))


def _columns(ctx: Context, entry: Entry) -> dict[str, Any]:
    people = [name for name, _ in entry.people]
    guests = [entry.organizer, *people] if entry.organizer else people
    return {
        "uid": entry.uid or f"{new_id('import')}@tokenhub",
        "title": entry.title,
        "body": entry.body,
        "place": entry.place,
        "room_id": None,
        "everyone": "",
        "busy": entry.busy,
        "guests": json.dumps(list(dict.fromkeys(filter(None, guests))), ensure_ascii=False),
        "remind_min": entry.remind_min,
        "sequence": entry.sequence,
        "state": "cancelled" if entry.cancelled else "confirmed",
        "updated_at_ms": ctx.now_ms,
        **bounds(entry.times),
    }


def _entry(ctx: Context, row: Row[Any], moved: set[str]) -> Entry:
    """Whatever differs is told by its own RECURRENCE-ID, so the series does not also except it."""
    times = times_of(row)
    answers = asked(ctx, row.id)
    names = names_of(ctx, [*answers, row.owner_id])
    people = [(names[user], answer) for user, answer in answers.items()]
    people += [(guest, "waiting") for guest in json.loads(row.guests)]
    return Entry(
        uid=row.uid,
        title=row.title,
        times=replace(times, exceptions=times.exceptions - moved),
        instance=datetime.fromisoformat(row.instance) if row.instance else None,
        body=row.body,
        place=row.place,
        private=row.everyone == "",
        busy=row.busy,
        cancelled=row.state == "cancelled",
        sequence=row.sequence,
        remind_min=row.remind_min,
        organizer=names[row.owner_id] if people else "",
        people=tuple(people),
    )
