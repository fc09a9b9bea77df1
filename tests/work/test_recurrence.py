"""Recurrence against dateutil as an independent reference, clock changes, and rules that would never end."""

import time
from datetime import date, datetime, timedelta
from itertools import islice, pairwise

import pytest
from dateutil import rrule as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenhub.kernel.errors import InvalidRequest
from tokenhub.work.recurrence import Times, at_ms, ended_before, instances, last_end_ms, parse_rule, wall

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


@st.composite
def rules(draw: st.DrawFn) -> str:
    """Rules of every kind that happen at some time: dateutil seeks others until the year 9999."""
    freq = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={freq}", f"INTERVAL={draw(st.integers(1, 5))}"]
    kind = draw(st.sampled_from(["", "weekday", "nth", "monthday", "yearday", "both", "position"]))
    if kind != "yearday" and draw(st.booleans()):
        parts.append(f"BYMONTH={_some(draw, st.integers(1, 12))}")
    if freq != "WEEKLY" and kind in ("monthday", "both"):
        parts.append(f"BYMONTHDAY={_some(draw, st.sampled_from([1, 2, 5, 13, 15, 27, -1, -2, -20]))}")
    if kind in ("weekday", "both", "position"):
        parts.append(f"BYDAY={_some(draw, st.sampled_from(DAYS))}")
    if kind == "nth" and freq in ("MONTHLY", "YEARLY"):
        nth = st.sampled_from(["1", "2", "3", "-1", "-2"])
        parts.append(f"BYDAY={_some(draw, st.tuples(nth, st.sampled_from(DAYS)).map(''.join))}")
    if kind == "yearday" and freq == "YEARLY":
        parts.append(f"BYYEARDAY={_some(draw, st.integers(-365, 365).filter(bool))}")
    if kind == "position" and freq in ("MONTHLY", "YEARLY"):
        parts.append(f"BYSETPOS={_some(draw, st.sampled_from([1, 2, -1, -2]))}")
    end = draw(st.integers(0, 2))
    if end == 1:
        parts.append(f"COUNT={draw(st.integers(1, 40))}")
    if end == 2:
        parts.append(f"UNTIL={draw(st.dates(date(2026, 1, 1), date(2031, 1, 1))):%Y%m%d}T235959")
    if draw(st.booleans()):
        parts.append(f"WKST={draw(st.sampled_from(DAYS))}")
    return ";".join(parts)


def _some(draw: st.DrawFn, values: st.SearchStrategy[object]) -> str:
    return ",".join(map(str, draw(st.lists(values, min_size=1, max_size=3, unique=True))))


@settings(max_examples=200, deadline=None)
@given(
    rules(),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),
    st.integers(0, 900),
    st.integers(1, 500),
)
def test_it_gives_what_dateutil_gives(text: str, start: datetime, skip: int, span: int) -> None:
    start = start.replace(microsecond=0)
    window = start + timedelta(days=skip), start + timedelta(days=skip + span)
    rule = parse_rule(text)
    times = Times("UTC", start, 0, rule=rule)
    told = [
        datetime.fromisoformat(one.local)
        for one in instances(times, from_ms=at_ms(window[0], "UTC"), until_ms=at_ms(window[1], "UTC"))
    ]
    assert told == _expected(text, start, window)
    assert parse_rule(str(rule)) == rule


