"""Agents, what their person lent them, and how they are stopped.

An agent belongs to a user and acts with a key that names a grant. A grant lists commands, effects and resources, has
an end, may have a budget, and may hang below another one (a run below its agent's grant); what counts is the
intersection of the whole chain, read anew for each command, so that revoking and stopping need no cache to expire.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    Select,
    Update,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from tokenhub.db import revision
from tokenhub.db.upsert import insert_for
from tokenhub.identity.tables import agents, api_keys, grants, stops, users
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, NotFound
from tokenhub.kernel.ids import new_id

DEPTH_MAX = 8
EVERYONE = "agents"
"""The subject of a stop that holds for every agent of an organisation."""


class AgentNotFound(NotFound):
    """No such agent, or none of the caller's."""

    code = "agent_not_found"


class GrantNotFound(NotFound):
    """No such grant, or none that the caller may see."""

    code = "grant_not_found"


@dataclass(frozen=True, slots=True)
class Agent:
    """A program that acts for one person."""

    id: str
    name: str
    user_id: str
    user: str
    stopped: bool
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person lent an agent."""

    id: str
    org_id: str
    agent_id: str
    user_id: str
    parent_id: str | None
    fresh: bool
    """True if a person opened it: whoever acts within it begins without what the grant above has read."""
    commands: tuple[str, ...]
    """Names, and patterns such as `task.*`."""
    effects: frozenset[str]
    resources: frozenset[str] | None
    """Ids that it is bound to; None = every one."""
    vouched: frozenset[str]
    """Values that the person gave themselves; in a tainted run a write may aim only at these."""
    request: str
    """What the person asked for, in their own words; empty if not kept."""
    cost_max: int | None
    cost_used: int
    note: str
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None
    tainted_at_ms: int | None
    narrowed: Mapping[str, tuple[str, ...]]
    """By a skill that it uses -> the commands that are left; each of them must cover a command."""

    def live(self, at_ms: int) -> bool:
        """True while it counts."""
        return self.revoked_at_ms is None and self.expires_at_ms > at_ms

    def covers(self, command: str, effect: str, resource: str) -> bool:
        """True if the command on this resource (empty = the organisation itself) lies within it."""
        if effect not in self.effects or not any(fnmatchcase(command, one) for one in self.commands):
            return False
        if self.narrowed_by(command):
            return False
        return self.resources is None or resource in self.resources

    def narrowed_by(self, command: str) -> str:
        """The skill in use that leaves this command out; empty if none does."""
        for name, patterns in self.narrowed.items():
            if not any(fnmatchcase(command, one) for one in patterns):
                return name
        return ""


def create_agent(connection: Connection, principal: Principal, name: str, *, at_ms: int) -> Agent:
    """A new agent of the caller. Raises: Conflict for a taken name or a caller who is no person."""
    if principal.user_id is None:
        raise Conflict("Only a person has agents; sign in as one.", code="not_a_person")
    taken = select(agents.c.id).where(agents.c.user_id == principal.user_id, agents.c.name == name)
    if connection.execute(taken).first() is not None:
        raise Conflict(f"You have an agent named {name!r} already.", code="name_taken", param="name")
    agent_id = new_id("agent")
    connection.execute(
        insert(agents).values(
            id=agent_id, org_id=principal.org_id, user_id=principal.user_id, name=name, created_at_ms=at_ms
        )
    )
    return find_agent(connection, principal, agent_id)


def list_agents(
    connection: Connection, principal: Principal, *, after: str | None = None, limit: int = 50
) -> list[Agent]:
    """At most `limit + 1` agents, newest first: the caller's, an administrator's organisation's."""
    query = _agents(principal).order_by(agents.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(agents.c.id < after)
    return [_agent(row) for row in connection.execute(query)]


def find_agent(connection: Connection, principal: Principal, named: str) -> Agent:
    """By id or name, among those that the caller may see; one's own come first. Raises: AgentNotFound."""
    query = _agents(principal).where(or_(agents.c.id == named, agents.c.name == named))
    rows = connection.execute(query.order_by(agents.c.user_id != (principal.user_id or ""))).all()
    if not rows:
        raise AgentNotFound(f"No agent {named!r}.", param="agent", hint="List them with `hub agent list`.")
    return _agent(rows[0])


def create_grant(
    connection: Connection,
    agent: Agent,
    values: dict[str, Any],
    *,
    fresh: bool,
    at_ms: int,
    prefix: str = "grant",
) -> Grant:
    """Insert a grant; `values` are the fields of `Grant` that its maker chooses. A run's has the prefix `run`.

    `fresh` only where a person opens it (a new run, with an empty memory): what is read within any other one goes
    back to the grant above, and so does its taint.
    """
    grant_id = new_id(prefix)
    shown = {name: json.dumps(sorted(values[name])) for name in ("commands", "effects", "vouched")}
    resources = values["resources"]
    connection.execute(
        insert(grants).values(
            id=grant_id,
            agent_id=agent.id,
            user_id=agent.user_id,
            fresh=fresh,
            cost_used=0,
            created_at_ms=at_ms,
            **{**values, **shown, "resources": None if resources is None else json.dumps(sorted(resources))},
        )
    )
    return chain(connection, grant_id)[0]


def chain(connection: Connection, grant_id: str) -> list[Grant]:
    """The grant and those it hangs below, the narrowest first; empty if there is none of this id."""
    found: list[Grant] = []
    wanted: str | None = grant_id
    while wanted is not None and len(found) < DEPTH_MAX:
        row = connection.execute(_ONE, {"grant_": wanted}).one_or_none()
        if row is None:
            return []
        found.append(_grant(row))
        wanted = row.parent_id
    return found if wanted is None else []


def list_grants(
    connection: Connection, principal: Principal, *, after: str | None = None, limit: int = 50
) -> list[Grant]:
    """At most `limit + 1` grants, newest first: the caller's, an administrator's organisation's."""
    query = select(grants).where(_mine(principal)).order_by(grants.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(grants.c.id < after)
    return [_grant(row) for row in connection.execute(query)]


def find_grant(connection: Connection, principal: Principal, grant_id: str) -> Grant:
    """One grant that the caller may see. Raises: GrantNotFound."""
    row = connection.execute(select(grants).where(grants.c.id == grant_id, _mine(principal))).one_or_none()
    if row is None:
        raise GrantNotFound(f"No grant {grant_id!r}.", param="grant", hint="List them with `hub grant list`.")
    return _grant(row)


def revoke_grant(connection: Connection, grant: Grant, *, at_ms: int) -> bool:
    """End a grant, all below it by the chain, and their keys; True if it was live."""
    open_ = (grants.c.id == grant.id) & grants.c.revoked_at_ms.is_(None)
    changed = connection.execute(update(grants).where(open_).values(revoked_at_ms=at_ms)).rowcount
    connection.execute(_END_KEYS, {"grant_": grant.id, "at_": at_ms})
    revision.bump_secrets(connection)
    return bool(changed) and grant.live(at_ms)


def charge(connection: Connection, lent: Sequence[Grant], cost: int) -> bool:
    """Take `cost` from every grant of a chain; False (and then roll back) if one has not enough."""
    done = connection.execute(_CHARGE, {"lent_": [grant.id for grant in lent], "cost_": cost})
    return done.rowcount == len(lent)


def taint(connection: Connection, lent: Sequence[Grant], *, at_ms: int) -> None:
    """Note that whoever acts within this chain has read what others wrote.

    It counts for the whole memory: the narrowest grant, and above it up to the one that a person opened. Below, it
    counts anyway: a command asks its whole chain.
    """
    clean = [grant.id for grant in memory(lent) if grant.tainted_at_ms is None]
    if clean:
        connection.execute(update(grants).where(grants.c.id.in_(clean)).values(tainted_at_ms=at_ms))


def memory(lent: Sequence[Grant]) -> list[Grant]:
    """The part of a chain that knows what the narrowest grant knows: up to the first one that a person opened."""
    opened = next((place for place, grant in enumerate(lent) if grant.fresh), len(lent) - 1)
    return list(lent[: opened + 1])


def sharing(lent: Sequence[Grant]) -> Select[tuple[str]]:
    """Ids of all grants that share this chain's memory: the one that a person opened, and what agents made below."""
    mine = select(grants.c.id).where(grants.c.id == memory(lent)[-1].id).cte("sharing", recursive=True)
    below = select(grants.c.id).where(grants.c.parent_id == mine.c.id, grants.c.fresh.is_(False))
    mine = mine.union(below)
    return select(mine.c.id)


def narrow(connection: Connection, lent: Sequence[Grant], by: str, commands: Sequence[str]) -> None:
    """Leave the narrowest grant only these commands (names, patterns) of what it covers; never takes a bound away."""
    if not lent:
        return
    one = grants.c.id == lent[0].id
    text = connection.execute(select(grants.c.narrowed).where(one).with_for_update()).scalar_one()
    there: dict[str, list[str]] = json.loads(text) if text else {}
    for number in range(
        len(there) + 1
    ):  # another version of a skill bounds beside the first, not instead of it
        name = f"{by} ({number + 1})" if number else by
        if there.setdefault(name, list(commands)) == list(commands):
            break
    connection.execute(update(grants).where(one).values(narrowed=json.dumps(there)))


def stop(connection: Connection, org_id: str, subject: str, *, actor: str, reason: str, at_ms: int) -> bool:
    """Stop an agent (or all): their next command is refused; True if they were not stopped before."""
    values = {"org_id": org_id, "subject": subject, "actor": actor, "reason": reason, "at_ms": at_ms}
    added = insert_for(connection, stops).values(values).on_conflict_do_nothing().returning(stops.c.subject)
    return connection.execute(added).first() is not None


def resume(connection: Connection, org_id: str, subject: str) -> bool:
    """Let them act again; True if they were stopped."""
    return bool(
        connection.execute(delete(stops).where(stops.c.org_id == org_id, stops.c.subject == subject)).rowcount
    )


def stopped_by(connection: Connection, lent: Sequence[Grant]) -> str | None:
    """Why whoever acts within this chain is stopped; None if they are not."""
    subjects = {EVERYONE, *(part for grant in lent for part in (grant.id, grant.agent_id, grant.user_id))}
    row = connection.execute(_STOPS, {"org_": lent[0].org_id, "subjects_": list(subjects)}).first()
    return None if row is None else row.reason or f"stopped: {row.subject}"


def taken_back(connection: Connection, grant_id: str) -> bool:
    """True if whoever asked for something within this grant was stopped since, or what was lent was revoked.

    A run's own grant ends with the run; what it asked for before then still leaves the hub.
    """
    lent = chain(connection, grant_id)
    revoked = any(one.revoked_at_ms is not None for one in lent if not one.id.startswith("run_"))
    return not lent or revoked or stopped_by(connection, lent) is not None


def _mine(principal: Principal) -> Any:
    mine = grants.c.org_id == principal.org_id
    if principal.administers:
        return mine
    return mine & (grants.c.user_id == (principal.user_id or ""))


def _agents(principal: Principal) -> Any:
    stopped = (
        select(stops.c.subject)
        .where(stops.c.org_id == agents.c.org_id, stops.c.subject.in_([agents.c.id, EVERYONE]))
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(agents, users.c.name.label("user"), stopped.label("stopped"))
        .join(users, users.c.id == agents.c.user_id)
        .where(agents.c.org_id == principal.org_id)
    )
    if principal.administers:
        return query
    return query.where(agents.c.user_id == (principal.user_id or ""))


def _agent(row: Row[Any]) -> Agent:
    return Agent(row.id, row.name, row.user_id, row.user, row.stopped is not None, row.created_at_ms)


def _grant(row: Row[Any]) -> Grant:
    return Grant(
        id=row.id,
        org_id=row.org_id,
        agent_id=row.agent_id,
        user_id=row.user_id,
        parent_id=row.parent_id,
        fresh=row.fresh,
        commands=tuple(json.loads(row.commands)),
        effects=frozenset(json.loads(row.effects)),
        resources=None if row.resources is None else frozenset(json.loads(row.resources)),
        vouched=frozenset(json.loads(row.vouched)),
        request=row.request,
        cost_max=row.cost_max,
        cost_used=row.cost_used,
        note=row.note,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        revoked_at_ms=row.revoked_at_ms,
        tainted_at_ms=row.tainted_at_ms,
        narrowed={name: tuple(some) for name, some in json.loads(row.narrowed or "{}").items()},
    )


def _charging() -> Update:
    cost = bindparam("cost_", type_=BigInteger)
    fits = or_(grants.c.cost_max.is_(None), grants.c.cost_used + cost <= grants.c.cost_max)
    mine = grants.c.id.in_(bindparam("lent_", expanding=True))
    return update(grants).where(mine, fits).values(cost_used=grants.c.cost_used + cost)


def _ending_keys() -> Update:
    below = select(grants.c.id).where(grants.c.id == bindparam("grant_")).cte("below", recursive=True)
    below = below.union(select(grants.c.id).where(grants.c.parent_id == below.c.id))
    keys = api_keys.c.grant_id.in_(select(below.c.id)) & api_keys.c.revoked_at_ms.is_(None)
    return update(api_keys).where(keys).values(revoked_at_ms=bindparam("at_"))


# Asked for every command of an agent; made once, because making a statement costs more than running it.
_ONE = select(grants).where(grants.c.id == bindparam("grant_"))
_CHARGE = _charging()
_END_KEYS = _ending_keys()
_STOPS = select(stops.c.reason, stops.c.subject).where(
    stops.c.org_id == bindparam("org_"), stops.c.subject.in_(bindparam("subjects_", expanding=True))
)
