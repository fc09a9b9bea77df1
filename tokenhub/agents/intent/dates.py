"""Days, times and lengths of time in a sentence, English and Chinese, resolved by arithmetic and never by a model.

A weekday is the next one that comes; `next Friday` and 下周五 are those of the calendar week that follows. A day without
a year is the next one of that name. Nothing is read into numbers alone (`3/4` could be either): such a day is no day.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from dateutil.relativedelta import relativedelta


class Span(NamedTuple):
    """A piece of the sentence and what it says: `2026-11-27`, `2026-11-27T17:00`, `90d`."""

    start: int
    end: int
    value: str


_MONTHS: Sequence[str] = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
_WEEKDAY = r"(mon|tues?|wednes|thurs?|fri|satur|sun)(?:day)"
_WEEKDAYS: Sequence[str] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CHINESE_DAYS = {"一": 0, "二": 1, "三": 2, "四": 3, "五": 4, "六": 5, "日": 6, "天": 6, "末": 5}
_CHINESE_NUMBERS = {"一": 1, "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10, "半": 0}  # fmt: skip
_NUMBER = r"(\d{1,4}|[一两二三四五六七八九十])"
_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "a": 1, "an": 1}  # fmt: skip

_CLOCK = re.compile(
    r"(?:\bat\s+)?\b(\d{1,2}):(\d{2})\s*(am|pm)?\b|(?:\bat\s+)?\b(\d{1,2})\s*(am|pm)\b|\bat\s+(noon|midnight)\b"
    r"|(凌晨|早上|上午|中午|下午|晚上)?\s*(\d{1,2}|[一两二三四五六七八九十]{1,2})[点时](半|(\d{1,2})分?)?",
    re.IGNORECASE,
)
_LENGTH = re.compile(
    r"\b(\d{1,5}|one|two|three|four|five|six|seven|eight|nine|ten|an?)[\s-]*(seconds?|minutes?|mins?|hours?|days?|weeks?|months?)\b"
    r"|\b(\d{1,5})((?-i:[smhdw]))\b"
    rf"|{_NUMBER}\s*个?\s*(秒钟?|分钟|小时|天|周|星期|月)(?!\d|后|之后)",
    re.IGNORECASE,
)
_PERIOD = re.compile(
    r"\b(?:per|each|every|a|an)\s+(minute|hour|day|week|month|year)\b|\b(dai|week|month|year|hour)ly\b|每个?(分钟|小时|天|日|周|月|年)",
    re.IGNORECASE,
)
_CHINESE_UNITS = {"秒": "s", "分": "m", "小": "h", "天": "d", "周": "w", "星": "w", "月": "month"}
_CHINESE_PERIODS = {"分钟": "minute", "小时": "hour", "天": "day", "日": "day", "周": "week", "月": "month", "年": "year"}  # fmt: skip


def days(text: str, now: datetime) -> list[Span]:
    """The days that a sentence names, with their time where it follows, in order; overlaps go to the first pattern."""
    found: list[Span] = []
    for pattern, resolve in _PATTERNS:
        for match in pattern.finditer(text):
            if any(match.start() < other.end and other.start < match.end() for other in found):
                continue
            try:
                day = resolve(match, now)
            except ValueError:
                continue
            if day is not None:
                found.append(Span(match.start(), match.end(), day))
    return [_with_clock(span, text) for span in sorted(found)]


def lengths(text: str) -> list[Span]:
    """Lengths of time, such as `90d`, `4h`, `30m`; weeks and months as days (30)."""
    found: list[Span] = []
    for match in _LENGTH.finditer(text):
        if match[1]:
            count, unit = _count(match[1]), match[2][:5].lower()
        elif match[3]:
            count, unit = int(match[3]), match[4].lower()
        else:
            count, unit = _count(match[5]), _CHINESE_UNITS[match[6][0]]
        days_of = {"w": 7, "month": 30}
        letter = "month" if unit.startswith("month") else unit[0]
        value = f"{count * days_of[letter]}d" if letter in days_of else f"{count}{letter}"
        found.append(Span(match.start(), match.end(), value))
    return found


def periods(text: str) -> list[Span]:
    """Words of repetition: `per month`, `daily`, 每周, as `month`, `day`, `week`."""
    found: list[Span] = []
    for match in _PERIOD.finditer(text):
        word = (match[1] or match[2] or "").lower()
        value = {"dai": "day"}.get(word, word) or _CHINESE_PERIODS[match[3]]
        found.append(Span(match.start(), match.end(), value))
    return found


def _count(word: str) -> int:
    return int(word) if word.isdigit() else _WORDS.get(word.lower()) or _CHINESE_NUMBERS.get(word, 1)


def _weekday(match: re.Match[str], now: datetime) -> str:
    which = (match[1] or "").lower()
    wanted = _WEEKDAYS.index(match[2][:3].lower())
    return _day_of_week(now, wanted, following=which == "next", past=which == "last")


def _chinese_weekday(match: re.Match[str], now: datetime) -> str:
    which = match[1] or ""
    return _day_of_week(now, _CHINESE_DAYS[match[2]], following=which.startswith("下"), past=which == "上")


def _day_of_week(now: datetime, wanted: int, *, following: bool, past: bool) -> str:
    monday = now.date() - timedelta(days=now.weekday())
    if following or past:
        return (monday + timedelta(days=wanted + (7 if following else -7))).isoformat()
    ahead = (wanted - now.weekday()) % 7 or 7
    return (now.date() + timedelta(days=ahead)).isoformat()


def _named_day(match: re.Match[str], now: datetime) -> str:
    month, day, year = (match[2], match[1], match[3]) if match[1] else (match[4], match[5], match[6])
    number = _MONTHS.index(str(month)[:3].lower()) + 1
    return _calendar_day(now, int(year) if year else None, number, int(day))


def _chinese_day(match: re.Match[str], now: datetime) -> str:
    return _calendar_day(now, int(match[1]) if match[1] else None, int(match[2]), int(match[3]))


def _calendar_day(now: datetime, year: int | None, month: int, day: int) -> str:
    if year is not None:
        return date(year, month, day).isoformat()
    found = date(now.year, month, day)
    return (found if found >= now.date() else date(now.year + 1, month, day)).isoformat()


def _relative(match: re.Match[str], now: datetime) -> str:
    return (now.date() + timedelta(days=_DAYS[match[0].lower()])).isoformat()


def _after(match: re.Match[str], now: datetime) -> str:
    number, unit = (match[1], match[2].lower()) if match[1] else (match[3], match[4])
    count = _count(number)
    if unit.startswith(("month", "个月", "月")):
        return (now + relativedelta(months=count)).date().isoformat()
    return (
        (now + timedelta(days=count * (7 if unit.startswith(("week", "周", "星期")) else 1)))
        .date()
        .isoformat()
    )


def _edge(match: re.Match[str], now: datetime) -> str:
    word = match[0].lower()
    today = now.date()
    if "week" in word or "周" in word:
        return (today + timedelta(days=(4 - today.weekday()) % 7)).isoformat()
    if "month" in word or "月" in word:
        return (today + relativedelta(day=31)).isoformat()
    return today.replace(month=12, day=31).isoformat()


def _begin(match: re.Match[str], now: datetime) -> str:
    word = match[0].lower()
    today, back = now.date(), word.startswith(("last", "上"))
    if "week" in word or "周" in word:
        return (today - timedelta(days=today.weekday() + 7 * back)).isoformat()
    first = today.replace(day=1) if "month" in word or "月" in word else today.replace(month=1, day=1)
    return (first - relativedelta(months=back) if "month" in word or "月" in word else first).isoformat()


_DAYS = {
    "today": 0, "tonight": 0, "tomorrow": 1, "the day after tomorrow": 2, "day after tomorrow": 2, "yesterday": -1,
    "今天": 0, "今晚": 0, "明天": 1, "明日": 1, "后天": 2, "大后天": 3, "昨天": -1, "前天": -2,
}  # fmt: skip
_Resolve = Callable[[re.Match[str], datetime], str | None]
_PATTERNS: tuple[tuple[re.Pattern[str], _Resolve], ...] = (
    (
        re.compile(r"\b\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:\d{2})?)?"),
        lambda match, _: match[0] if datetime.fromisoformat(match[0]) else None,
    ),
    (
        re.compile(
            rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}\b(?:,?\s+(\d{{4}}))?"
            rf"|\b{_MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(\d{{4}}))?",
            re.IGNORECASE,
        ),
        _named_day,
    ),
    (re.compile(r"(?:(\d{4})年)?(\d{1,2})月(\d{1,2})[日号]"), _chinese_day),
    (
        re.compile(
            r"\b(?:end|close) of (?:the )?(?:this )?(?:week|month|year)\b|本?周末前|本?月底|年底",
            re.IGNORECASE,
        ),
        _edge,
    ),
    (re.compile("|".join(sorted(map(re.escape, _DAYS), key=len, reverse=True)), re.IGNORECASE), _relative),
    (re.compile(rf"\b(?:(next|this|coming|last)\s+)?{_WEEKDAY}\b", re.IGNORECASE), _weekday),
    (re.compile(r"(本|这个?|下个?|上个?)?(?:周|星期|礼拜)([一二三四五六日天末])"), _chinese_weekday),
    (
        re.compile(
            r"\bin (\d{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten) (days?|weeks?|months?)\b"
            rf"|{_NUMBER}\s*个?\s*(天|周|星期|月)(?:之?后|以后)",
            re.IGNORECASE,
        ),
        _after,
    ),
    (re.compile(r"\b(?:this|last) (?:week|month|year)\b|[本这上]个?(?:周|月)|今年", re.IGNORECASE), _begin),
)


def _with_clock(span: Span, text: str) -> Span:
    """The day with the time that stands right after it, or right before."""
    if "T" in span.value:
        return span
    for match in _CLOCK.finditer(text):
        after = match.start() >= span.end and re.fullmatch(r"[\s,的]*", text[span.end : match.start()])
        before = match.end() <= span.start and re.fullmatch(
            r"[\s,]*(?:on)?\s*", text[match.end() : span.start]
        )
        clock = _clock(match) if after or before else ""
        if clock:
            start, end = min(span.start, match.start()), max(span.end, match.end())
            return Span(start, end, f"{span.value}T{clock}")
    return span


def _clock(match: re.Match[str]) -> str:
    if match[6]:
        return "12:00" if match[6].lower() == "noon" else "00:00"
    if match[8]:
        hour = int(match[8]) if match[8].isdigit() else _chinese_number(match[8])
        minute = 30 if match[9] == "半" else int(match[10] or 0)
        later = match[7] in ("下午", "晚上") and hour < 12
    else:
        hour, minute = int(match[1] or match[4]), int(match[2] or 0)
        half = (match[3] or match[5] or "").lower()
        hour = 0 if half == "am" and hour == 12 else hour
        later = half == "pm" and hour < 12
    hour += 12 * later
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else ""


def _chinese_number(word: str) -> int:
    if len(word) == 1:
        return _CHINESE_NUMBERS[word]
    tens, ones = word[0], word[1]
    return (10 if tens == "十" else _CHINESE_NUMBERS[tens] * 10) + (
        0 if ones == "十" else _CHINESE_NUMBERS[ones]
    )
