"""Window arithmetic: no gap, no overlap, the wall clock of the zone, whatever daylight saving does."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenhub.budgets.types import Limit, Window, WindowLength
from tokenhub.budgets.windows import FOREVER_MS, bucket_spec, check_window, span_at, step_ms
from tokenhub.ledger.types import Unit

HOUR = 3_600_000
ZONES = [
    "UTC", "Europe/Paris", "America/New_York", "Asia/Shanghai", "Asia/Kolkata", "Australia/Lord_Howe",
    "America/Sao_Paulo", "Asia/Beirut", "Africa/Casablanca", "Pacific/Apia", "America/Havana",
]  # fmt: skip
LENGTHS: list[WindowLength] = ["minute", "hour", "day", "week", "month", "year"]


def ms(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("length", "zone", "now", "start", "end"),
    [
        ("minute", "UTC", "2026-11-22T18:30:30", "2026-11-22T18:30:00", "2026-11-22T18:31:00"),
        ("day", "Asia/Shanghai", "2026-11-22T00:30:00", "2026-11-22T00:00:00", "2026-11-23T00:00:00"),
        ("week", "Europe/Paris", "2026-11-22T12:00:00", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
        ("month", "America/New_York", "2026-02-28T23:59:59", "2026-02-01T00:00:00", "2026-03-01T00:00:00"),
        ("year", "Asia/Kolkata", "2026-01-01T00:00:00", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_calendar(length: WindowLength, zone: str, now: str, start: str, end: str) -> None:
    span = span_at(Window("calendar", length, tz=zone), now_ms=ms(now, zone))
    assert span == (ms(start, zone), ms(end, zone))


def test_days_of_23_and_25_hours() -> None:
    paris = Window("calendar", "day", tz="Europe/Paris")
    spring = span_at(paris, now_ms=ms("2026-03-29T12:00:00", "Europe/Paris"))
    autumn = span_at(paris, now_ms=ms("2026-10-25T12:00:00", "Europe/Paris"))
    assert (spring.end_ms - spring.start_ms) / HOUR == 23
    assert (autumn.end_ms - autumn.start_ms) / HOUR == 25


def test_a_midnight_that_does_not_exist() -> None:
    """Clocks in Beirut went from 00:00 to 01:00 on 31 March 2024: the day begins at 01:00."""
    span = span_at(
        Window("calendar", "day", tz="Asia/Beirut"), now_ms=ms("2024-03-31T12:00:00", "Asia/Beirut")
    )
    assert (span.end_ms - span.start_ms) / HOUR == 23
    assert span.start_ms == ms("2024-03-31T01:00:00", "Asia/Beirut")


@given(
    at=st.integers(ms("2010-01-01T00:00:00"), ms("2040-01-01T00:00:00")),
    zone=st.sampled_from(ZONES),
    length=st.sampled_from(LENGTHS),
    kind=st.sampled_from(["calendar", "anniversary"]),
    anchor=st.integers(ms("2009-01-01T00:00:00"), ms("2041-01-01T00:00:00")),
)
def test_windows_tile_time(at: int, zone: str, length: WindowLength, kind: str, anchor: int) -> None:
    window = Window(kind, length, tz=zone, anchor_ms=anchor)  # type: ignore[arg-type]
    span = span_at(window, now_ms=at)
    assert span.start_ms <= at < span.end_ms
    assert span_at(window, now_ms=span.start_ms) == span
    assert span_at(window, now_ms=span.end_ms - 1) == span
    assert span_at(window, now_ms=span.end_ms).start_ms == span.end_ms


def test_anniversary_on_the_31st() -> None:
    window = Window(
        "anniversary", "month", tz="Europe/Paris", anchor_ms=ms("2026-01-31T10:00:00", "Europe/Paris")
    )
    span = span_at(window, now_ms=ms("2026-03-01T00:00:00", "Europe/Paris"))
    assert span == (ms("2026-02-28T10:00:00", "Europe/Paris"), ms("2026-03-31T10:00:00", "Europe/Paris"))


def test_anniversary_of_a_leap_day() -> None:
    window = Window("anniversary", "year", anchor_ms=ms("2024-02-29T00:00:00"))
    span = span_at(window, now_ms=ms("2025-06-01T00:00:00"))
    assert span == (ms("2025-02-28T00:00:00"), ms("2026-02-28T00:00:00"))


def test_anchored_lifetime_and_rolling() -> None:
    anchored = Window("anchored", length_ms=5 * HOUR)
    assert span_at(anchored, now_ms=1000, anchor_ms=400) == (400, 400 + 5 * HOUR)
    assert span_at(Window(), now_ms=5) == (0, FOREVER_MS)
    rolling = Window("rolling", length_ms=5 * HOUR)
    assert step_ms(rolling) == 5 * 60_000
    spec = bucket_spec(Limit("lim_1", "key", "k", Unit.TOKENS, 9, window=rolling), now_ms=77)
    assert (spec.bucket_id, spec.window_end_ms, spec.length_ms) == ("lim_1:rolling", FOREVER_MS, 5 * HOUR)


@pytest.mark.parametrize(
    "window",
    [
        Window("calendar"),
        Window("rolling"),
        Window("anchored"),
        Window("anniversary"),
        Window("calendar", "day", tz="Mars/Olympus"),
    ],
)
def test_unusable_windows_are_refused(window: Window) -> None:
    with pytest.raises(ValueError, match=r"window|time zone"):
        check_window(window)
