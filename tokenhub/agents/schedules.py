"""Runs that begin by themselves: by the clock, or after a command of somebody.

Each firing is one transaction: the schedule moves on and its run is there, or neither.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import structlog
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from tokenhub.agents.begin import Spec, begin
from tokenhub.agents.cron import parse_cron
from tokenhub.agents.tables import agent_runs, agent_schedules
from tokenhub.agents.types import Bounds
from tokenhub.commands.kinds import singular
from tokenhub.commands.resources import resolve
from tokenhub.identity.keys import principal_of
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import HubError, NotFound
from tokenhub.kernel.ids import new_id

log = structlog.get_logger()
EVENT_CHARACTERS_MAX = 4000
SHOWN_WHOLE = frozenset(("task", "doc", "file", "channel", "message", "event", "request"))
"""Kinds of which whoever sees the thing may know what was done to it."""
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class ScheduleNotFound(NotFound):
    """No such schedule, or none that the caller may see."""

    code = "schedule_not_found"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to begin which run."""

    id: str
    org_id: str
    user_id: str
    agent_id: str
    key_id: str
    cron: str
    time_zone: str
    event: str
    request: str
    scope: dict[str, Any]
    """commands, effects, rules, model, mind, tokens, steps."""
    next_at_ms: int | None
    paused: str
    fired: int
    last_run_id: str
    created_at_ms: int


def add(connection: Connection, values: Mapping[str, Any]) -> str:
    """A new schedule; returns its id."""
    schedule_id = new_id("schedule")
    connection.execute(
        insert(agent_schedules).values(
            **{**values, "scope": json.dumps(values["scope"])},
            id=schedule_id,
            paused="",
            fired=0,
            last_run_id="",
        )
    )
    return schedule_id


def find(connection: Connection, principal: Principal, schedule_id: str) -> Schedule:
    """One that the caller may see. Raises: ScheduleNotFound."""
    query = select(agent_schedules).where(agent_schedules.c.id == schedule_id, _visible(principal))
    row = connection.execute(query).one_or_none()
    if row is None:
        hint = "List them with `hub schedule list`."
        raise ScheduleNotFound(f"No schedule {schedule_id!r}.", param="schedule", hint=hint)
    return _schedule(row)


def listing(connection: Connection, principal: Principal, *, after: str | None, limit: int) -> list[Schedule]:
    """At most `limit + 1`, newest first: the caller's, an administrator's organisation's."""
    query = select(agent_schedules).where(_visible(principal)).order_by(agent_schedules.c.id.desc())
    if after is not None:
        query = query.where(agent_schedules.c.id < after)
    return [_schedule(row) for row in connection.execute(query.limit(limit + 1))]


def remove(connection: Connection, schedule_id: str) -> None:
    """Gone; runs that it began stay."""
    connection.execute(delete(agent_schedules).where(agent_schedules.c.id == schedule_id))


def anything_due(connection: Connection, *, at_ms: int) -> bool:
    """True if `fire_due` would fire one; a read."""
    return connection.execute(_DUE, {"at_": at_ms}).first() is not None


def fire_due(connection: Connection, *, at_ms: int) -> int:
    """Begin what is due by the clock, once however long the hub was down; how many."""
    due = select(agent_schedules).where(agent_schedules.c.next_at_ms <= at_ms).limit(50)
    fired = 0
    for row in connection.execute(due).all():
        schedule = _schedule(row)
        following = parse_cron(schedule.cron, schedule.time_zone).after(at_ms)
        here = (agent_schedules.c.id == schedule.id) & (agent_schedules.c.next_at_ms == schedule.next_at_ms)
        taken = connection.execute(update(agent_schedules).where(here).values(next_at_ms=following)).rowcount
        if taken:
            fired += _fire(connection, schedule, schedule.request, tainted=False, at_ms=at_ms)
    return fired


def followers(connection: Connection, org_id: str) -> list[Schedule]:
    """What begins after commands of this organisation."""
    query = select(agent_schedules).where(
        agent_schedules.c.org_id == org_id, agent_schedules.c.event != "", agent_schedules.c.paused == ""
    )
    return [_schedule(row) for row in connection.execute(query)]


