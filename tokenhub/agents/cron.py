"""Five fields of cron in a time zone: minute, hour, day of the month, month, day of the week.

`*`, numbers, names (`mon`, `jan`), ranges `1-5`, lists `1,15`, steps `*/10`; also `@hourly`, `@daily`, `@weekly`,
`@monthly`. Where both days are given, either suffices, as in cron. An hour that a clock skips in spring is passed over
to the next minute that exists; one that it repeats in autumn counts once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tokenhub.kernel.errors import InvalidRequest

_NAMED = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
)
_DAYS_AHEAD = 366 * 5


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression in its zone."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    """None = every day of the month."""
    months: frozenset[int]
    weekdays: frozenset[int] | None
    """0 = Sunday; None = every one."""
    zone: ZoneInfo

    def after(self, at_ms: int) -> int | None:
        """The next instant in ms later than `at_ms`; None if there is none within five years (30 February)."""
        start = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.zone)
        day = start.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        for ahead in range(_DAYS_AHEAD):
            found = self._on(day + timedelta(days=ahead), at_ms)
            if found is not None:
                return found
        return None

    def _on(self, day: datetime, at_ms: int) -> int | None:
        if day.month not in self.months or not self._fits(day):
            return None
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                local = day.replace(hour=hour, minute=minute, tzinfo=self.zone)
                # Through UTC and back: an instant that the clock skips comes back as the one after the gap.
                instant = int(local.astimezone(UTC).timestamp() * 1000)
                if instant > at_ms:
                    return instant
        return None

    def _fits(self, day: datetime) -> bool:
        weekday = day.isoweekday() % 7
        by_date = self.days is not None and day.day in self.days
        by_weekday = self.weekdays is not None and weekday in self.weekdays
        if self.days is None and self.weekdays is None:
            return True
        return by_date or by_weekday


def parse_cron(text: str, time_zone: str) -> Cron:
    """Raises: InvalidRequest that names the field."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidRequest(
            f"There is no time zone {time_zone!r}; write for example Europe/Paris.", param="time_zone"
        ) from error
    parts = _NAMED.get(text.strip().lower(), text).lower().split()
    if len(parts) != 5:
        raise InvalidRequest(
            "A cron expression has five fields: minute hour day month weekday, such as `0 9 * * mon`.",
            param="cron",
        )
    found = [_field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
    weekdays = None if found[4] is None else frozenset(day % 7 for day in found[4])
    made = Cron(
        minutes=found[0] or frozenset(range(60)),
        hours=found[1] or frozenset(range(24)),
        days=found[2],
        months=found[3] or frozenset(range(1, 13)),
        weekdays=weekdays,
        zone=zone,
    )
    if made.after(0) is None:
        raise InvalidRequest("That day never comes.", param="cron")
    return made


def _field(text: str, name: str, low: int, high: int) -> frozenset[int] | None:
    """Its values; None for `*`."""
    if text == "*":
        return None
    found: set[int] = set()
    for part in text.split(","):
        span, _, step_text = part.partition("/")
        first, _, last = span.partition("-")
        try:
            step = int(step_text) if step_text else 1
            start = low if span == "*" else _value(first, name)
            end = high if span == "*" or (step_text and not last) else _value(last or first, name)
        except ValueError:
            raise _wrong(text, name) from None
        if not (low <= start <= end <= high) or step < 1:
            raise _wrong(text, name)
        found |= set(range(start, end + 1, step))
    return frozenset(found)


def _value(text: str, name: str) -> int:
    names = _MONTHS if name == "month" else _DAYS if name == "day of the week" else []
    if text in names:
        return names.index(text) + (1 if name == "month" else 0)
    return int(text)


def _wrong(text: str, name: str) -> InvalidRequest:
    return InvalidRequest(f"{text!r} is no {name} of a cron expression.", param="cron")
