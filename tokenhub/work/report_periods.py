"""Days and weeks of reports: which one it is, when it is due, who has not handed in."""

import json
import re
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from tokenhub.identity import departments, directory
from tokenhub.identity.directory import User
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.work.calendar_tables import reports
from tokenhub.work.recurrence import FIRST, LAST, at_ms, wall

_WEEK = re.compile(r"(\d{4})-W(\d{2})")


def period_at(form: Row[Any], instant_ms: int) -> str:
    """`2026-11-23` or `2026-W48`: the period in which this instant lies."""
    return _name(form.period, wall(instant_ms, form.tz).date())


def check_period(form: Row[Any], text: str) -> str:
    """The same text. Raises: InvalidRequest if the form's periods are not called so."""
    try:
        first = first_day(form.period, text)
        if not FIRST <= first <= LAST:
            raise ValueError(text)
    except ValueError as error:
        like = "2026-W48" if form.period == "week" else "2026-11-23"
        raise InvalidRequest(f"{text!r} is no {form.period} such as {like}.", param="period") from error
    return _name(form.period, first)


def first_day(kind: str, period: str) -> date:
    """Its first day. Raises: ValueError."""
    if kind == "day":
        return date.fromisoformat(period)
    found = _WEEK.fullmatch(period)
    if found is None:
        raise ValueError(period)
    return date.fromisocalendar(int(found[1]), int(found[2]), 1)


def bounds_ms(form: Row[Any], period: str) -> tuple[int, int]:
    """From when until when."""
    first = datetime.combine(first_day(form.period, period), datetime.min.time())
    after = first + timedelta(days=7 if form.period == "week" else 1)
    return at_ms(first, form.tz), at_ms(after, form.tz)


def next_due(form: Row[Any], *, after_ms: int) -> dict[str, Any]:
    """`due_at_ms` and `period` of the first due time after this instant."""
    step = timedelta(days=7 if form.period == "week" else 1)
    day = first_day(form.period, period_at(form, after_ms))
    while True:
        due = at_ms(datetime.combine(day, datetime.min.time()) + timedelta(minutes=form.due_minute), form.tz)
        if due > after_ms:
            return {"due_at_ms": due, "period": _name(form.period, day)}
        day += step


def authors(connection: Connection, form: Row[Any]) -> list[str]:
    """Ids of those who hand in."""
    named: list[str] = json.loads(form.authors)
    found: list[str] = []
    for one in named:
        if one.startswith("dept_"):
            found += [member.user_id for member in departments.members(connection, one)]
        else:
            found.append(one)
    if named:
        return list(dict.fromkeys(found))
    after: str | None = None
    while page := directory.listing(connection, User, form.org_id, after=after, limit=500):
        found += [user.id for user in page if user.disabled_at_ms is None]
        after = page[-1].id
    return found


def missing(connection: Connection, form: Row[Any], period: str) -> list[str]:
    """Ids of those who have not handed in for this period."""
    sent = (reports.c.form_id == form.id) & (reports.c.period == period) & (reports.c.state == "sent")
    done = set(connection.execute(select(reports.c.author_id).where(sent)).scalars())
    return [one for one in authors(connection, form) if one not in done]


def _name(kind: str, day: date) -> str:
    if kind == "day":
        return day.isoformat()
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"
