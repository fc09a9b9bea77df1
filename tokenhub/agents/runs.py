"""Statements on runs: begin, find, wake, claim, park, end.

Whoever advances a run names the segment that it claimed; once the run was woken anew or given to another worker, a
late writer changes nothing.
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    insert,
    or_,
    select,
    update,
)

from tokenhub.agents.tables import agent_cursors, agent_runs
from tokenhub.agents.types import ENDED, Run
from tokenhub.db.upsert import insert_for
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import NotFound

LEASE_MS = 60_000
"""A running stretch whose worker was silent for this long is given to another one."""
CRASHES_MAX = 3
CRASH_PAUSE_MS = 2000


class RunNotFound(NotFound):
    """No such run, or none that the caller may see."""

    code = "run_not_found"


class Superseded(Exception):
    """This stretch of the run is not the newest any more; whoever works on it leaves."""


def insert_run(connection: Connection, values: dict[str, Any]) -> None:
    """A run that is ready to begin."""
    row: dict[str, Any] = {
        "state": "queued",
        "waits_for": "",
        "wake_at_ms": None,
        "segment": 1,
        "worker": "",
        "lease_until_ms": 0,
        "failures": 0,
        "worked_ms": 0,
        "since_ms": 0,
        "code": "",
        "answer": "",
        **values,
    }
    row |= {name: json.dumps(list(row[name]), ensure_ascii=False) for name in ("rules", "tools")}
    connection.execute(insert(agent_runs).values(**row))


def load_run(connection: Connection, run_id: str) -> Run | None:
    """One run, whoever asks."""
    row = connection.execute(_LOAD, {"run_": run_id}).one_or_none()
    return None if row is None else _run(row)


def find_run(connection: Connection, principal: Principal, run_id: str) -> Run:
    """One run that the caller may see. Raises: RunNotFound."""
    row = connection.execute(
        select(agent_runs).where(agent_runs.c.id == run_id, _visible(principal))
    ).one_or_none()
    if row is None:
        raise RunNotFound(f"No run {run_id!r}.", param="run", hint="List them with `hub agent runs`.")
    return _run(row)


def list_runs(
    connection: Connection,
    principal: Principal,
    *,
    state: str = "",
    after: str | None = None,
    limit: int = 50,
) -> list[Run]:
    """At most `limit + 1` runs, newest first: the caller's, an administrator's organisation's."""
    query = select(agent_runs).where(_visible(principal)).order_by(agent_runs.c.id.desc()).limit(limit + 1)
    if state:
        query = query.where(agent_runs.c.state == state)
    if after is not None:
        query = query.where(agent_runs.c.id < after)
    return [_run(row) for row in connection.execute(query)]


def line_of(connection: Connection, root_id: str) -> list[str]:
    """Ids of a first run and everything below it."""
    return list(
        connection.execute(
            select(agent_runs.c.id).where(agent_runs.c.root_id == root_id).order_by(agent_runs.c.id)
        ).scalars()
    )


def below(connection: Connection, run_id: str) -> list[str]:
    """Ids of a run and of those that it started, they too; in the order in which they began."""
    return sorted(connection.execute(_BELOW, {"run_": run_id}).scalars())


def lock_root(connection: Connection, run: Run) -> None:
    """Hold the line's first row, so that one call at a time is measured against the budget."""
    connection.execute(_LOCK, {"run_": run.root_id})


def claim(connection: Connection, run_id: str, segment: int, *, worker: str, at_ms: int) -> Run | None:
    """Begin a stretch, or take up one that this worker began in a former life; None if it is not the newest."""
    mine = {"run_": run_id, "of_segment": segment, "worker_": worker}
    row = connection.execute(_CLAIM, {**mine, "at_": at_ms, "lease_": at_ms + LEASE_MS}).one_or_none()
    return None if row is None else _run(row)


def extend(connection: Connection, run: Run, *, at_ms: int, lease_ms: int = LEASE_MS) -> None:
    """Still at it. Raises: Superseded."""
    _change(connection, run, {"lease_until_ms": at_ms + lease_ms})


def pin(connection: Connection, run: Run, tools: Sequence[str]) -> None:
    """Remember which commands the model is shown. Raises: Superseded."""
    _change(connection, run, {"tools": json.dumps(list(tools))})


def count_failure(connection: Connection, run: Run, failures: int) -> None:
    """How often in a row the model could not be reached. Raises: Superseded."""
    _change(connection, run, {"failures": failures})


