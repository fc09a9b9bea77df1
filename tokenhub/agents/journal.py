"""The journal of a run: one row a step, written before and after it happens.

A model's reply is written down before it is acted on. A command is written down before it runs, and runs under the key
of its row: whoever finds the row open runs it again, and gets the answer of the first time.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Update,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from tokenhub.agents.tables import agent_steps
from tokenhub.agents.types import Action, Step

BOOKED_MS = 30_000
_EMPTY: dict[str, Any] = {
    "state": "open",
    "arguments": "",
    "same": "",
    "call_id": "",
    "answer": "",
    "body": "",
    "attempts": 1,
    "request_id": "",
    "tokens": 0,
    "held_tokens": 0,
    "audit_id": "",
    "gate_id": "",
}


def steps_of(connection: Connection, run_id: str) -> list[Step]:
    """Every step, in order."""
    return [_step(row) for row in connection.execute(_STEPS, {"run_": run_id})]


def open_model(
    connection: Connection, run_id: str, seq: int, *, model: str, body: str, held_tokens: int, at_ms: int
) -> Step:
    """A call to a model is about to be made; `held_tokens` bounds what it can use."""
    return _insert(
        connection,
        run_id=run_id,
        seq=seq,
        kind="model",
        name=model,
        body=body,
        held_tokens=held_tokens,
        started_at_ms=at_ms,
    )


def open_command(connection: Connection, run_id: str, seq: int, action: Action, *, at_ms: int) -> Step:
    """A command is about to be run."""
    return _insert(
        connection,
        run_id=run_id,
        seq=seq,
        kind="command",
        name=action.name,
        arguments=action.arguments,
        same=sameness(action),
        call_id=action.call_id,
        started_at_ms=at_ms,
    )


def set_aside(connection: Connection, step: Step, *, counted: bool) -> None:
    """A call to a model broke off and will be made again; `counted`: it may have been billed, so its bound stays held."""
    connection.execute(
        update(agent_steps)
        .where(_here(step.run_id, step.seq))
        .values(state="waiting", **_more(step, counted))
    )


def ask_again(connection: Connection, step: Step, *, counted: bool) -> Step:
    """The same call once more."""
    more = _more(step, counted)
    connection.execute(update(agent_steps).where(_here(step.run_id, step.seq)).values(state="open", **more))
    return replace(step, state="open", **more)


def _more(step: Step, counted: bool) -> dict[str, int]:
    if not counted:
        return {}
    bound = step.held_tokens // step.attempts
    return {"attempts": step.attempts + 1, "held_tokens": step.held_tokens + bound}


def drop(connection: Connection, run_id: str, seq: int) -> None:
    """A call that was refused before anything was made leaves no step."""
    connection.execute(delete(agent_steps).where(_here(run_id, seq)))


def close(
    connection: Connection,
    run_id: str,
    seq: int,
    *,
    answer: Mapping[str, Any],
    at_ms: int,
    state: str = "done",
    request_id: str = "",
    tokens: int = 0,
    held_tokens: int = 0,
    audit_id: str = "",
    gate_id: str = "",
) -> None:
    """What came of a step."""
    values: dict[str, Any] = {
        "answer": json.dumps(answer, ensure_ascii=False),
        "state": state,
        "tokens": tokens,
        "held_tokens": held_tokens,
        "body": "",
        "audit_id": audit_id,
        "gate_id": gate_id,
        "ended_at_ms": at_ms,
    }
    if request_id:
        values["request_id"] = request_id
    statement = _closing(tuple(sorted(values)))
    connection.execute(
        statement, {"run_": run_id, "seq_": seq, **{f"{name}_": values[name] for name in values}}
    )


def sameness(action: Action) -> str:
    """Equal for equal commands with equal arguments, however they are written."""
    try:
        arguments: object = json.loads(action.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = action.arguments
    text = json.dumps([action.name, arguments], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def spent(connection: Connection, run_ids: Sequence[str], *, at_ms: int) -> tuple[int, int]:
    """Tokens of all replies of these runs, and what is held: for open calls, and for a while for those that broke off.

    A gateway that died books what it delivered within `BOOKED_MS`; until then the broken call counts with its bound.
    """
    row = connection.execute(_SPENT, {"runs_": list(run_ids), "since_": at_ms - BOOKED_MS}).one()
    return int(row[0]), int(row[1])


def calls_of(connection: Connection, run_ids: Sequence[str]) -> list[tuple[str, int, int]]:
    """(request id, tokens, attempts) of every model call of these runs."""
    query = select(agent_steps.c.request_id, agent_steps.c.tokens, agent_steps.c.attempts)
    mine = agent_steps.c.run_id.in_(run_ids) & (agent_steps.c.kind == "model")
    return [(row[0], row[1], row[2]) for row in connection.execute(query.where(mine))]


def counts(connection: Connection, run_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Steps and tokens by run."""
    query = (
        select(agent_steps.c.run_id, func.count(), func.coalesce(func.sum(agent_steps.c.tokens), 0))
        .where(agent_steps.c.run_id.in_(run_ids))
        .group_by(agent_steps.c.run_id)
    )
    return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}


def _insert(connection: Connection, **values: Any) -> Step:
    row: dict[str, Any] = {**_EMPTY, "ended_at_ms": None, **values}
    connection.execute(_INSERT, row)
    fields: dict[str, Any] = {**row, "answer": None}
    return Step(**fields)


@cache
def _closing(names: tuple[str, ...]) -> Update:
    """Built once: what a statement costs here is mostly its making."""
    here = (agent_steps.c.run_id == bindparam("run_")) & (agent_steps.c.seq == bindparam("seq_"))
    return update(agent_steps).where(here).values({name: bindparam(f"{name}_") for name in names})


def _spent() -> Select[Any, Any]:
    held = or_(agent_steps.c.state.in_(("open", "waiting")), agent_steps.c.ended_at_ms > bindparam("since_"))
    return select(
        func.coalesce(func.sum(agent_steps.c.tokens), 0),
        func.coalesce(func.sum(case((held, agent_steps.c.held_tokens), else_=0)), 0),
    ).where(agent_steps.c.run_id.in_(bindparam("runs_", expanding=True)))


_INSERT = insert(agent_steps)
_STEPS = select(agent_steps).where(agent_steps.c.run_id == bindparam("run_")).order_by(agent_steps.c.seq)
_SPENT = _spent()


def _here(run_id: str, seq: int) -> Any:
    return (agent_steps.c.run_id == run_id) & (agent_steps.c.seq == seq)


def _step(row: Row[Any]) -> Step:
    fields = {name: getattr(row, name) for name in Step.__slots__}
    fields["answer"] = json.loads(row.answer) if row.answer else None
    return Step(**fields)
