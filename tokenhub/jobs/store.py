"""Statements of the durable queue."""

import json
from dataclasses import asdict

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, insert, or_, select, update

from tokenhub.jobs.tables import jobs
from tokenhub.jobs.types import LIVE, PERSONAL, Arguments, Job, Progress, State
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import Conflict, NotFound
from tokenhub.kernel.ids import new_id

LEASE_MS = 15_000
"""A running job whose runner was silent for this long is taken over."""
ATTEMPTS_MAX = 3


def enqueue(connection: Connection, kind: str, *, subject: str, arguments: Arguments) -> Job:
    """Queue one job; returns the one that is already live for this kind and subject, if any."""
    live = jobs.c.state.in_(LIVE) & (jobs.c.kind == kind) & (jobs.c.subject == subject)
    row = connection.execute(select(jobs).where(live)).mappings().first()
    if row is not None:
        return _job(row)
    job_id = new_id("job")
    connection.execute(
        insert(jobs).values(
            id=job_id,
            kind=kind,
            subject=subject,
            arguments=json.dumps(dict(arguments)),
            state="queued",
            progress="{}",
            result="{}",
            error="",
            attempts=0,
            runner="",
            lease_until_ms=0,
            created_at_ms=now_ms(),
        )
    )
    return get_job(connection, job_id)


def get_job(connection: Connection, job_id: str) -> Job:
    """One job. Raises: NotFound."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().first()
    if row is None:
        raise _none(job_id)
    return _job(row)


def get_shared(connection: Connection, job_id: str) -> Job:
    """One job of the hub's own, none of a person's. Raises: NotFound."""
    job = get_job(connection, job_id)
    if job.kind in PERSONAL:
        raise _none(job_id)
    return job


def list_jobs(connection: Connection, *, kind: str = "", limit: int = 50) -> list[Job]:
    """The newest jobs of the hub's own, newest first."""
    query = (
        select(jobs)
        .where(jobs.c.kind.not_in(PERSONAL))
        .order_by(jobs.c.created_at_ms.desc(), jobs.c.id.desc())
        .limit(limit)
    )
    if kind:
        query = query.where(jobs.c.kind == kind)
    return [_job(row) for row in connection.execute(query).mappings()]


def take(connection: Connection, *, kinds: list[str], runner: str) -> Job | None:
    """Claim the oldest job that waits, or that a dead runner left; None if there is none."""
    now = now_ms()
    claimable = and_(
        jobs.c.kind.in_(kinds),
        or_(jobs.c.state == "queued", and_(jobs.c.state == "running", jobs.c.lease_until_ms < now)),
    )
    oldest = select(jobs.c.id).where(claimable).order_by(jobs.c.created_at_ms).limit(1).scalar_subquery()
    return _claim(connection, (jobs.c.id == oldest) & claimable, runner=runner)


def take_one(connection: Connection, job_id: str, *, runner: str) -> Job | None:
    """Claim this job if it waits or its runner is dead; None if somebody runs it."""
    now = now_ms()
    dead = and_(jobs.c.state == "running", jobs.c.lease_until_ms < now)
    return _claim(connection, (jobs.c.id == job_id) & or_(jobs.c.state == "queued", dead), runner=runner)


def anything_waits(connection: Connection, *, kinds: list[str]) -> bool:
    """True if `take` would find a job; a read, so that polling takes no write lock."""
    dead = and_(jobs.c.state == "running", jobs.c.lease_until_ms < now_ms())
    query = select(jobs.c.id).where(jobs.c.kind.in_(kinds), or_(jobs.c.state == "queued", dead)).limit(1)
    return connection.execute(query).first() is not None


def _claim(connection: Connection, which: ColumnElement[bool], *, runner: str) -> Job | None:
    now = now_ms()
    row = (
        connection.execute(
            update(jobs)
            .where(which)
            .values(
                state="running",
                runner=runner,
                attempts=jobs.c.attempts + 1,
                lease_until_ms=now + LEASE_MS,
                started_at_ms=now,
            )
            .returning(jobs)
        )
        .mappings()
        .first()
    )
    return _job(row) if row is not None else None


def heartbeat(connection: Connection, job_id: str, *, runner: str, progress: Progress | None) -> bool:
    """Renew the lease and store progress; False once the job is not this runner's any more (cancelled, taken over)."""
    values: dict[str, object] = {"lease_until_ms": now_ms() + LEASE_MS}
    if progress is not None:
        values["progress"] = json.dumps(asdict(progress))
    mine = (jobs.c.id == job_id) & (jobs.c.runner == runner) & (jobs.c.state == "running")
    return connection.execute(update(jobs).where(mine).values(**values)).rowcount == 1


def finish(
    connection: Connection,
    job_id: str,
    *,
    runner: str,
    state: State,
    result: Arguments | None = None,
    error: str = "",
) -> bool:
    """End a job (or put it back: state `queued`); False if it is not this runner's any more."""
    mine = (jobs.c.id == job_id) & (jobs.c.runner == runner) & (jobs.c.state == "running")
    values: dict[str, object] = {
        "state": state,
        "error": error,
        "result": json.dumps(dict(result or {})),
        "finished_at_ms": None if state == "queued" else now_ms(),
    }
    return connection.execute(update(jobs).where(mine).values(**values)).rowcount == 1


def cancel(connection: Connection, job_id: str) -> Job:
    """Cancel a live job. Raises: NotFound; Conflict if it has ended."""
    values = {"state": "cancelled", "finished_at_ms": now_ms(), "error": "Cancelled."}
    live = (jobs.c.id == job_id) & jobs.c.state.in_(LIVE)
    changed = connection.execute(update(jobs).where(live).values(**values)).rowcount
    job = get_job(connection, job_id)
    if not changed:
        raise Conflict(f"The job {job_id} has ended already ({job.state}).", code="job_ended", param="job")
    return job


def _none(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r}.", code="job_not_found", param="job")


def cancel_live(connection: Connection, kind: str, subject: str) -> None:
    """Cancel the job of this kind and subject, if one waits or runs."""
    values = {"state": "cancelled", "finished_at_ms": now_ms(), "error": "Cancelled."}
    live = (jobs.c.kind == kind) & (jobs.c.subject == subject) & jobs.c.state.in_(LIVE)
    connection.execute(update(jobs).where(live).values(**values))


def _job(row: RowMapping) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        subject=row["subject"],
        arguments=json.loads(row["arguments"]),
        state=row["state"],
        progress=Progress(**json.loads(row["progress"])),
        result=json.loads(row["result"]),
        error=row["error"],
        attempts=row["attempts"],
        created_at_ms=row["created_at_ms"],
        finished_at_ms=row["finished_at_ms"],
    )
