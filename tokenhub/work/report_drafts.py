"""Drafts of reports: what somebody did, has to do and took part in, in a period."""

import json
from typing import Any

from sqlalchemy import Row, or_, select

from tokenhub.commands import Context
from tokenhub.work import report_periods
from tokenhub.work.calendar_tables import events
from tokenhub.work.event_store import overlapping, takes_part, times_of, when_of
from tokenhub.work.recurrence import instances
from tokenhub.work.tables import tasks
from tokenhub.work.visibility import events_of, tasks_of

LINES_MAX = 200


def drafted(ctx: Context, form: Row[Any], period: str) -> dict[str, str]:
    """A text for each field, from the caller's own work of the period."""
    from_ms, until_ms = report_periods.bounds_ms(form, period)
    fields: dict[str, str] = json.loads(form.fields)
    made = {
        "done": lambda: _tasks(ctx, from_ms, until_ms),
        "open": lambda: _tasks(ctx, None, until_ms),
        "events": lambda: _events(ctx, from_ms, until_ms),
        "text": lambda: "",
    }
    return {name: made[source]() for name, source in fields.items()}


def _tasks(ctx: Context, from_ms: int | None, until_ms: int) -> str:
    """The caller's tasks that were done since `from_ms`; those that are open, if it is None."""
    me = ctx.principal.actor
    mine = or_(tasks.c.assignee_id == me, (tasks.c.creator_id == me) & tasks.c.assignee_id.is_(None))
    query = select(tasks.c.title, tasks.c.due_at_ms).where(tasks_of(ctx.principal), mine)
    if from_ms is None:
        query = query.where(tasks.c.state == "open", tasks.c.created_at_ms < until_ms)
        query = query.order_by(tasks.c.priority, tasks.c.id)
    else:
        done = (tasks.c.state == "done") & (tasks.c.done_at_ms >= from_ms) & (tasks.c.done_at_ms < until_ms)
        query = query.where(done).order_by(tasks.c.done_at_ms)
    return "\n".join(f"- {row.title}" for row in ctx.hub.execute(query.limit(LINES_MAX)))


def _events(ctx: Context, from_ms: int, until_ms: int) -> str:
    mine = events_of(ctx.principal) & takes_part(ctx.principal.actor) & overlapping(from_ms, until_ms)
    found = [
        (one.start_ms, f"- {row.title}, {when_of(one.start_ms, one.end_ms, row.tz, all_day=row.all_day)}")
        for row in ctx.hub.execute(select(events).where(mine).limit(1000)).all()
        for one in instances(times_of(row), from_ms=from_ms, until_ms=until_ms)
    ]
    return "\n".join(line for _, line in sorted(found)[:LINES_MAX])
