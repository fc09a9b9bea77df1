"""RFC 5545 recurrence on dates and on the wall clock of a time zone, bounded whatever a rule says.

A rule is stepped by its own period (day, week, month, year), from the one in which the asked window begins unless it
counts, and never past `LAST`; a rule without end, with COUNT=1000000000 or with no date at all (30 February) costs what
its window costs. Rules that repeat within a day are refused. DTSTART is always the first instance, as clients have it.

A wall time that a clock skips is taken with the offset before the gap (02:30 → 03:30), one that comes twice is the first.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import count as counting
from zoneinfo import ZoneInfo

from tokenhub.kernel.errors import InvalidRequest

FIRST, LAST = date(1900, 1, 1), date(2200, 1, 1)
INSTANCES_MAX = 400
"""A series that counts further than this is taken as endless where only its end is asked."""

_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_WORDS = {
    "daily": "FREQ=DAILY",
    "weekdays": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
    "weekly": "FREQ=WEEKLY",
    "fortnightly": "FREQ=WEEKLY;INTERVAL=2",
    "monthly": "FREQ=MONTHLY",
    "yearly": "FREQ=YEARLY",
}
_UNTIL = re.compile(r"(\d{8})(T\d{6}Z?)?")
_BYDAY = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_LISTS = {"BYMONTH": 12, "BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53, "BYSETPOS": 366}


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed RRULE."""

    freq: str
    interval: int = 1
    count: int | None = None
    until: str = ""
    """`20261231`, `20261231T235959` on the wall, or `…Z`."""
    months: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    year_days: tuple[int, ...] = ()
    weeks: tuple[int, ...] = ()
    days: tuple[tuple[int, int], ...] = ()
    """(which one, 0 = each; weekday, 0 = Monday)"""
    positions: tuple[int, ...] = ()
    week_start: int = 0

    def __str__(self) -> str:
        """As RRULE has it, without its name."""
        named = [
            ("FREQ", self.freq),
            ("INTERVAL", "" if self.interval == 1 else str(self.interval)),
            ("COUNT", "" if self.count is None else str(self.count)),
            ("UNTIL", self.until),
            ("BYMONTH", _joined(self.months)),
            ("BYWEEKNO", _joined(self.weeks)),
            ("BYYEARDAY", _joined(self.year_days)),
            ("BYMONTHDAY", _joined(self.month_days)),
            ("BYDAY", ",".join(f"{nth or ''}{_DAYS[day]}" for nth, day in self.days)),
            ("BYSETPOS", _joined(self.positions)),
            ("WKST", "" if self.week_start == 0 else _DAYS[self.week_start]),
        ]
        return ";".join(f"{name}={value}" for name, value in named if value)


@dataclass(frozen=True, slots=True)
class Times:
    """When something takes place, once or again and again."""

    tz: str
    start: datetime
    """The first one on the wall of `tz`, without zone."""
    length_s: int
    """Seconds that pass; of an all-day event 86400 for each calendar day."""
    all_day: bool = False
    rule: Rule | None = None
    exceptions: frozenset[str] = frozenset()
    """Wall starts (ISO) that do not take place, or dates on which nothing does."""
    extras: tuple[str, ...] = ()
    """Wall starts besides the rule."""


@dataclass(frozen=True, slots=True, order=True)
class Instance:
    """One time that it takes place."""

    start_ms: int
    end_ms: int
    local: str
    """Its start on the wall, ISO; names the instance."""