def fire_event(connection: Connection, schedule: Schedule, event: Mapping[str, Any], *, at_ms: int) -> int:
    """Begin what follows this command of somebody, if it does; how many.

    What a run does that itself followed an event is none, so that no two schedules wake each other for ever; nor is
    what the schedule's person may not know.
    """
    if not fnmatchcase(str(event["command"]), schedule.event) or event["at_ms"] < schedule.created_at_ms:
        return 0
    if event["grant_id"] and _followed(connection, str(event["grant_id"])):
        return 0
    if not _may_know(connection, schedule, event, at_ms=at_ms):
        return 0
    what = json.dumps({"command": event["command"], "arguments": json.loads(event["arguments"])})
    request = (
        f"{schedule.request}\n\nThis happened (information that others wrote):\n{what[:EVENT_CHARACTERS_MAX]}"
    )
    return _fire(connection, schedule, request, tainted=True, at_ms=at_ms)


_DUE = select(agent_schedules.c.id).where(agent_schedules.c.next_at_ms <= bindparam("at_")).limit(1)


def _may_know(connection: Connection, schedule: Schedule, event: Mapping[str, Any], *, at_ms: int) -> bool:
    """True if the person did it, sees what it acted on or made, or reads the whole audit trail."""
    try:
        principal = principal_of(connection, schedule.key_id, at_ms=at_ms)
    except HubError:
        return True  # it does not begin either: `_fire` pauses it and says why
    if event["actor"] == principal.actor or principal.allows("admin"):
        return True
    kind, thing = json.loads(event["decision"] or "{}").get("question", {}).get("resource", ("Org", ""))
    things = [(_CAPITAL.sub("-", kind).lower(), thing)]
    if kind == "Org":
        made = [one for one in json.loads(event["changes"] or "[]") if one["before"] is None]
        things = [(singular(one["table"]), str(one["key"].get("id", ""))) for one in made]
    return any(
        kind in SHOWN_WHOLE and resolve(connection, principal, kind, thing).known for kind, thing in things
    )


def _fire(connection: Connection, schedule: Schedule, request: str, *, tainted: bool, at_ms: int) -> int:
    """Begin one run; a schedule whose person may not act any more is paused and says why."""
    scope = schedule.scope
    here = agent_schedules.c.id == schedule.id
    try:
        principal = principal_of(connection, schedule.key_id, at_ms=at_ms)
        spec = Spec(
            request=request,
            model=str(scope["model"]),
            agent=schedule.agent_id,
            commands=scope["commands"],
            effects=scope["effects"],
            rules=scope["rules"],
            mind=scope["mind"],
            bounds=Bounds(tokens=scope["tokens"], steps=scope["steps"]),
            origin=f"schedule:{schedule.id}",
            said=schedule.request,
            tainted=tainted,
        )
        run = begin(connection, principal, spec, at_ms=at_ms)
    except HubError as error:
        log.warning("schedule_paused", schedule_id=schedule.id, reason=error.message)
        connection.execute(update(agent_schedules).where(here).values(paused=error.message, next_at_ms=None))
        return 0
    fired = {"fired": agent_schedules.c.fired + 1, "last_run_id": run.id}
    connection.execute(update(agent_schedules).where(here).values(**fired))
    return 1


def _followed(connection: Connection, run_id: str) -> bool:
    """True if this run, or the first one above it, began after an event."""
    line = select(agent_runs.c.root_id).where(agent_runs.c.id == run_id).scalar_subquery()
    query = select(agent_runs.c.origin).where(agent_runs.c.id == line)
    origin = str(connection.execute(query).scalar_one_or_none() or "")
    followed = (agent_schedules.c.id == origin.removeprefix("schedule:")) & (agent_schedules.c.event != "")
    return connection.execute(select(agent_schedules.c.id).where(followed)).first() is not None


def _visible(principal: Principal) -> Any:
    mine = agent_schedules.c.org_id == principal.org_id
    if principal.administers:
        return mine
    return mine & (agent_schedules.c.user_id == (principal.user_id or ""))


def _schedule(row: Row[Any]) -> Schedule:
    fields = {name: getattr(row, name) for name in Schedule.__slots__}
    return Schedule(**{**fields, "scope": json.loads(row.scope)})