def park(connection: Connection, run: Run, *, waits_for: str, wake_at_ms: int | None, at_ms: int) -> None:
    """Wait without a thread, for something or until an instant. Raises: Superseded."""
    _leave(connection, run, {"state": "waiting", "waits_for": waits_for, "wake_at_ms": wake_at_ms}, at_ms)


def halt(connection: Connection, run: Run, *, code: str, why: str, at_ms: int) -> None:
    """Stop until a person lets it go on. Raises: Superseded."""
    _leave(connection, run, {"state": "stopped", "waits_for": "", "code": code, "answer": why}, at_ms)


def release(connection: Connection, run: Run, *, at_ms: int) -> None:
    """Back into the queue: this worker stops. Raises: Superseded."""
    _leave(connection, run, {"state": "queued", "segment": run.segment + 1}, at_ms)


def end(connection: Connection, run: Run, *, state: str, code: str, answer: str, at_ms: int) -> None:
    """The run is over; a parent that waits for it goes on. Raises: Superseded."""
    values = {"state": state, "code": code, "answer": answer, "waits_for": "", "ended_at_ms": at_ms}
    _leave(connection, run, values, at_ms)
    wake(connection, [run.id])


def crashed(connection: Connection, run: Run, *, at_ms: int) -> None:
    """The hub failed at this stretch: once more a little later, and not for ever."""
    if run.failures >= CRASHES_MAX:
        why = "The hub failed at this run; its log has the reason."
        end(connection, run, state="failed", code="internal_error", answer=why, at_ms=at_ms)
        return
    count_failure(connection, run, run.failures + 1)
    park(connection, run, waits_for="time", wake_at_ms=at_ms + CRASH_PAUSE_MS, at_ms=at_ms)


def goes_on(connection: Connection, run_id: str) -> bool:
    """True for a run that has not ended; it cannot end before this transaction does."""
    state = connection.execute(_STATE, {"run_": run_id}).scalar_one_or_none()
    return state is not None and state not in ENDED


def line_ended(connection: Connection, root_id: str) -> bool:
    """True if a first run and everything below it have ended."""
    return connection.execute(_GOING_ON, {"root_": root_id}).first() is None


def wake(connection: Connection, subjects: Sequence[str]) -> int:
    """Runs that wait for one of these go on; how many."""
    return sum(connection.execute(_WAKE, {"subject_": subject}).rowcount for subject in subjects)


def wake_due(connection: Connection, *, at_ms: int) -> int:
    """Runs whose instant has come, and those that a dead worker left, go on; how many."""
    due = and_(agent_runs.c.state == "waiting", agent_runs.c.wake_at_ms <= at_ms)
    left = and_(agent_runs.c.state == "running", agent_runs.c.lease_until_ms < at_ms)
    return _requeue(connection, or_(due, left))


def wake_stopped(connection: Connection, org_id: str, subject: str, *, states: Sequence[str]) -> int:
    """Runs of an agent (or of all, or one run) look again whether they may act; how many."""
    mine = and_(agent_runs.c.org_id == org_id, agent_runs.c.state.in_(states))
    if subject != "agents":
        mine &= or_(
            agent_runs.c.id == subject, agent_runs.c.agent_id == subject, agent_runs.c.user_id == subject
        )
    return _requeue(connection, mine)


def anything_due(connection: Connection, *, at_ms: int) -> bool:
    """True if `wake_due` would wake one; a read, so that polling takes no write lock."""
    return connection.execute(_DUE, {"at_": at_ms}).first() is not None


def set_back(connection: Connection, run_id: str, segment: int) -> None:
    """A stretch that was begun and left nothing: another one instead."""
    _requeue(
        connection,
        and_(agent_runs.c.id == run_id, agent_runs.c.segment == segment, agent_runs.c.state == "queued"),
    )


def ready(connection: Connection, *, limit: int) -> list[tuple[str, int]]:
    """Stretches that wait for a worker, (run, segment), oldest run first."""
    return [(row[0], row[1]) for row in connection.execute(_READY, {"most_": limit})]


def unfinished(connection: Connection) -> bool:
    """True if a worker has anything to take up."""
    return connection.execute(_BUSY).first() is not None


def cursor(connection: Connection, org_id: str) -> int | None:
    """The last audit row of the organisation that was looked at; None = none yet."""
    query = select(agent_cursors.c.seq).where(agent_cursors.c.org_id == org_id)
    return connection.execute(query).scalar_one_or_none()


