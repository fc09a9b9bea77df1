"""How a run begins: a grant within what its starter has, a key that acts within it, a row that waits for a worker."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from tokenhub.agents import runs
from tokenhub.agents.types import Bounds, Mind, Run
from tokenhub.identity import grants
from tokenhub.identity.grants import Agent, Grant
from tokenhub.identity.keys import KeySpec, insert_key
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest, PermissionDenied

AGENT = "assistant"
"""The agent of a run that names none; made at its first run."""
LIFE_MS = 30 * 24 * 3_600_000
"""How long a run may wait and work, all in all."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What is asked for."""

    request: str
    """What the model is asked."""
    model: str
    agent: str = ""
    grant: str | None = None
    """A grant that the run lies within."""
    commands: Sequence[str] = ("*",)
    effects: Sequence[str] = ("read", "write", "irreversible")
    vouched: Sequence[str] = ()
    rules: Sequence[str] = ()
    mind: Mind = "tools"
    bounds: Bounds = field(default_factory=Bounds)
    origin: str = "person"
    said: str = ""
    """The person's own words in it; empty = all of it."""
    tainted: bool = False
    """True if others had a part in the request."""


def begin(connection: Connection, principal: Principal, spec: Spec, *, at_ms: int) -> Run:
    """A new run for the caller, queued. An agent's run becomes a child of it, within its grant and its budget.

    Raises: PermissionDenied, InvalidRequest, GrantNotFound, AgentNotFound.
    """
    above = _above(connection, principal, spec, at_ms=at_ms)
    parent = runs.load_run(connection, principal.grant_id) if principal.grant_id else None
    agent = _agent(connection, principal, spec, above, at_ms=at_ms)
    # Only a person's words and values vouch for anything; a child has what its parent has.
    lent_on = above if above is not None and principal.grant_id else None
    vouched = spec.vouched if lent_on is None else lent_on.vouched
    said = spec.said or spec.request
    ends = at_ms + LIFE_MS if above is None else min(at_ms + LIFE_MS, above.expires_at_ms)
    grant = grants.create_grant(
        connection,
        agent,
        {
            "org_id": principal.org_id,
            "parent_id": None if above is None else above.id,
            "commands": list(spec.commands),
            "effects": list(spec.effects),
            "resources": None,
            "vouched": sorted(vouched),
            "request": said if lent_on is None else lent_on.request,
            "cost_max": None,
            "note": spec.request[:100],
            "expires_at_ms": ends,
            "tainted_at_ms": at_ms if spec.tainted else None,
        },
        fresh=principal.grant_id is None,
        at_ms=at_ms,
        prefix="run",
    )
    tokens = spec.bounds.tokens if parent is None else min(spec.bounds.tokens, parent.tokens_max)
    runs.insert_run(
        connection,
        {
            "id": grant.id,
            "org_id": principal.org_id,
            "user_id": agent.user_id,
            "agent_id": agent.id,
            "parent_id": None if parent is None else parent.id,
            "root_id": grant.id if parent is None else parent.root_id,
            "key_id": _key(connection, principal, grant, agent, at_ms=at_ms)
            if parent is None
            else parent.key_id,
            "origin": spec.origin if parent is None else "run",
            "request": spec.request,
            "rules": [*(parent.rules if parent else ()), *spec.rules],
            "tools": [],
            "model": spec.model,
            "mind": spec.mind,
            "tokens_max": tokens,
            "steps_max": spec.bounds.steps,
            "work_ms_max": spec.bounds.work_ms,
            "created_at_ms": at_ms,
        },
    )
    made = runs.load_run(connection, grant.id)
    assert made is not None
    return made


def _above(connection: Connection, principal: Principal, spec: Spec, *, at_ms: int) -> Grant | None:
    """The grant that the run hangs below."""
    named = principal.grant_id or spec.grant
    if named is None:
        return None
    if principal.grant_id is not None and spec.grant not in (None, principal.grant_id):
        raise PermissionDenied("An agent starts runs only within its own grant.", param="grant")
    above = grants.find_grant(connection, principal, named)
    if above.user_id != principal.user_id:
        raise PermissionDenied("That grant is another person's.", param="grant")
    if not above.live(at_ms) or len(grants.chain(connection, above.id)) >= grants.DEPTH_MAX:
        raise InvalidRequest("The grant above has ended, or lies too deep.", param="grant")
    return above


def _agent(
    connection: Connection, principal: Principal, spec: Spec, above: Grant | None, *, at_ms: int
) -> Agent:
    if principal.user_id is None:
        raise PermissionDenied("An agent works for a person; sign in as one.", code="not_a_person")
    name = spec.agent or (above.agent_id if above is not None else AGENT)
    try:
        agent = grants.find_agent(connection, principal, name)
    except grants.AgentNotFound:
        if name != AGENT:
            raise
        return grants.create_agent(connection, principal, AGENT, at_ms=at_ms)
    if agent.user_id != principal.user_id:
        if name != AGENT:
            raise PermissionDenied("That agent works for another person.", param="agent")
        return grants.create_agent(connection, principal, AGENT, at_ms=at_ms)
    return agent


def _key(connection: Connection, principal: Principal, grant: Grant, agent: Agent, *, at_ms: int) -> str:
    """A key that is the person's in books and limits, and acts only within the run's grant."""
    ends = grant.expires_at_ms
    if principal.expires_at_ms is not None:
        ends = min(ends, principal.expires_at_ms)
    root = principal.parent_key_id or principal.key_id
    spec = KeySpec(
        org_id=principal.org_id,
        name=f"run of {agent.name}",
        scopes=principal.scopes,
        user_id=principal.user_id,
        team_id=principal.team_id,
        project_id=principal.project_id,
        models=principal.models,
        expires_at_ms=ends,
        app="agent",
        parent_key_id=None if root == "local" else root,
        grant_id=grant.id,
    )
    return insert_key(connection, spec, at_ms=at_ms)
