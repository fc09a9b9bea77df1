"""Hours of the week by the wall clock of a zone, daylight saving included."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tokenhub.pricing.errors import InvalidPrice
from tokenhub.pricing.rules import check
from tokenhub.pricing.types import RateCard, Rates, Rules, Window
from tokenhub.pricing.windows import compile_window, parse_minute


def at(zone: str, text: str, *, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 1000


def window(
    start: str, end: str, *, tz: str = "Europe/Berlin", days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
) -> Window:
    return Window(tz=tz, start=start, end=end, days=days, multiplier=(1, 2))


def test_start_inclusive_end_exclusive() -> None:
    made = compile_window(window("09:00", "17:00"))
    assert made.contains(at("Europe/Berlin", "2026-11-23T09:00"))
    assert made.contains(at("Europe/Berlin", "2026-11-23T16:59:59"))
    assert not made.contains(at("Europe/Berlin", "2026-11-23T17:00"))
    assert not made.contains(at("Europe/Berlin", "2026-11-23T08:59:59"))


def test_over_midnight_belongs_to_the_day_it_starts_on() -> None:
    friday_night = compile_window(window("22:00", "06:00", days=(5,)))
    assert friday_night.contains(at("Europe/Berlin", "2026-11-27T23:00"))
    assert friday_night.contains(at("Europe/Berlin", "2026-11-28T05:59"))
    assert not friday_night.contains(at("Europe/Berlin", "2026-11-27T05:00"))
    assert not friday_night.contains(at("Europe/Berlin", "2026-11-28T23:00"))
    sunday_night = compile_window(window("22:00", "06:00", days=(7,)))
    assert sunday_night.contains(at("Europe/Berlin", "2026-11-30T03:00"))  # a Monday


def test_same_start_and_end_is_a_whole_day() -> None:
    made = compile_window(window("00:00", "00:00", days=(6, 7)))
    assert made.contains(at("Europe/Berlin", "2026-11-28T00:00"))
    assert made.contains(at("Europe/Berlin", "2026-11-29T23:59"))
    assert not made.contains(at("Europe/Berlin", "2026-11-30T00:00"))


def test_daylight_saving_moves_the_window_with_the_wall_clock() -> None:
    made = compile_window(window("09:00", "10:00"))
    assert made.contains(at("UTC", "2026-07-01T07:30"))
    assert made.contains(at("UTC", "2026-12-01T08:30"))
    assert not made.contains(at("UTC", "2026-12-01T07:30"))


def test_the_repeated_hour_counts_twice_and_the_skipped_one_never() -> None:
    made = compile_window(window("02:00", "03:00"))
    assert made.contains(at("Europe/Berlin", "2026-10-25T02:30", fold=0))
    assert made.contains(at("Europe/Berlin", "2026-10-25T02:30", fold=1))
    spring = [at("UTC", f"2026-03-29T{hour:02d}:{minute:02d}") for hour in range(24) for minute in (0, 30)]
    assert not any(made.contains(instant) for instant in spring)


@pytest.mark.parametrize("text", ["8:30", "08.30", "24:01", "12:60", "", "ab:cd", "-1:00"])
def test_hours_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="time of day"):
        parse_minute(text)


@pytest.mark.parametrize(
    "bad",
    [
        window("09:00", "17:00", tz="Mars/Olympus"),
        window("9", "17:00"),
        window("09:00", "17:00", days=()),
        window("09:00", "17:00", days=(0,)),
        Window(tz="UTC", start="09:00", end="17:00"),
        Window(tz="UTC", start="09:00", end="17:00", multiplier=(1, 0)),
        Window(tz="UTC", start="09:00", end="17:00", multiplier=(1, 2), card=RateCard(rates=Rates(input=1))),
    ],
)
def test_windows_that_cannot_stand(bad: Window) -> None:
    with pytest.raises(InvalidPrice):
        check(Rules(base=RateCard(rates=Rates(input=1)), windows=(bad,)))