def move_cursor(connection: Connection, org_id: str, before: int | None, seq: int) -> bool:
    """Move it on; False if somebody else did."""
    if before is None:
        added = insert_for(connection, agent_cursors).values(org_id=org_id, seq=seq).on_conflict_do_nothing()
        return connection.execute(added.returning(agent_cursors.c.seq)).first() is not None
    here = (agent_cursors.c.org_id == org_id) & (agent_cursors.c.seq == before)
    return connection.execute(update(agent_cursors).where(here).values(seq=seq)).rowcount == 1


def _requeue(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(_requeuing(which)).rowcount


def _requeuing(which: ColumnElement[bool]) -> Update:
    values: dict[str, Any] = {"state": "queued", "waits_for": "", "wake_at_ms": None}
    values["segment"] = agent_runs.c.segment + 1
    return update(agent_runs).where(which).values(**values)


def _leave(connection: Connection, run: Run, values: dict[str, Any], at_ms: int) -> None:
    worked = run.worked_ms + max(at_ms - run.since_ms, 0)
    _change(connection, run, {"worked_ms": worked, "lease_until_ms": 0, **values})


def _change(connection: Connection, run: Run, values: dict[str, Any]) -> None:
    mine = {"run_": run.id, "of_segment": run.segment}
    statement = _changing(tuple(sorted(values)))
    if connection.execute(statement, {**mine, **{f"{name}_": values[name] for name in values}}).rowcount != 1:
        raise Superseded


@cache
def _changing(names: tuple[str, ...]) -> Update:
    """Built once: what a statement costs here is mostly its making."""
    mine = and_(
        agent_runs.c.id == bindparam("run_"),
        agent_runs.c.segment == bindparam("of_segment"),
        agent_runs.c.state == "running",
    )
    return update(agent_runs).where(mine).values({name: bindparam(f"{name}_") for name in names})


def _below() -> Select[str]:
    own = select(agent_runs.c.id).where(agent_runs.c.id == bindparam("run_")).cte("below", recursive=True)
    return select(own.union(select(agent_runs.c.id).where(agent_runs.c.parent_id == own.c.id)).c.id)


def _claiming() -> Any:
    left = and_(agent_runs.c.state == "running", agent_runs.c.worker == bindparam("worker_"))
    mine = and_(
        agent_runs.c.id == bindparam("run_"),
        agent_runs.c.segment == bindparam("of_segment"),
        or_(agent_runs.c.state == "queued", left),
    )
    values: dict[str, Any] = {
        "state": "running",
        "worker": bindparam("worker_"),
        "since_ms": bindparam("at_"),
        "lease_until_ms": bindparam("lease_"),
    }
    return update(agent_runs).where(mine).values(values).returning(agent_runs)


_CLAIM = _claiming()
_WAKE = _requeuing((agent_runs.c.waits_for == bindparam("subject_")) & (agent_runs.c.state == "waiting"))
_STATE = select(agent_runs.c.state).where(agent_runs.c.id == bindparam("run_")).with_for_update()
_GOING_ON = (
    select(agent_runs.c.id)
    .where(agent_runs.c.root_id == bindparam("root_"), agent_runs.c.state.not_in(ENDED))
    .limit(1)
)
_LOAD = select(agent_runs).where(agent_runs.c.id == bindparam("run_"))
_LOCK = select(agent_runs.c.id).where(agent_runs.c.id == bindparam("run_")).with_for_update()
_BELOW = _below()
_DUE = (
    select(agent_runs.c.id)
    .where(
        or_(
            and_(agent_runs.c.state == "waiting", agent_runs.c.wake_at_ms <= bindparam("at_")),
            and_(agent_runs.c.state == "running", agent_runs.c.lease_until_ms < bindparam("at_")),
        )
    )
    .limit(1)
)
_READY = (
    select(agent_runs.c.id, agent_runs.c.segment)
    .where(agent_runs.c.state == "queued")
    .order_by(agent_runs.c.id)
    .limit(bindparam("most_"))
)
_BUSY = select(agent_runs.c.id).where(agent_runs.c.state.in_(("queued", "running"))).limit(1)


def _visible(principal: Principal) -> ColumnElement[bool]:
    mine = agent_runs.c.org_id == principal.org_id
    if principal.grant_id is not None:
        own = or_(agent_runs.c.id == principal.grant_id, agent_runs.c.parent_id == principal.grant_id)
        return mine & own
    if principal.allows("admin"):
        return mine
    return mine & (agent_runs.c.user_id == (principal.user_id or ""))


def _run(row: Row[Any]) -> Run:
    fields = {name: getattr(row, name) for name in Run.__slots__}
    fields |= {name: tuple(json.loads(fields[name])) for name in ("rules", "tools")}
    return Run(**fields)
