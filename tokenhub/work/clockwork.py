"""What the workspace does by itself when its time comes: reminders of events and reports, steps past their deadline.

Run by the worker every few seconds. Each thing is one transaction that checks and changes together, so a worker that is
killed at any instant leaves it done or not begun, and two workers never do it twice. What changes who may do something
goes through the door, as the hub's own clock, and stands in the audit trail.
"""

from typing import Any

import structlog
from sqlalchemy import Connection, Row, Select, delete, select, update

from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.registry import Registry
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import Clock, SystemClock
from tokenhub.work import report_periods
from tokenhub.work.calendar_tables import event_people, events, reminders, report_due, report_forms
from tokenhub.work.event_store import next_reminder, times_of, when_of
from tokenhub.work.recurrence import instances
from tokenhub.work.request_routes import ESCALATIONS_MAX
from tokenhub.work.tables import request_steps, requests
from tokenhub.work.telling import HUB, tell

log = structlog.get_logger()
BATCH_MAX = 200
STALE_MS = 24 * 3_600_000
"""A reminder that is this late (the hub stood still) is not given any more."""
REFUSED_MS = 3_600_000
"""A deadline whose command an organisation's policies refuse is tried again after this long."""


class Clockwork:
    """One round at a time; safe to run in several processes."""

    def __init__(
        self, database: Database, settings: Settings, registry: Registry, *, clock: Clock | None = None
    ) -> None:
        self._database, self._settings, self._registry = database, settings, registry
        self._clock = clock or SystemClock()
        self._refused: dict[str, int] = {}

    def run(self) -> None:
        """Do everything whose time has come."""
        now = self._clock.now_ms()
        with self._database.read("hub") as connection:
            due = list(connection.execute(_due_reminders(now)).scalars())
            late = [(row.id, row.org_id) for row in connection.execute(_late_requests(now))]
            forms = list(connection.execute(_due_reports(now)).scalars())
        for event_id in due:
            with self._database.write("hub") as connection:
                self._remind(connection, event_id, now)
        for request_id, org_id in late:
            self._escalate(request_id, org_id, now)
        for form_id in forms:
            with self._database.write("hub") as connection:
                self._ask_for_reports(connection, form_id, now)

    def _remind(self, connection: Connection, event_id: str, now: int) -> None:
        mine = (reminders.c.event_id == event_id) & (reminders.c.due_at_ms <= now)
        taken = connection.execute(delete(reminders).where(mine).returning(reminders)).one_or_none()
        row = connection.execute(select(events).where(events.c.id == event_id)).one_or_none()
        if taken is None or row is None or row.state == "cancelled" or row.remind_min is None:
            return
        start = taken.start_at_ms
        one = next(iter(instances(times_of(row), from_ms=start, until_ms=start + 1)), None)
        if one is not None and one.start_ms == start and now - taken.due_at_ms < STALE_MS:
            words = f"{row.title}, {when_of(one.start_ms, one.end_ms, row.tz, all_day=row.all_day)}"
            self._tell(connection, row.org_id, _comers(connection, row), "reminder", event_id, words, now)
        following = next_reminder(row, after_ms=now)
        if following is not None:
            connection.execute(reminders.insert().values(event_id=event_id, **following))

    def _escalate(self, request_id: str, org_id: str, now: int) -> None:
        if self._refused.get(request_id, 0) > now:
            return
        runtime = Runtime(self._database, self._settings, self._clock)
        answer = execute(
            self._registry, runtime, clock_of(org_id), "request.escalate", {"request": request_id}
        )
        if answer.error is not None and answer.error.code == "not_late":
            return  # another worker, or a person, was faster
        if not answer.ok:
            self._refused[request_id] = now + REFUSED_MS
            problem = answer.error.message if answer.error is not None else answer.status
            log.warning("deadline_not_passed_on", request=request_id, error=problem)

    def _ask_for_reports(self, connection: Connection, form_id: str, now: int) -> None:
        mine = (report_due.c.form_id == form_id) & (report_due.c.due_at_ms <= now)
        taken = connection.execute(select(report_due).where(mine).with_for_update()).one_or_none()
        form = connection.execute(select(report_forms).where(report_forms.c.id == form_id)).one_or_none()
        if taken is None or form is None or form.closed_at_ms is not None:
            connection.execute(delete(report_due).where(mine))
            return
        following = report_periods.next_due(form, after_ms=now)
        connection.execute(update(report_due).where(mine).values(**following))
        if now - taken.due_at_ms < STALE_MS:
            missing = report_periods.missing(connection, form, taken.period)
            words = f"{form.name} for {taken.period} is due: `hub report draft {form.name}`"
            self._tell(connection, form.org_id, missing, "report_due", form_id, words, now)

    def _tell(
        self,
        connection: Connection,
        org_id: str,
        people: list[str],
        kind: str,
        subject: str,
        text: str,
        now: int,
    ) -> None:
        wait_ms = round(self._settings.outbox_wait_s * 1000) if kind != "reminder" else 0
        tell(
            connection,
            people,
            org_id=org_id,
            actor_id=HUB,
            kind=kind,
            subject=subject,
            text=text,
            at_ms=now,
            wait_ms=wait_ms,
        )


def clock_of(org_id: str) -> Principal:
    """The hub's own clock as a caller: it has no key, so nobody else can be it."""
    return Principal(
        key_id=HUB,
        org_id=org_id,
        team_id=None,
        project_id=None,
        user_id=None,
        service_account_id=None,
        scopes=frozenset({"read", "work"}),
        models=None,
        expires_at_ms=None,
        app="clock",
        parent_key_id=None,
    )


def _due_reminders(now: int) -> Select[Any]:
    query = select(reminders.c.event_id).where(reminders.c.due_at_ms <= now)
    return query.order_by(reminders.c.due_at_ms).limit(BATCH_MAX)


def _late_requests(now: int) -> Select[Any, Any]:
    late = (request_steps.c.state == "open") & (request_steps.c.deadline_at_ms < now)
    due = late & (request_steps.c.escalations < ESCALATIONS_MAX)
    ids = select(request_steps.c.request_id).where(due)
    return (
        select(requests.c.id, requests.c.org_id)
        .where(requests.c.id.in_(ids), requests.c.state == "open")
        .limit(BATCH_MAX)
    )


def _due_reports(now: int) -> Select[Any]:
    return select(report_due.c.form_id).where(report_due.c.due_at_ms <= now).limit(BATCH_MAX)


def _comers(connection: Connection, row: Row[Any]) -> list[str]:
    """The owner and those who did not decline."""
    mine = (event_people.c.event_id == row.id) & (event_people.c.answer != "declined")
    found = connection.execute(select(event_people.c.user_id).where(mine)).scalars().all()
    return [row.owner_id, *found]