def _expected(text: str, start: datetime, window: tuple[datetime, datetime]) -> list[datetime]:
    """dateutil leaves DTSTART out where it does not fit the rule; RFC 5545 counts it as the first."""
    plain = ";".join(part for part in text.split(";") if not part.startswith("COUNT"))
    every = reference.rrulestr(plain, dtstart=start)
    found = list(islice(every.xafter(start - timedelta(days=1)), 60)) if "COUNT" in text else []
    if "COUNT" in text:
        count = int(text.split("COUNT=")[1].split(";")[0])
        found = ([start] + [one for one in found if one != start])[:count]
    else:
        found = [start] + [
            one for one in every.between(start, window[1] + timedelta(days=1), inc=True) if one != start
        ]
    return [one for one in found if window[0] <= one < window[1]]


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=DAILY;COUNT=1000000000",
        "FREQ=DAILY",
        "FREQ=MONTHLY;BYDAY=5MO;BYSETPOS=9",
        "FREQ=YEARLY;INTERVAL=1000000000",
        "FREQ=DAILY;INTERVAL=999999999;COUNT=999999999",
    ],
)
def test_no_rule_takes_long(text: str) -> None:
    times = Times("Europe/Berlin", datetime(1970, 1, 1, 9), 3600, rule=parse_rule(text))
    started = time.process_time()
    asked = at_ms(datetime(2100, 1, 1), "UTC")
    assert len(list(instances(times, from_ms=asked, until_ms=asked + 30 * 86_400_000))) <= 31
    last_end_ms(times)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "text",
    ["", "weekly-ish", "FREQ=SECONDLY", "FREQ=DAILY;BYHOUR=1,2", "FREQ=WEEKLY;BYDAY=9XX", "FREQ=DAILY;COUNT=0",
     "FREQ=DAILY;COUNT=5;UNTIL=20270101", "FREQ=WEEKLY;BYDAY=1MO", "FREQ=DAILY;UNTIL=20269999", "FREQ=DAILY;;COUNT=2",
     "FREQ=DAILY;INTERVAL=-1", "FREQ=MONTHLY;BYMONTHDAY=0", "FREQ=DAILY;BYEASTER=1", "FREQ=DAILY;COUNT=99999999999999"],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_rule(text)


def test_nine_oclock_stays_nine_oclock_when_the_clocks_change() -> None:
    times = Times("Europe/Berlin", datetime(2026, 10, 24, 9), 3600, rule=parse_rule("daily"))
    first = at_ms(datetime(2026, 10, 24), "UTC")
    found = list(instances(times, from_ms=first, until_ms=first + 3 * 86_400_000))
    assert [wall(one.start_ms, "Europe/Berlin").hour for one in found] == [9, 9, 9]
    assert [(b.start_ms - a.start_ms) // 3_600_000 for a, b in pairwise(found)] == [
        25,
        24,
    ]


def test_a_time_that_is_skipped_or_comes_twice() -> None:
    times = Times("America/New_York", datetime(2026, 3, 7, 2, 30), 3600, rule=parse_rule("daily"))
    first = at_ms(datetime(2026, 3, 7), "UTC")
    found = list(instances(times, from_ms=first, until_ms=first + 3 * 86_400_000))
    assert [wall(one.start_ms, "America/New_York").strftime("%d %H:%M") for one in found] == [
        "07 02:30",
        "08 03:30",
        "09 02:30",
    ]
    autumn = Times("America/New_York", datetime(2026, 11, 1, 1, 30), 3600)
    [one] = instances(autumn, from_ms=0, until_ms=4_000_000_000_000)
    assert wall(one.end_ms, "America/New_York") == datetime(2026, 11, 1, 1, 30), (
        "the hour that passes is the repeated one"
    )


def test_an_all_day_event_is_whole_days_whatever_the_clocks_do() -> None:
    times = Times("Europe/Berlin", datetime(2026, 10, 25), 86_400, all_day=True)
    [one] = instances(times, from_ms=0, until_ms=4_000_000_000_000)
    assert one.end_ms - one.start_ms == 25 * 3_600_000


def test_a_series_can_end_before_one_of_its_instances() -> None:
    times = Times("Asia/Shanghai", datetime(2026, 11, 2, 9), 3600, rule=parse_rule("FREQ=WEEKLY;COUNT=9"))
    third = datetime(2026, 11, 16, 9)
    assert times.rule is not None
    cut = ended_before(times.rule, third, all_day=False, tz="Asia/Shanghai")
    left = list(
        instances(Times("Asia/Shanghai", times.start, 3600, rule=cut), from_ms=0, until_ms=4_000_000_000_000)
    )
    assert [one.local[:10] for one in left] == ["2026-11-02", "2026-11-09"]


@pytest.mark.parametrize("until", ["99991231", "99991231T235959Z", "99991230T000000"])
def test_until_the_end_of_time_is_a_long_time(until: str) -> None:
    """As common programs write a series without an end; the calendar ends earlier (`LAST`)."""
    times = Times(
        "Europe/Berlin", datetime(2026, 11, 2, 9), 3600, rule=parse_rule(f"FREQ=YEARLY;UNTIL={until}")
    )
    ends_ms = last_end_ms(times)
    found = list(instances(times, from_ms=0, until_ms=at_ms(datetime(2300, 1, 1), "UTC")))
    assert len(found) == 174 and ends_ms is not None and ends_ms >= found[-1].end_ms
