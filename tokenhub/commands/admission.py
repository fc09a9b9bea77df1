"""What the door asks before a command may run: kill flag, permission, taint and sinks, a person's yes.

Everything is read in the transaction of the command, so that a grant that was revoked, an agent that was stopped or a
policy that was applied a moment ago counts already.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection

from tokenhub.commands import gates, provenance
from tokenhub.commands.authority import Ask, Decision, View
from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command
from tokenhub.commands.gates import Gate
from tokenhub.commands.policy_set import SENTENCES
from tokenhub.commands.resources import NOTHING, Found, resolvable, resolve, thing_of
from tokenhub.identity import grants
from tokenhub.identity.grants import Grant
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import PaymentRequired, PermissionDenied


class Stopped(PermissionDenied):
    """The agent was stopped; nothing of it runs until a person lets it go on."""

    code = "agent_stopped"


class GrantEnded(PermissionDenied):
    """The agent's grant has expired or was revoked."""

    code = "grant_ended"


class GrantUsedUp(PaymentRequired):
    """The budget of the agent's grant is used up."""

    code = "grant_used_up"


@dataclass(frozen=True)
class Call:
    """One call on its way through the door."""

    command: Command
    principal: Principal
    arguments: BaseModel
    shown: dict[str, Any]
    """The arguments as JSON values, secrets left out."""
    dry_run: bool
    key: str
    """Idempotency key; empty = none."""
    request_id: str
    at_ms: int
    ask_only: bool = False
    """Put the question that this would put, and do nothing."""

    @property
    def caller(self) -> str:
        """Whose idempotency keys count: the person's or, for an agent, the grant's."""
        principal = self.principal
        return f"{principal.org_id}/{principal.actor}" + (
            f"/{principal.grant_id}" if principal.grant_id else ""
        )

    @cached_property
    def body_hash(self) -> str:
        """sha256 of the whole arguments."""
        body = json.dumps(self.arguments.model_dump(mode="json", warnings=False), sort_keys=True)
        return hashlib.sha256(body.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Admission:
    """What was found out about a call."""

    decision: Decision
    view: View
    lent: Sequence[Grant]
    gate: Gate | None
    """The person's yes that lets it run, or the question that is open or was refused."""
    refusal: PermissionDenied | None = None
    """Why it may not run; None = it may, or it asks."""
    thing: Found = NOTHING
    """What it acts on, as the policies saw it."""
    bound: str = ""
    """What a yes to this call is for (`_bound`)."""

    @property
    def asks(self) -> bool:
        """True if only a person's yes is missing."""
        return self.refusal is None and self.decision.verdict == "ask"


def admit(context: Context, call: Call) -> Admission:
    """Kill flag, then permission, taint and sinks, then a yes that was given; changes nothing."""
    connection, view = context.hub, context.view
    lent = _lent(connection, call)
    command, principal = call.command, call.principal
    reason = _halted(connection, call, lent)
    if reason is None:  # a grant's end ends its key too, and says more
        view.check_caller(connection, principal, at_ms=call.at_ms)
    raw: dict[str, Any] = call.shown
    found = thing_of(context, principal, command, raw)
    asked = Ask(
        command,
        principal,
        raw,
        found,
        lent=lent,
        vouched=provenance.vouched(connection, principal, command, raw, found=found, lent=lent),
        dry_run=call.dry_run,
        at_ms=call.at_ms,
    )
    decision = view.decide(connection, asked)
    if reason is not None:
        return Admission(decision, view, lent, None, reason, found)
    if decision.verdict == "deny":
        return Admission(decision, view, lent, None, _refusal(command, decision, lent), found)
    if decision.verdict == "allow":
        return Admission(decision, view, lent, None, None, found)
    bound = _bound(connection, call, found)
    gate = gates.lookup(connection, principal, command=command.name, body_hash=bound, at_ms=call.at_ms)
    if gate is not None and gate.state == "approved":
        confirmed = view.decide(connection, _confirmed(asked))
        return Admission(confirmed, view, lent, gate, None, found)
    if gate is not None and gate.state == "denied":
        words = f" ({gate.comment})" if gate.comment else ""
        refused = PermissionDenied(
            f"A person refused this `{command.name}`{words}.",
            code="gate_denied",
            hint=f"See `hub gate show {gate.id}`.",
        )
        return Admission(decision, view, lent, gate, refused, found)
    return Admission(decision, view, lent, gate, None, found, bound)


def may_also(context: Context, name: str, raw: Mapping[str, Any], found: Found) -> bool:
    """True if the caller might run this other command on `found` now, without a question: for a command that does
    among other things what that one does."""
    command, principal = context.command(name), context.principal
    lent = grants.chain(context.hub, principal.grant_id) if principal.grant_id else []
    vouched = provenance.vouched(context.hub, principal, command, raw, found=found, lent=lent)
    asked = Ask(command, principal, raw, found, lent=lent, vouched=vouched, at_ms=context.now_ms)
    return context.view.decide(context.hub, asked).verdict == "allow"


def explain(command: str, policies: Sequence[str]) -> str:
    """Why policies said no, or ask, in a sentence."""
    for name in policies:
        if name in SENTENCES:
            return SENTENCES[name].format(command=command)
    broken = [name for name in policies if name.startswith("error: ")]
    if broken:
        return f"A policy of your organisation cannot be evaluated for `{command}` ({broken[0][7:]})."
    if policies:
        return f"The policy {', '.join(f'`{name}`' for name in policies)} of your organisation forbids `{command}`."
    return f"No policy of your organisation permits `{command}`."


def halted(connection: Connection, call: Call) -> PermissionDenied | None:
    """Why an agent may do nothing at all now; asked once more before it is told what it read."""
    try:
        return _halted(connection, call, _lent(connection, call))
    except GrantEnded as ended:
        return ended


def spend(connection: Connection, call: Call, lent: Sequence[Grant]) -> None:
    """Take the command's cost from every grant of the chain. Raises: GrantUsedUp."""
    if lent and not grants.charge(connection, lent, call.command.cost):
        raise GrantUsedUp(
            "The budget of this agent's grant is used up.",
            hint="Its person can make another: `hub grant create`.",
        )


def _lent(connection: Connection, call: Call) -> list[Grant]:
    grant_id = call.principal.grant_id
    if grant_id is None:
        return []
    lent = grants.chain(connection, grant_id)
    mine = all(
        grant.org_id == call.principal.org_id and grant.user_id == call.principal.user_id for grant in lent
    )
    if not lent or not mine:
        raise GrantEnded(
            "This agent's grant is gone.", hint="Its person can make another: `hub grant create`."
        )
    return lent


def _halted(connection: Connection, call: Call, lent: Sequence[Grant]) -> PermissionDenied | None:
    """Why an agent may do nothing at all now."""
    if not lent:
        return None
    stopped = grants.stopped_by(connection, lent)
    if stopped is not None:
        return Stopped(
            f"This agent is stopped ({stopped}).", hint="Its person lets it go on: `hub agent resume`."
        )
    if not all(grant.live(call.at_ms) for grant in lent):
        return GrantEnded(
            "This agent's grant has expired or was revoked.",
            hint="Its person can make another: `hub grant create`.",
        )
    return None


def _bound(connection: Connection, call: Call, found: Found) -> str:
    """sha256 of the arguments, and of what their names mean now: a yes is for these things, not for their names."""
    named = str(call.shown.get(call.command.resource_argument) or "")
    meant = {named: found.id}
    for aim in provenance.chosen(call.command, call.shown):
        if resolvable(aim.kind):
            meant[aim.value] = resolve(connection, call.principal, aim.kind, aim.value).id
    meant = {name: id for name, id in meant.items() if id not in ("", name)}
    if not meant:
        return call.body_hash
    return hashlib.sha256(json.dumps([call.body_hash, meant], sort_keys=True).encode()).hexdigest()


def _confirmed(asked: Ask) -> Ask:
    return Ask(
        asked.command,
        asked.principal,
        asked.arguments,
        asked.resource,
        lent=asked.lent,
        vouched=asked.vouched,
        confirmed=True,
        dry_run=asked.dry_run,
        at_ms=asked.at_ms,
    )


def _refusal(command: Command, decision: Decision, lent: Sequence[Grant]) -> PermissionDenied:
    name = command.name
    narrowed = next((by for grant in lent if (by := grant.narrowed_by(name))), "")
    if "floor.grant" in decision.policies and narrowed:
        return PermissionDenied(
            f"The skill {narrowed!r}, which this run uses, leaves it no `{name}`.",
            code="skill_narrowed",
            hint=f"`hub skill show {narrowed}` lists what it leaves.",
        )
    if "floor.scope" in decision.policies:
        return PermissionDenied(
            f"`{name}` needs a key with the scope `{command.permission}`.",
            hint="Ask an administrator for a key, or sign in as one.",
        )
    return PermissionDenied(
        explain(name, decision.policies), code="policy_denied", hint=f"See `hub policy why {name}`."
    )
