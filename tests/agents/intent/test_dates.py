"""Days and lengths of time are arithmetic: the same sentence on the same day has one answer."""

from datetime import datetime

import pytest

from tokenhub.agents.intent.dates import days, lengths, periods

MONDAY = datetime(2026, 11, 23, 9, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tomorrow", "2026-11-24"),
        ("the day after tomorrow", "2026-11-25"),
        ("by Wednesday", "2026-11-25"),
        ("on Monday", "2026-11-30"),
        ("next Tuesday", "2026-12-01"),
        ("last friday", "2026-11-20"),
        ("in two weeks", "2026-12-07"),
        ("in 10 days", "2026-12-03"),
        ("in a month", "2026-12-23"),
        ("3rd of January", "2027-01-03"),
        ("Dec 31st", "2026-12-31"),
        ("May 5, 2028", "2028-05-05"),
        ("2026-12-24", "2026-12-24"),
        ("2026-12-24T17:30", "2026-12-24T17:30"),
        ("tomorrow at 5pm", "2026-11-24T17:00"),
        ("at 9:30 on Friday", "2026-11-27T09:30"),
        ("at noon tomorrow", "2026-11-24T12:00"),
        ("end of the month", "2026-11-30"),
        ("end of this week", "2026-11-27"),
        ("last month", "2026-10-01"),
        ("this year", "2026-01-01"),
        ("明天", "2026-11-24"),
        ("大后天", "2026-11-26"),
        ("周三", "2026-11-25"),
        ("下周一", "2026-11-30"),
        ("下星期天", "2026-12-06"),
        ("上周五", "2026-11-20"),
        ("12月3日", "2026-12-03"),
        ("2027年1月2号", "2027-01-02"),
        ("三天后", "2026-11-26"),
        ("两个月后", "2027-01-23"),
        ("明天下午三点半", "2026-11-24T15:30"),
        ("周五上午10点", "2026-11-27T10:00"),
        ("月底", "2026-11-30"),
        ("年底", "2026-12-31"),
    ],
)
def test_a_day_is_found(text: str, expected: str) -> None:
    assert [span.value for span in days(f"please {text}, thanks", MONDAY)] == [expected]


@pytest.mark.parametrize(
    "text", ["3/4", "31 February", "2026-13-45", "may I", "sunny", "第3版", "2026年13月45日", "25:99"]
)
def test_what_is_no_day_is_none(text: str) -> None:
    assert days(text, MONDAY) == []


def test_lengths_and_periods() -> None:
    said = lengths("for 8 hours, 90d, three weeks, 2 months, 30 minutes and 5天 or 两小时")
    assert [span.value for span in said] == ["8h", "90d", "21d", "60d", "30m", "5d", "2h"]
    assert [span.value for span in periods("per month, daily, 每周, a day")] == [
        "month",
        "day",
        "week",
        "day",
    ]
    assert lengths("1M tokens") == []
