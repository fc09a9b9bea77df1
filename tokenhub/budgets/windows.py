"""Window arithmetic: which window of a limit an instant lies in. Pure; all instants are milliseconds, UTC.

Calendar and anniversary windows follow the wall clock of their time zone, so a day may last 23 or 25 hours.
Windows of one limit never overlap and leave no gap, whatever the time zone does.
"""

import calendar
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tokenhub.budgets.types import Limit, Window
from tokenhub.ledger.types import BucketSpec

FOREVER_MS = 2**62
ROLLING_STEPS = 60
_MS = {
    "minute": 60_000,
    "hour": 3_600_000,
    "day": 86_400_000,
    "week": 7 * 86_400_000,
    "month": 30 * 86_400_000,
    "year": 365 * 86_400_000,
}


class Span(NamedTuple):
    """Half-open [start_ms, end_ms)."""

    start_ms: int
    end_ms: int


def length_ms(window: Window) -> int:
    """Length of an anchored or rolling window, in ms; a month counts 30 days and a year 365.

    Raises: ValueError if the window has no length.
    """
    length = window.length_ms or _MS.get(window.length, 0)
    if length <= 0:
        raise ValueError(f"a window of kind {window.kind} needs a length")
    return length


def step_ms(window: Window) -> int:
    """Length of one sub-window of a rolling window, in ms; 0 for every other kind."""
    return max(1, -(-length_ms(window) // ROLLING_STEPS)) if window.kind == "rolling" else 0


def span_at(window: Window, *, now_ms: int, anchor_ms: int | None = None) -> Span:
    """The window that `now_ms` lies in.

    `anchor_ms` is when an anchored window began; the other kinds know their own. A rolling window is one
    endless span, its sub-windows are the ledger's matter.
    Raises: ValueError for a window that is not valid.
    """
    match window.kind:
        case "lifetime" | "rolling":
            return Span(0, FOREVER_MS)
        case "anchored":
            start = now_ms if anchor_ms is None else anchor_ms
            return Span(start, start + length_ms(window))
        case "calendar":
            return _calendar_span(window, now_ms)
        case "anniversary":
            return _anniversary_span(window, now_ms)


def bucket_spec(limit: Limit, *, now_ms: int, anchor_ms: int | None = None) -> BucketSpec:
    """The bucket that a request at `now_ms` is charged to under `limit`."""
    span = span_at(limit.window, now_ms=now_ms, anchor_ms=anchor_ms)
    rolling = limit.window.kind == "rolling"
    return BucketSpec(
        bucket_id=f"{limit.id}:rolling" if rolling else f"{limit.id}:{span.start_ms}",
        limit_id=limit.id,
        unit=limit.unit,
        cap=limit.cap,
        hard=limit.hard,
        window_start_ms=span.start_ms,
        window_end_ms=span.end_ms,
        length_ms=length_ms(limit.window) if rolling else 0,
        step_ms=step_ms(limit.window),
    )


def check_window(window: Window) -> None:
    """Raises: ValueError, with a sentence for the person who typed it, if the window cannot be used."""
    try:
        ZoneInfo(window.tz)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{window.tz!r} is not a time zone name such as Europe/Paris") from error
    if window.kind == "calendar" and not window.length:
        raise ValueError("a calendar window needs a length: minute, hour, day, week, month or year")
    if window.length_ms < 0:
        raise ValueError("the length of a window cannot be negative")
    if window.kind not in ("lifetime", "calendar"):
        length_ms(window)
    span_at(window, now_ms=0)


def _calendar_span(window: Window, now_ms: int) -> Span:
    zone = ZoneInfo(window.tz)
    start = _calendar_start(window.length, zone, now_ms)
    end = (
        start + _MS["minute"]
        if window.length == "minute"
        else _calendar_next(window.length, zone, start, now_ms)
    )
    if _calendar_start(window.length, zone, end - 1) != start:
        end = _first_change(window.length, zone, now_ms, end)
    return Span(start, end)


def _calendar_start(length: str, zone: tzinfo, at_ms: int) -> int:
    local = _local(at_ms, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match length:
        case "minute" | "hour":
            offset_ms = _offset_ms(local)
            return at_ms - (at_ms + offset_ms) % _MS[length]
        case "day":
            return _utc(midnight)
        case "week":
            return _utc(midnight - timedelta(days=local.weekday()))
        case "month":
            return _utc(midnight.replace(day=1))
        case "year":
            return _utc(midnight.replace(month=1, day=1))
        case _:
            raise ValueError(f"{length!r} is not a calendar length")


def _calendar_next(length: str, zone: tzinfo, start_ms: int, now_ms: int) -> int:
    if length == "hour":
        return start_ms + _MS["hour"]
    local = _local(now_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match length:
        case "day":
            return _utc(local + timedelta(days=1))
        case "week":
            return _utc(local + timedelta(days=7 - local.weekday()))
        case "month":
            return _utc(_add_months(local.replace(day=1), 1))
        case _:
            return _utc(local.replace(year=local.year + 1, month=1, day=1))


def _first_change(length: str, zone: tzinfo, low: int, high: int) -> int:
    """First instant after `low` that lies in another window (a clock change shortened this one)."""
    start = _calendar_start(length, zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        if _calendar_start(length, zone, middle) == start:
            low = middle
        else:
            high = middle
    return high


def _anniversary_span(window: Window, now_ms: int) -> Span:
    if window.length_ms or window.length in ("minute", "hour"):
        length = length_ms(window)
        start = window.anchor_ms + (now_ms - window.anchor_ms) // length * length
        return Span(start, start + length)
    zone = ZoneInfo(window.tz)
    anchor = _local(window.anchor_ms, zone)
    count = (now_ms - window.anchor_ms) // _MS[window.length]
    while _anniversary(anchor, window.length, count) > now_ms:
        count -= 1
    while _anniversary(anchor, window.length, count + 1) <= now_ms:
        count += 1
    return Span(_anniversary(anchor, window.length, count), _anniversary(anchor, window.length, count + 1))


def _anniversary(anchor: datetime, length: str, count: int) -> int:
    match length:
        case "day":
            return _utc(anchor + timedelta(days=count))
        case "week":
            return _utc(anchor + timedelta(days=7 * count))
        case "month":
            return _utc(_add_months(anchor, count))
        case "year":
            return _utc(_add_months(anchor, 12 * count))
        case _:
            raise ValueError(f"{length!r} is not a length of an anniversary window")


def _add_months(local: datetime, months: int) -> datetime:
    """The same day `months` later; the 31st becomes the last day of a shorter month."""
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    day = min(local.day, calendar.monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day)


def _local(at_ms: int, zone: tzinfo) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(zone)


def _offset_ms(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None
    return offset // timedelta(milliseconds=1)


def _utc(local: datetime) -> int:
    return (local.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
