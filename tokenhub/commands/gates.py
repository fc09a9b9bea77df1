"""Questions to a person: a command that waits for a yes, and what became of it.

A gate is bound to who asked, the command, the whole arguments and the things that names in them meant; the yes is used
up by the first run of exactly that.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, or_, select, update

from tokenhub.commands.tables import gates
from tokenhub.db.alone import one_at_a_time
from tokenhub.identity import grants
from tokenhub.identity.grants import Grant
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, NotFound, PermissionDenied
from tokenhub.kernel.ids import new_id

TTL_MS = 7 * 24 * 60 * 60 * 1000
OPEN_MAX = 10
"""Most open questions of one run with all that it lent on, or of one caller who is no agent."""
State = Literal["open", "approved", "denied", "used"]


class GateNotFound(NotFound):
    """No such question, or none that the caller may see."""

    code = "gate_not_found"


class TooManyQuestions(PermissionDenied):
    """So many questions of this run wait already that a person could not read them; nothing more is asked."""

    code = "too_many_questions"


@dataclass(frozen=True, slots=True)
class Gate:
    """One question."""

    id: str
    org_id: str
    actor: str
    user_id: str | None
    grant_id: str | None
    command: str
    arguments: dict[str, Any]
    reasons: tuple[str, ...]
    state: State
    decided_by: str | None
    comment: str
    created_at_ms: int
    expires_at_ms: int


def lookup(
    connection: Connection, principal: Principal, *, command: str, body_hash: str, at_ms: int
) -> Gate | None:
    """The newest question about exactly this that is not used up or expired."""
    asked = {"actor_": principal.actor, "org_": principal.org_id, "grant_": principal.grant_id}
    asked |= {"command_": command, "body_": body_hash, "at_": at_ms}
    row = connection.execute(_LOOKUP[principal.grant_id is not None], asked).one_or_none()
    return None if row is None else _gate(row)


def ask(
    connection: Connection,
    principal: Principal,
    *,
    command: str,
    arguments: Mapping[str, Any],
    body_hash: str,
    reasons: Sequence[str],
    lent: Sequence[Grant],
    at_ms: int,
) -> str:
    """A question to a person, new or open already; returns its id. `arguments` without secrets.

    Raises: TooManyQuestions if `OPEN_MAX` wait already.
    """
    askers = [principal.org_id, principal.actor, *(grant.id for grant in grants.memory(lent)[-1:])]
    one_at_a_time(connection, "gates", *askers)
    before = lookup(connection, principal, command=command, body_hash=body_hash, at_ms=at_ms)
    if before is not None:
        return before.id
    mine = gates.c.actor == principal.actor
    mine &= gates.c.grant_id.in_(grants.sharing(lent)) if lent else gates.c.grant_id.is_(None)
    waiting = select(func.count()).select_from(gates)
    waiting = waiting.where(gates.c.org_id == principal.org_id, mine, gates.c.state == "open")
    if connection.execute(waiting.where(gates.c.expires_at_ms > at_ms)).scalar_one() >= OPEN_MAX:
        raise TooManyQuestions(
            f"{OPEN_MAX} questions wait for a person already; nothing more is asked until one is answered.",
            hint="See them with `hub gate list`.",
        )
    gate_id = new_id("gate")
    connection.execute(
        insert(gates).values(
            id=gate_id,
            org_id=principal.org_id,
            actor=principal.actor,
            user_id=principal.user_id,
            grant_id=principal.grant_id,
            command=command,
            arguments=json.dumps(arguments, ensure_ascii=False, sort_keys=True),
            body_hash=body_hash,
            reasons=json.dumps(list(reasons)),
            state="open",
            comment="",
            created_at_ms=at_ms,
            expires_at_ms=at_ms + TTL_MS,
        )
    )
    return gate_id


def use(connection: Connection, gate_id: str, *, at_ms: int) -> bool:
    """Use a yes up; False if it is none, or was used."""
    yes = (gates.c.id == gate_id) & (gates.c.state == "approved") & (gates.c.expires_at_ms > at_ms)
    return bool(connection.execute(update(gates).where(yes).values(state="used", used_at_ms=at_ms)).rowcount)


def decide(
    connection: Connection, gate: Gate, principal: Principal, *, yes: bool, comment: str, at_ms: int
) -> Gate:
    """Answer an open question. Raises: Conflict if it is not open any more."""
    still = (gates.c.id == gate.id) & (gates.c.state == "open") & (gates.c.expires_at_ms > at_ms)
    values: dict[str, Any] = {"state": "approved" if yes else "denied", "decided_by": principal.actor}
    values |= {"comment": comment, "decided_at_ms": at_ms}
    if not connection.execute(update(gates).where(still).values(**values)).rowcount:
        raise Conflict(f"{gate.id} was decided already, or has expired.", code="gate_decided", param="gate")
    return find(connection, principal, gate.id)


def find(connection: Connection, principal: Principal, gate_id: str) -> Gate:
    """One question that the caller may see. Raises: GateNotFound."""
    row = connection.execute(select(gates).where(gates.c.id == gate_id, _visible(principal))).one_or_none()
    if row is None:
        hint = "List them with `hub gate list`."
        raise GateNotFound(f"No question {gate_id!r}.", param="gate", hint=hint)
    return _gate(row)


def asked(connection: Connection, gate: Gate) -> int:
    """How many questions came within the same grant, this one included."""
    same = select(func.count()).select_from(gates).where(gates.c.grant_id == gate.grant_id)
    return int(connection.execute(same).scalar_one())


def is_open(connection: Connection, gate_id: str) -> bool:
    """True for a question that nobody has answered; nobody can before this transaction ends."""
    return connection.execute(_STATE, {"gate_": gate_id}).scalar_one_or_none() == "open"


def listing(
    connection: Connection, principal: Principal, *, state: str, after: str | None, limit: int
) -> list[Gate]:
    """At most `limit + 1` questions that the caller may see, newest first."""
    query = select(gates).where(_visible(principal)).order_by(gates.c.id.desc()).limit(limit + 1)
    if state:
        query = query.where(gates.c.state == state)
    if after is not None:
        query = query.where(gates.c.id < after)
    return [_gate(row) for row in connection.execute(query)]


def _visible(principal: Principal) -> Any:
    mine = gates.c.org_id == principal.org_id
    if principal.grant_id is not None:
        return mine & (gates.c.grant_id == principal.grant_id)
    if principal.allows("admin"):
        return mine
    return mine & or_(gates.c.user_id == (principal.user_id or ""), gates.c.actor == principal.actor)


def _gate(row: Row[Any]) -> Gate:
    return Gate(
        id=row.id,
        org_id=row.org_id,
        actor=row.actor,
        user_id=row.user_id,
        grant_id=row.grant_id,
        command=row.command,
        arguments=json.loads(row.arguments),
        reasons=tuple(json.loads(row.reasons)),
        state=cast(State, row.state),
        decided_by=row.decided_by,
        comment=row.comment,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
    )


def _lookup(*, lent: bool) -> Select[Any]:
    """The newest one of a caller about one body; of an agent, within its grant."""
    same = gates.c.grant_id == bindparam("grant_") if lent else gates.c.grant_id.is_(None)
    query = select(gates).where(
        gates.c.actor == bindparam("actor_"),
        gates.c.command == bindparam("command_"),
        gates.c.body_hash == bindparam("body_"),
        gates.c.org_id == bindparam("org_"),
        same,
        gates.c.state != "used",
        gates.c.expires_at_ms > bindparam("at_"),
    )
    return query.order_by(gates.c.id.desc()).limit(1)


_LOOKUP = {lent: _lookup(lent=lent) for lent in (True, False)}
_STATE = select(gates.c.state).where(gates.c.id == bindparam("gate_")).with_for_update()
