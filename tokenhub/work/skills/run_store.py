"""Statements of script runs."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, insert, select, update

from tokenhub.agents.sandbox import Outcome
from tokenhub.identity.types import Principal
from tokenhub.work.skills.errors import SkillRunNotFound
from tokenhub.work.skills.tables import skill_run_files, skill_runs, skills


class Output(NamedTuple):
    """A file that a script left."""

    path: str
    size_bytes: int


def waiting(connection: Connection, principal: Principal) -> int:
    """How many runs of this person have not ended."""
    mine = (skill_runs.c.user_id == principal.actor) & (skill_runs.c.state == "queued")
    return connection.execute(select(func.count()).select_from(skill_runs).where(mine)).scalar_one()


def create(connection: Connection, values: Mapping[str, Any], inputs: Mapping[str, bytes]) -> None:
    """A run that waits, with what lies in its work folder."""
    empty = {"state": "queued", "stopped": "", "stdout": b"", "stderr": b"", "notes": "[]"}
    connection.execute(insert(skill_runs).values(**empty, **values))
    for path, data in inputs.items():
        row = {"run_id": values["id"], "kind": "in", "path": path, "data": data}
        connection.execute(insert(skill_run_files).values(**row))


def find(connection: Connection, principal: Principal, run_id: str) -> Row[Any]:
    """A run of the caller, with the skill's `name`. Raises: SkillRunNotFound."""
    mine = (skill_runs.c.user_id == principal.actor) & (skill_runs.c.org_id == principal.org_id)
    query = _runs().where(mine, skill_runs.c.id == run_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise SkillRunNotFound(f"No run {run_id!r} of yours.", param="run")
    return row


def take(connection: Connection, run_id: str) -> Row[Any] | None:
    """A run that waits, with what the skill is now; None if it has ended."""
    query = _runs().where(skill_runs.c.id == run_id, skill_runs.c.state == "queued")
    return connection.execute(query).one_or_none()


def inputs(connection: Connection, run_id: str) -> dict[str, bytes]:
    """What lies in its work folder when it starts."""
    query = select(skill_run_files.c.path, skill_run_files.c.data).where(
        skill_run_files.c.run_id == run_id, skill_run_files.c.kind == "in"
    )
    return {row.path: bytes(row.data) for row in connection.execute(query)}


def outputs(connection: Connection, run_id: str) -> list[Output]:
    """What it left, by path."""
    query = (
        select(skill_run_files.c.path, func.length(skill_run_files.c.data))
        .where(skill_run_files.c.run_id == run_id, skill_run_files.c.kind == "out")
        .order_by(skill_run_files.c.path)
    )
    return [Output(*row) for row in connection.execute(query)]


def output(connection: Connection, run_id: str, path: str) -> bytes:
    """One file that it left. Raises: SkillRunNotFound."""
    query = select(skill_run_files.c.data).where(
        skill_run_files.c.run_id == run_id, skill_run_files.c.kind == "out", skill_run_files.c.path == path
    )
    data = connection.execute(query).scalar_one_or_none()
    if data is None:
        raise SkillRunNotFound(f"The run left no file {path!r}.", param="file")
    return bytes(data)


def end(connection: Connection, run_id: str, state: str, *, why: str, at_ms: int) -> bool:
    """End a run that has no outcome; False if it had ended already."""
    return _end(connection, run_id, {"state": state, "stopped": why, "ended_at_ms": at_ms})


def finish(connection: Connection, run_id: str, outcome: Outcome, *, at_ms: int) -> bool:
    """Keep what came of it; False (and nothing kept) if it had ended already."""
    values = {
        "state": "done",
        "exit_code": outcome.exit_code,
        "stopped": outcome.stopped,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "notes": json.dumps(outcome.notes),
        "took_ms": outcome.took_ms,
        "ended_at_ms": at_ms,
    }
    if not _end(connection, run_id, values):
        return False
    for path, data in outcome.files.items():
        connection.execute(insert(skill_run_files).values(run_id=run_id, kind="out", path=path, data=data))
    return True


def _end(connection: Connection, run_id: str, values: dict[str, Any]) -> bool:
    waits = (skill_runs.c.id == run_id) & (skill_runs.c.state == "queued")
    return connection.execute(update(skill_runs).where(waits).values(**values)).rowcount == 1


def _runs() -> Any:
    return select(
        skill_runs,
        skills.c.name,
        skills.c.state.label("skill_state"),
        skills.c.decided_digest,
        skills.c.removed_at_ms,
    ).join(skills, skills.c.id == skill_runs.c.skill_id)