def parse_rule(text: str, *, param: str = "repeat") -> Rule:
    """`FREQ=WEEKLY;BYDAY=MO`, with or without `RRULE:`, or a word such as `weekdays`. Raises: InvalidRequest."""
    text = _WORDS.get(text.strip().lower(), text.strip().upper()).removeprefix("RRULE:").rstrip(";")
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if len(parts) != len(text.split(";")) or len(text) > 500:
        raise _refused(text, "it is no RRULE such as FREQ=WEEKLY;BYDAY=MO,WE", param)
    freq = parts.pop("FREQ", "")
    if freq not in ("DAILY", "WEEKLY", "MONTHLY", "YEARLY"):
        raise _refused(text, "FREQ is DAILY, WEEKLY, MONTHLY or YEARLY", param)
    try:
        made = Rule(
            freq,
            interval=_number(parts.pop("INTERVAL", "1")),
            count=_number(parts.pop("COUNT")) if "COUNT" in parts else None,
            until=_until(parts.pop("UNTIL", "")),
            months=_numbers(parts, "BYMONTH"),
            month_days=_numbers(parts, "BYMONTHDAY"),
            year_days=_numbers(parts, "BYYEARDAY"),
            weeks=_numbers(parts, "BYWEEKNO"),
            days=_weekdays(parts.pop("BYDAY", "")),
            positions=_numbers(parts, "BYSETPOS"),
            week_start=_DAYS.index(parts.pop("WKST", "MO")),
        )
    except ValueError as error:
        raise _refused(text, str(error), param) from error
    if parts:
        raise _refused(text, f"{sorted(parts)[0]} is not supported", param)
    if made.count is not None and made.until:
        raise _refused(text, "it has COUNT or UNTIL, not both", param)
    if any(nth for nth, _ in made.days) and (freq in ("DAILY", "WEEKLY") or made.weeks):
        raise _refused(text, f"a numbered weekday makes no sense with FREQ={freq}", param)
    if (made.year_days or made.weeks) and freq != "YEARLY":
        raise _refused(text, "BYYEARDAY and BYWEEKNO belong to FREQ=YEARLY", param)
    return made


