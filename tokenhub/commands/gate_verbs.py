"""`hub gate …`: questions that agents and policies put to people, and the answers."""

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.commands import gates
from tokenhub.commands.admission import explain
from tokenhub.commands.authority import Ask
from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.commands.gates import Gate
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver, thing_of
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import PermissionDenied

VERBS: list[Command] = []


class GateView(Model):
    """A command that waits for a person's yes."""

    id: str
    command: str
    arguments: dict[str, Any]
    why: str
    state: str = Field(description="`open`, `approved`, `denied`, or `used`: the yes was taken by a run.")
    actor: str
    grant_id: str | None = Field(description="The agent's grant; null if a person asked.")
    decided_by: str | None
    comment: str
    created_at_ms: int
    expires_at_ms: int


class GateListArgs(PageArgs):
    """Which questions."""

    state: Literal["", "open", "approved", "denied", "used"] = Field(
        default="open", description="Only in this state; empty = all."
    )


class GateNamed(Model):
    """One question."""

    gate: str = Field(description="Id of the question.")


class GateDecide(GateNamed):
    """An answer."""

    comment: str = Field(default="", max_length=500, description="Why; whoever asked is told.")


class GateList(PageResult):
    """A page of questions."""

    items: list[GateView]


@command(
    "gate.list",
    effect="read",
    resource="",
    permission="",
    trust="untrusted",
    summary="List what waits for a person's yes.",
    columns=("id", "command", "arguments", "why", "state"),
    examples=[Example("hub gate list", "Open questions that you may answer")],
)
def gate_list(ctx: Context, args: GateListArgs) -> GateList:
    """Newest first."""
    rows = gates.listing(ctx.hub, ctx.principal, state=args.state, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return GateList(items=[_view(row) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "gate.show",
    effect="read",
    resource="gate",
    permission="",
    trust="untrusted",
    summary="Show one question and its answer.",
    positional=("gate",),
    examples=[Example("hub gate show gate_01…", "What exactly would run, and why it asks")],
)
def gate_show(ctx: Context, args: GateNamed) -> GateView:
    """After a yes, whoever asked repeats the command with the same arguments."""
    return _view(gates.find(ctx.hub, ctx.principal, args.gate))


@command(
    "gate.approve",
    effect="irreversible",
    resource="gate",
    sinks=("gate",),
    permission="",
    trust="untrusted",
    summary="Say yes to exactly this command, once.",
    positional=("gate",),
    examples=[Example("hub gate approve gate_01…", "It runs when whoever asked repeats it")],
)
def gate_approve(ctx: Context, args: GateDecide) -> GateView:
    """Only for what you may do yourself; never one's own question, except what one's agent asks."""
    gate = gates.find(ctx.hub, ctx.principal, args.gate)
    _may_decide(ctx, gate)
    _may_do_it(ctx, gate)
    return _view(gates.decide(ctx.hub, gate, ctx.principal, yes=True, comment=args.comment, at_ms=ctx.now_ms))


@command(
    "gate.deny",
    effect="write",
    resource="gate",
    sinks=("gate",),
    permission="",
    trust="untrusted",
    summary="Say no.",
    positional=("gate",),
    examples=[
        Example("hub gate deny gate_01… --comment 'not to outsiders'", "Asking the same again is refused")
    ],
)
def gate_deny(ctx: Context, args: GateDecide) -> GateView:
    """The same command with the same arguments is refused for seven days."""
    gate = gates.find(ctx.hub, ctx.principal, args.gate)
    _may_decide(ctx, gate)
    return _view(
        gates.decide(ctx.hub, gate, ctx.principal, yes=False, comment=args.comment, at_ms=ctx.now_ms)
    )


@resolver("gate")
def _gate(connection: Connection, principal: Principal, named: str) -> Found:
    gate = gates.find(connection, principal, named)
    return Found(gate.id, gate.user_id or "")


def _may_decide(ctx: Context, gate: Gate) -> None:
    principal = ctx.principal
    own_agent = gate.grant_id is not None and gate.user_id is not None and gate.user_id == principal.user_id
    other = principal.allows("admin") and gate.actor != principal.actor
    if principal.grant_id is not None or principal.app == "agent" or not (own_agent or other):
        raise PermissionDenied(
            "Another person decides this: the one for whom the agent acts, or an administrator.", param="gate"
        )


def _may_do_it(ctx: Context, gate: Gate) -> None:
    """Nobody says yes to what they may not do themselves. Raises: PermissionDenied."""
    declared = ctx.command(gate.command)
    found = thing_of(ctx, ctx.principal, declared, gate.arguments)
    asked = Ask(
        declared, ctx.principal, gate.arguments, found, vouched=True, confirmed=True, at_ms=ctx.now_ms
    )
    if ctx.view.decide(ctx.hub, asked).verdict != "allow":
        raise PermissionDenied(
            f"You may not do `{gate.command}` yourself, so you cannot allow it.", param="gate"
        )


def _view(gate: Gate) -> GateView:
    return GateView(
        id=gate.id,
        command=gate.command,
        arguments=gate.arguments,
        why=explain(gate.command, gate.reasons),
        state=gate.state,
        actor=gate.actor,
        grant_id=gate.grant_id,
        decided_by=gate.decided_by,
        comment=gate.comment,
        created_at_ms=gate.created_at_ms,
        expires_at_ms=gate.expires_at_ms,
    )
