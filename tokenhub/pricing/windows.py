"""Time-of-day windows: does an instant fall into one, in the local time of its zone?"""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tokenhub.pricing.types import Window

DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class CompiledWindow:
    """A window ready to be asked; `start` and `end` in minutes of the local day."""

    window: Window
    zone: ZoneInfo
    start: int
    end: int
    days: frozenset[int]

    def contains(self, at_ms: int) -> bool:
        """True if the instant lies inside, by the wall clock of the zone."""
        local = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(self.zone)
        minute, today = local.hour * 60 + local.minute, local.isoweekday()
        if self.start < self.end:
            return self.start <= minute < self.end and today in self.days
        yesterday = today - 1 or 7
        return (minute >= self.start and today in self.days) or (minute < self.end and yesterday in self.days)


def compile_window(window: Window) -> CompiledWindow:
    """Parse zone and hours.

    Raises: ValueError for hours that are not "HH:MM", KeyError (ZoneInfoNotFoundError) for an unknown zone.
    """
    return CompiledWindow(
        window=window,
        zone=ZoneInfo(window.tz),
        start=parse_minute(window.start),
        end=parse_minute(window.end),
        days=frozenset(window.days),
    )


def parse_minute(text: str) -> int:
    """ "08:30" -> 510, the minute of the day; "24:00" is the day's end."""
    hours, colon, minutes = text.partition(":")
    if not (colon and len(hours) == len(minutes) == 2 and text.replace(":", "").isdecimal()):
        raise ValueError(f"{text!r} is not a time of day such as 08:30")
    value = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or value > DAY_MINUTES:
        raise ValueError(f"{text!r} is not a time of day such as 08:30")
    return value