def zone(name: str, *, param: str = "tz") -> ZoneInfo:
    """A time zone by its IANA name. Raises: InvalidRequest."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise InvalidRequest(f"{name!r} is no time zone such as Europe/Berlin.", param=param) from error


def at_ms(local: datetime, tz: str) -> int:
    """The instant of a wall time."""
    return round(local.replace(tzinfo=ZoneInfo(tz)).timestamp() * 1000)


def wall(instant_ms: int, tz: str) -> datetime:
    """The wall time of an instant, without zone."""
    return datetime.fromtimestamp(instant_ms / 1000, ZoneInfo(tz)).replace(tzinfo=None)


def instances(times: Times, *, from_ms: int, until_ms: int) -> Iterator[Instance]:
    """Those that overlap the window [from, until), in order; one of no length if it starts within."""
    reach = timedelta(seconds=times.length_s) + timedelta(days=2)
    first = wall(max(from_ms, 0), times.tz) - reach
    last = wall(until_ms, times.tz) + timedelta(days=1)
    for one in _all(times, first=first.date(), last=last.date()):
        if one.start_ms >= until_ms:
            return
        if one.end_ms > from_ms or one.start_ms >= from_ms:
            yield one


def last_end_ms(times: Times) -> int | None:
    """An instant at or shortly after the end of the last instance; None if there is none that is worth seeking."""
    rule, extra = times.rule, [at_ms(datetime.fromisoformat(one), times.tz) for one in times.extras]
    begins = [at_ms(times.start, times.tz), *extra]
    if rule is not None and rule.until:
        until = min(datetime.strptime(rule.until[:8], "%Y%m%d"), datetime.combine(LAST, time.min))
        begins.append(at_ms(until + timedelta(days=2), times.tz))
    elif rule is not None:
        if rule.count is None or rule.count > INSTANCES_MAX:
            return None
        begins += [one.start_ms for one in _all(times, first=FIRST, last=LAST)]
    return max(begins) + times.length_s * 1000 + (3_600_000 if times.all_day else 0)


def ended_before(rule: Rule, local: datetime, *, all_day: bool, tz: str) -> Rule:
    """The rule up to, and without, the instance that starts at `local`."""
    before = local - timedelta(days=1) if all_day else local - timedelta(seconds=1)
    if all_day:
        return replace(rule, count=None, until=f"{before:%Y%m%d}")
    instant = datetime.fromtimestamp(at_ms(before, tz) / 1000, UTC)
    return replace(rule, count=None, until=f"{instant:%Y%m%dT%H%M%SZ}")


def _all(times: Times, *, first: date, last: date) -> Iterator[Instance]:
    """Every instance whose local date lies in the range, in order, without the exceptions."""
    zone_ = ZoneInfo(times.tz)
    extras = sorted({datetime.fromisoformat(one) for one in times.extras})
    place = 0
    for local in _locals(times, first, last):
        while place < len(extras) and extras[place] <= local:
            if extras[place] != local and first <= extras[place].date() <= last:
                yield from _kept(times, extras[place], zone_)
            place += 1
        yield from _kept(times, local, zone_)
    for local in extras[place:]:
        if first <= local.date() <= last:
            yield from _kept(times, local, zone_)


def _locals(times: Times, first: date, last: date) -> Iterator[datetime]:
    start, rule = times.start, times.rule
    days = iter((start.date(),)) if rule is None else _dates(rule, start.date(), first)
    stop = min(last, LAST)
    for number, day in enumerate(days):
        if day > stop or (rule is not None and rule.count is not None and number >= rule.count):
            return
        local = datetime.combine(day, start.time())
        if rule is not None and rule.until and number and _past(rule.until, local, times.tz):
            return
        if day >= first:
            yield local


def _kept(times: Times, local: datetime, zone_: ZoneInfo) -> Iterable[Instance]:
    name = local.isoformat()
    if name in times.exceptions or name[:10] in times.exceptions:
        return ()
    begins = local.replace(tzinfo=zone_)
    start_ms = round(begins.timestamp() * 1000)
    if times.all_day:
        ends = (local + timedelta(seconds=times.length_s)).replace(tzinfo=zone_)
        return (Instance(start_ms, round(ends.timestamp() * 1000), name),)
    return (Instance(start_ms, start_ms + times.length_s * 1000, name),)


def _past(until: str, local: datetime, tz: str) -> bool:
    if len(until) == 8:
        return f"{local:%Y%m%d}" > until
    if not until.endswith("Z"):
        return f"{local:%Y%m%dT%H%M%S}" > until
    bound = datetime.strptime(until, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return local.replace(tzinfo=ZoneInfo(tz)) > bound


def _dates(rule: Rule, start: date, first: date) -> Iterator[date]:
    """The rule's dates from `start` (always the first) on; without COUNT, those long before `first` are left out."""
    skip = rule.count is None and first > start
    yield start
    for number in counting(_periods_before(rule, start, first) if skip else 0):
        opened, days = _period(rule, start, number)
        if opened > LAST:
            yield LAST + timedelta(days=1)
            return
        found = [day for day in days if _fits(rule, start, day)]
        if rule.positions:
            places = {place - 1 if place > 0 else len(found) + place for place in rule.positions}
            found = [day for place, day in enumerate(found) if place in places]
        yield from (day for day in found if day > start)
        if opened > first and not found and rule.count is None and opened.year > first.year + 400:
            return


