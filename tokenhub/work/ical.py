"""iCalendar (RFC 5545) from text and to text. Knows nothing of the database.

What comes in is bounded before it is understood: bytes, components, and lines of one component. Times in zones that
only the file describes are read by that zone's usual name, else by the offset that the file gives at that time.
"""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tokenhub.kernel.errors import HubError, InvalidRequest, PayloadTooLarge
from tokenhub.work.recurrence import FIRST, LAST, Times, parse_rule

SIZE_MAX = 1024 * 1024
EVENTS_MAX = 1000
LINES_MAX = 50_000
DATES_MAX = 2000
"""Most exceptions and extra dates of one series."""

_USUAL = (
    *(
        "UTC",
        "Europe/London",
        "Europe/Berlin",
        "Europe/Athens",
        "Europe/Moscow",
        "Asia/Dubai",
        "Asia/Kolkata",
    ),
    *(
        "Asia/Shanghai",
        "Asia/Tokyo",
        "Australia/Sydney",
        "America/Sao_Paulo",
        "America/New_York",
        "America/Chicago",
    ),
    *("America/Denver", "America/Los_Angeles", "Pacific/Auckland"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One VEVENT."""

    uid: str
    title: str
    times: Times
    instance: datetime | None = None
    """RECURRENCE-ID on the wall of the series: which instance it replaces."""
    body: str = ""
    place: str = ""
    private: bool = True
    busy: bool = True
    cancelled: bool = False
    sequence: int = 0
    remind_min: int | None = None
    organizer: str = ""
    people: tuple[tuple[str, str], ...] = ()
    """(address or name, answer)"""


@dataclass(slots=True)
class Parsed:
    """What a file has."""

    entries: list[Entry] = field(default_factory=list[Entry])
    skipped: list[str] = field(default_factory=list[str])
    """One sentence for each event that could not be taken."""


def parse(text: str, *, tz: str) -> Parsed:
    """Events of a file; floating times are read in `tz`. Raises: InvalidRequest, PayloadTooLarge."""
    if len(text.encode(errors="replace")) > SIZE_MAX or text.count("\n") > LINES_MAX:
        raise PayloadTooLarge("A calendar file may have 1 MB and 50,000 lines.", param="content")
    if text.upper().count("BEGIN:VEVENT") > EVENTS_MAX:
        raise PayloadTooLarge(f"A calendar file may have {EVENTS_MAX} events.", param="content")
    library: Any = importlib.import_module("icalendar")  # 0.1 s, and only files need it
    try:
        calendars = library.Calendar.from_ical(text, multiple=True)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest(
            f"This is no calendar file ({error}).", param="content", code="invalid_calendar"
        ) from error
    found = Parsed()
    events = [event for calendar in calendars for event in calendar.walk("VEVENT")]
    if not events:
        raise InvalidRequest("There is no event in this file.", param="content", code="invalid_calendar")
    for place, event in enumerate(events, 1):
        title = str(event.get("SUMMARY", ""))[:200] or "(no title)"
        try:
            found.entries.append(_entry(event, title, tz))
        except HubError as error:
            found.skipped.append(f"{title[:60]}: {error.message}")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
            found.skipped.append(f"{title[:60]} (event {place}): {type(error).__name__}: {str(error)[:120]}")
    return found


def to_text(entries: Iterable[Entry], *, now: datetime) -> str:
    """A file with the time zones that it uses; opens in calendar programs."""
    library: Any = importlib.import_module("icalendar")
    calendar = library.Calendar()
    calendar.add("PRODID", "-//Token Hub//Calendar//EN")
    calendar.add("VERSION", "2.0")
    calendar.add("CALSCALE", "GREGORIAN")
    for entry in entries:
        calendar.add_component(_component(library, entry, now))
    calendar.add_missing_timezones()
    return calendar.to_ical().decode()


def _entry(event: Any, title: str, tz: str) -> Entry:
    start = event.decoded("DTSTART")
    all_day = not isinstance(start, datetime)
    zone, begins = _wall(start, tz)
    length_s = _length(event, start, all_day, zone)
    rules = _listed(event, "RRULE")
    if len(rules) > 1:
        raise InvalidRequest("several rules in one event are not supported")
    instance = event.decoded("RECURRENCE-ID") if "RECURRENCE-ID" in event else None
    if instance is not None and event.get("RECURRENCE-ID").params.get("RANGE"):
        raise InvalidRequest("RECURRENCE-ID with RANGE is not supported")
    times = Times(
        zone,
        begins,
        length_s,
        all_day=all_day,
        rule=parse_rule(rules[0].to_ical().decode()) if rules else None,
        exceptions=frozenset(_dates(event, "EXDATE", zone, begins)),
        extras=tuple(sorted(set(_dates(event, "RDATE", zone, begins)))),
    )
    return Entry(
        uid=str(event.get("UID", ""))[:400],
        title=title,
        times=times,
        instance=None if instance is None else _wall(instance, zone, into=zone)[1],
        body=str(event.get("DESCRIPTION", ""))[:100_000],
        place=str(event.get("LOCATION", ""))[:200],
        private=str(event.get("CLASS", "PRIVATE")).upper() != "PUBLIC",
        busy=str(event.get("TRANSP", "OPAQUE")).upper() != "TRANSPARENT",
        cancelled=str(event.get("STATUS", "")).upper() == "CANCELLED",
        sequence=max(0, min(int(event.get("SEQUENCE", 0)), 2**31)),
        remind_min=_remind(event),
        organizer=_address(event.get("ORGANIZER", "")),
        people=tuple(_people(event)),
    )


def _wall(value: Any, tz: str, *, into: str = "") -> tuple[str, datetime]:
    """Time zone and wall time of DTSTART and its like; `into` = as the wall of that zone shows it."""
    if not isinstance(value, datetime):
        found = datetime(value.year, value.month, value.day)
        name = into or tz
    elif value.tzinfo is None:
        found, name = value, into or tz
    else:
        name = into or _zone_name(value, tz)
        found = value.astimezone(ZoneInfo(name)).replace(tzinfo=None)
    if not FIRST < found.date() < LAST:
        raise InvalidRequest(f"the year {found.year} lies outside of what a calendar holds")
    return name, found.replace(microsecond=0)


def _zone_name(value: datetime, tz: str) -> str:
    """The IANA zone of a time: of that name, else one with the same clock all year, else UTC."""
    names = [getattr(value.tzinfo, "key", ""), getattr(value.tzinfo, "zone", ""), str(value.tzinfo)]
    for name in [*map(str, names), tz, *_USUAL]:
        try:
            if name and _same_clock(ZoneInfo(name), value):
                return name
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return "UTC"


def _same_clock(zone: ZoneInfo, value: datetime) -> bool:
    """True if both clocks show the same, at that time and every month around it."""
    assert value.tzinfo is not None
    days = [value.replace(tzinfo=None) + timedelta(days=30 * month) for month in range(13)]
    return all(
        zone.utcoffset(day) == value.tzinfo.utcoffset(day.replace(tzinfo=value.tzinfo)) for day in days
    )


def _length(event: Any, start: Any, all_day: bool, zone: str) -> int:
    if "DTEND" in event:
        end = event.decoded("DTEND")
        if isinstance(end, datetime) == all_day:
            raise InvalidRequest("it starts with a day and ends with a time, or the other way round")
        if all_day:
            length = end - start
        else:
            length = _instant(end, zone) - _instant(start, zone)
    elif "DURATION" in event:
        length = event.decoded("DURATION")
    else:
        length = timedelta(days=1) if all_day else timedelta(0)
    if not timedelta(0) <= length <= timedelta(days=366):
        raise InvalidRequest("it ends before it starts, or lasts longer than a year")
    if all_day and length < timedelta(days=1):
        length = timedelta(days=1)
    return int(length.total_seconds())


def _instant(value: datetime, zone: str) -> datetime:
    return (value if value.tzinfo is not None else value.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def _dates(event: Any, name: str, zone: str, begins: datetime) -> Iterator[str]:
    values: list[Any] = [one.dt for dates in _listed(event, name) for one in dates.dts]
    if len(values) > DATES_MAX:
        raise InvalidRequest(f"it has more than {DATES_MAX} dates in {name}")
    for value in values:
        start: Any = cast(tuple[Any, ...], value)[0] if isinstance(value, tuple) else value
        whole = not isinstance(start, datetime)
        local = _wall(start, zone, into=zone)[1]
        yield (datetime.combine(local.date(), begins.time()) if whole else local).isoformat()


def _remind(event: Any) -> int | None:
    for alarm in event.walk("VALARM"):
        trigger = alarm.get("TRIGGER")
        before = getattr(trigger, "dt", None)
        if isinstance(before, timedelta) and timedelta(0) <= -before <= timedelta(days=28):
            return int(-before.total_seconds()) // 60
    return None


def _people(event: Any) -> Iterator[tuple[str, str]]:
    said = {"ACCEPTED": "accepted", "DECLINED": "declined", "TENTATIVE": "tentative"}
    for one in _listed(event, "ATTENDEE")[:500]:
        answer = str(one.params.get("PARTSTAT", "")).upper()
        yield _address(one), said.get(answer, "waiting")


def _listed(event: Any, name: str) -> list[Any]:
    """Every line of this name; the library gives one by itself where there is one."""
    found = event.get(name)
    if found is None:
        return []
    return cast(list[Any], found) if isinstance(found, list) else [found]


def _address(value: Any) -> str:
    text = str(value)
    return (text[7:] if text.lower().startswith("mailto:") else text)[:200]


def _component(library: Any, entry: Entry, now: datetime) -> Any:
    times = entry.times
    event = library.Event()
    event.add("UID", entry.uid)
    event.add("DTSTAMP", now.astimezone(UTC).replace(microsecond=0))
    event.add("SUMMARY", entry.title)
    event.add("SEQUENCE", entry.sequence)
    event.add("DTSTART", _stamp(times, times.start))
    if times.all_day:
        event.add("DTEND", times.start.date() + timedelta(seconds=times.length_s))
    else:
        begins = _stamp(times, times.start).astimezone(UTC)
        event.add("DTEND", (begins + timedelta(seconds=times.length_s)).astimezone(_zone(times)))
    if times.rule is not None:
        event["RRULE"] = library.vRecur.from_ical(str(times.rule))
    for name, dates in (("EXDATE", sorted(times.exceptions)), ("RDATE", list(times.extras))):
        stamps = [_stamp(times, datetime.fromisoformat(one)) for one in dates]
        if stamps and times.all_day:
            event.add(name, stamps, parameters={"VALUE": "DATE"})
        elif stamps:
            event.add(name, stamps)
    if entry.instance is not None:
        event.add("RECURRENCE-ID", _stamp(times, entry.instance))
    for name, text in (("DESCRIPTION", entry.body), ("LOCATION", entry.place)):
        if text:
            event.add(name, text)
    event.add("CLASS", "PRIVATE" if entry.private else "PUBLIC")
    event.add("TRANSP", "OPAQUE" if entry.busy else "TRANSPARENT")
    event.add("STATUS", "CANCELLED" if entry.cancelled else "CONFIRMED")
    _add_people(library, event, entry)
    if entry.remind_min is not None:
        alarm = library.Alarm()
        alarm.add("ACTION", "DISPLAY")
        alarm.add("DESCRIPTION", entry.title)
        alarm.add("TRIGGER", -timedelta(minutes=entry.remind_min))
        event.add_component(alarm)
    return event


def _add_people(library: Any, event: Any, entry: Entry) -> None:
    if entry.organizer:
        event.add("ORGANIZER", _calendar_user(library, entry.organizer, {}))
    for name, answer in entry.people:
        status = "NEEDS-ACTION" if answer == "waiting" else answer.upper()
        event.add("ATTENDEE", _calendar_user(library, name, {"PARTSTAT": status}))


def _calendar_user(library: Any, name: str, parameters: dict[str, str]) -> Any:
    """An address as it is; a colleague by name, at an address that nobody has."""
    user = library.vCalAddress(f"mailto:{name}" if "@" in name else f"mailto:{_slug(name)}@hub.invalid")
    user.params["CN"] = name
    for key, value in parameters.items():
        user.params[key] = value
    return user


def _slug(name: str) -> str:
    return (
        "".join(character if character.isascii() and character.isalnum() else "-" for character in name)
        or "user"
    )


def _stamp(times: Times, local: datetime) -> Any:
    return local.date() if times.all_day else local.replace(tzinfo=_zone(times))


def _zone(times: Times) -> Any:
    return UTC if times.tz == "UTC" else ZoneInfo(times.tz)


def by_series(entries: Sequence[Entry]) -> list[tuple[Entry, list[Entry]]]:
    """Each event or series, with those of its instances that differ; an instance without its series stands alone."""
    whole = {entry.uid: entry for entry in entries if entry.instance is None}
    parts: dict[str, list[Entry]] = {}
    alone: list[Entry] = []
    for entry in entries:
        if entry.instance is None:
            continue
        if entry.uid in whole and whole[entry.uid].times.rule is not None:
            parts.setdefault(entry.uid, []).append(entry)
        else:
            alone.append(entry)
    return [(entry, parts.get(uid, [])) for uid, entry in whole.items()] + [(entry, []) for entry in alone]