def _periods_before(rule: Rule, start: date, first: date) -> int:
    """How many whole periods can be left out before the window."""
    match rule.freq:
        case "DAILY":
            units = (first - start).days
        case "WEEKLY":
            units = (first - start).days // 7
        case "MONTHLY":
            units = (first.year - start.year) * 12 + first.month - start.month
        case _:
            units = first.year - start.year
    return max(0, units // rule.interval - 1)


def _period(rule: Rule, start: date, number: int) -> tuple[date, Iterable[date]]:
    """The first day of a period, and its days."""
    step = number * rule.interval
    beyond: tuple[date, Iterable[date]] = (LAST + timedelta(days=1), ())
    if step > 200_000:
        return beyond
    match rule.freq:
        case "DAILY":
            day = start + timedelta(days=step)
            return day, (day,)
        case "WEEKLY":
            monday = start - timedelta(days=(start.weekday() - rule.week_start) % 7)
            opened = monday + timedelta(days=7 * step)
            return opened, _span(opened, opened + timedelta(days=7))
        case "MONTHLY":
            year, month = divmod(start.year * 12 + start.month - 1 + step, 12)
            if year > LAST.year:
                return beyond
            return date(year, month + 1, 1), _span(date(year, month + 1, 1), _next_month(year, month + 1))
        case _:
            year = start.year + step
            return beyond if year > LAST.year else (date(year, 1, 1), _year(rule, year))


def _year(rule: Rule, year: int) -> Iterable[date]:
    """The days of a year, only of the rule's months if it names some."""
    if not rule.months:
        return _span(date(year, 1, 1), date(year + 1, 1, 1))
    return (
        day
        for month in sorted(set(rule.months))
        for day in _span(date(year, month, 1), _next_month(year, month))
    )


def _fits(rule: Rule, start: date, day: date) -> bool:
    if rule.months and day.month not in rule.months:
        return False
    if not (rule.weeks or rule.year_days or rule.month_days or rule.days):
        match rule.freq:
            case "WEEKLY":
                return day.weekday() == start.weekday()
            case "MONTHLY":
                return day.day == start.day
            case "YEARLY":
                return day.day == start.day and (bool(rule.months) or day.month == start.month)
            case _:
                return True
    length = (_next_month(day.year, day.month) - timedelta(days=1)).day
    if rule.month_days and day.day not in rule.month_days and day.day - length - 1 not in rule.month_days:
        return False
    if rule.year_days:
        first, after = date(day.year, 1, 1), date(day.year + 1, 1, 1)
        place = (day - first).days + 1
        if place not in rule.year_days and place - (after - first).days - 1 not in rule.year_days:
            return False
    if rule.weeks and not _in_week(rule, day):
        return False
    return not rule.days or any(_is_weekday(rule, day, nth, which, length) for nth, which in rule.days)


def _is_weekday(rule: Rule, day: date, nth: int, which: int, month_length: int) -> bool:
    if day.weekday() != which:
        return False
    if nth == 0:
        return True
    if rule.freq == "MONTHLY" or rule.months:
        place, length = day.day, month_length
    else:
        first, after = date(day.year, 1, 1), date(day.year + 1, 1, 1)
        place, length = (day - first).days + 1, (after - first).days
    return (place - 1) // 7 + 1 == nth if nth > 0 else (length - place) // 7 + 1 == -nth


def _in_week(rule: Rule, day: date) -> bool:
    year, week, _ = day.isocalendar()
    weeks = date(year, 12, 28).isocalendar().week
    return week in rule.weeks or week - weeks - 1 in rule.weeks


def _span(first: date, after: date) -> Iterator[date]:
    for number in range((after - first).days):
        yield first + timedelta(days=number)


def _next_month(year: int, month: int) -> date:
    return date(year + month // 12, month % 12 + 1, 1)


def _joined(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:12]) <= 10**9:
        raise ValueError(f"{text[:20]!r} is no count")
    return int(text)


def _numbers(parts: dict[str, str], name: str) -> tuple[int, ...]:
    text, most = parts.pop(name, ""), _LISTS[name]
    if not text:
        return ()
    values = tuple(int(one) if re.fullmatch(r"[+-]?\d{1,3}", one) else 0 for one in text.split(","))
    least = 1 if name == "BYMONTH" else -most
    if len(values) > 400 or any(not least <= one <= most or one == 0 for one in values):
        raise ValueError(f"{name} is out of range")
    return values


def _weekdays(text: str) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for one in filter(None, text.split(",")):
        matched = _BYDAY.fullmatch(one)
        nth = int(matched[1] or 0) if matched else 99
        if matched is None or abs(nth) > 53 or len(found) > 100:
            raise ValueError(f"{one[:20]!r} is no weekday such as MO or -1FR")
        found.append((nth, _DAYS.index(matched[2])))
    return tuple(found)


def _until(text: str) -> str:
    if not text:
        return ""
    if not _UNTIL.fullmatch(text):
        raise ValueError("UNTIL is a date such as 20261231 or 20261231T170000Z")
    datetime.strptime(
        text, "%Y%m%d" if len(text) == 8 else f"%Y%m%dT%H%M%S{'Z' if text.endswith('Z') else ''}"
    )
    return text


def _refused(text: str, why: str, param: str) -> InvalidRequest:
    hint = "Words work too: daily, weekdays, weekly, fortnightly, monthly, yearly."
    return InvalidRequest(
        f"{text[:80]!r} cannot be followed: {why}.", param=param, code="invalid_rule", hint=hint
    )
