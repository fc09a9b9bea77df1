"""`hub agent run|runs|show|approve|deny|undo`: give an agent work, see what it does, decide what it asks, take it back."""

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.agents import journal, runs, spending
from tokenhub.agents.begin import Spec, begin
from tokenhub.agents.minds import MINDS
from tokenhub.agents.types import Bounds, Run, Step
from tokenhub.agents.undoing import PREFIX
from tokenhub.commands import Command, Context, Example, Model, command, gates
from tokenhub.commands.admission import explain
from tokenhub.commands.gate_verbs import GateDecide, GateView, gate_approve, gate_deny
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity import grants
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest, PermissionDenied
from tokenhub.maas.deployments.store import load_deployments
from tokenhub.metering.types import UsageEvent

VERBS: list[Command] = []
Effects = list[Literal["read", "write", "irreversible"]]
COMMANDS_HELP = "Commands that it may run: names, or patterns such as `task.*`."
SHOWN_MAX = 2000


class RunArgs(Model):
    """Work for an agent."""

    request: str = Field(min_length=1, max_length=20_000, description="What to do, in plain words.")
    agent: str = Field(default="", description="Name or id of your agent; one named `assistant` if left out.")
    model: str = Field(default="", description="Model that thinks; the hub's default if left out.")
    grant: str | None = Field(default=None, description="A grant of yours that the run lies within.")
    commands: list[str] = Field(default=["*"], min_length=1, max_length=200, description=COMMANDS_HELP)
    effects: Effects = Field(
        default=["read", "write", "irreversible"],
        description="Effects that it may have; what cannot be taken back asks you first.",
    )
    vouched: list[str] = Field(
        default=[],
        max_length=200,
        description="Names and ids that you give besides those in the request: after it has read what others wrote,"
        " it may aim only at these without asking.",
    )
    rules: list[str] = Field(
        default=[], max_length=20, description="Rules for this run, told to the model with every call."
    )
    max_tokens: int = Field(
        default=200_000, ge=1, le=10**12, description="Most tokens of all its model calls and its children's."
    )
    max_steps: int = Field(default=60, ge=1, le=10_000, description="Most model calls and commands.")
    max_time: int = Field(
        default=3600, ge=1, le=10**7, description="Most seconds at work; waiting does not count."
    )
    mind: Literal["tools", "exact"] = Field(
        default="tools",
        description="`tools`: the model calls tools; `exact`: one command at a time, for small models.",
    )
    detach: bool = Field(default=False, description="Do not wait for its end.")


class RunStarted(Model):
    """A run that began."""

    id: str
    state: str
    detached: bool


class RunNamed(Model):
    """One run."""

    run: str = Field(description="Id of the run.")


class RunDecide(RunNamed):
    """An answer to what a run asks."""

    comment: str = Field(default="", max_length=500, description="Why; the agent is told.")


class RunApprove(RunDecide):
    """A yes to what a run asks."""

    question: str = Field(
        default="",
        description="The question that you have read (gate_…); needed once the run has asked more than one.",
    )


class RunListArgs(PageArgs):
    """Which runs."""

    state: Literal["", "queued", "running", "waiting", "stopped", "done", "failed"] = Field(
        default="", description="Only in this state; empty = all."
    )


class RunView(Model):
    """One run."""

    id: str
    state: str = Field(description="`queued`, `running`, `waiting`, `stopped`, `done` or `failed`.")
    code: str = Field(
        description="Why it ended or is stopped: `answered`, `budget`, `steps`, `time`, `repeats`, …"
    )
    waits_for: str = Field(description="A question, a run, `time` or `budget`; empty = nothing.")
    request: str
    answer: str
    agent_id: str
    parent_id: str | None
    origin: str
    model: str
    steps: int
    tokens: int
    tokens_max: int
    created_at_ms: int
    ended_at_ms: int | None


class StepView(Model):
    """One step of a run."""

    seq: int
    kind: str = Field(description="`model` or `command`.")
    name: str
    state: str = Field(
        description="`open`, `waiting`, `done` or `unknown`: nobody knows whether it happened."
    )
    arguments: str
    outcome: str
    said: str = Field(description="The model's text, or the error's.")
    ms: int | None
    attempts: int
    request_id: str
    tokens: int
    amount_nano: int | None = Field(
        description="As the books have it, in nano-units; null while it is not settled."
    )
    audit_id: str
    gate_id: str


class RunWhole(RunView):
    """A run with every step and what it cost."""

    rules: list[str]
    commands: list[str]
    tainted: bool = Field(description="It has read what others wrote.")
    question: GateView | None = Field(description="What it asks now: exactly this runs after a yes.")
    children: list[str]
    trace: list[StepView]
    billed_tokens: int = Field(description="By the books, all calls of this run, also those that broke off.")
    amount_nano: int
    currency: str


class RunList(PageResult):
    """A page of runs."""

    items: list[RunView]


@resolver("run")
def _resolve(connection: Connection, principal: Principal, named: str) -> Found | None:
    run = runs.find_run(connection, principal, named)
    return Found(run.id, run.user_id)


@command(
    "agent.run",
    effect="write",
    resource="",
    undo="agent.stop",
    permission="inference",
    summary="Give an agent work in plain words.",
    positional=("request",),
    examples=[
        Example(
            'hub agent run "Remind bob of the report" --detach', "It goes on by itself; follow it with show"
        ),
        Example(
            "hub agent run 'Close my open tasks' --commands 'task.*' --max-tokens 20k",
            "Bounded to tasks, and in tokens",
        ),
    ],
)
def agent_run(ctx: Context, args: RunArgs) -> RunStarted:
    """It acts as you, within the commands and effects that you give, and asks before what cannot be taken back.

    Started by an agent it is a child: within its grant, its rules and its budget.
    """
    if args.mind not in MINDS:
        raise InvalidRequest(f"No mind {args.mind!r} yet; use `tools`.", param="mind")
    parent = runs.load_run(ctx.hub, ctx.principal.grant_id) if ctx.principal.grant_id else None
    model = args.model or (parent.model if parent is not None else default_model(ctx))
    spec = Spec(
        request=args.request,
        model=model,
        agent=args.agent,
        grant=args.grant,
        commands=args.commands,
        effects=args.effects,
        vouched=args.vouched,
        rules=args.rules,
        mind=args.mind,
        bounds=Bounds(tokens=args.max_tokens, steps=args.max_steps, work_ms=args.max_time * 1000),
    )
    run = begin(ctx.hub, ctx.principal, spec, at_ms=ctx.now_ms)
    ctx.inverse("agent.stop", agent=run.id, all=False, reason="undone")
    ctx.pending(next=f"hub agent show {run.id}")
    return RunStarted(id=run.id, state=run.state, detached=args.detach)


@command(
    "agent.runs",
    effect="read",
    resource="",
    permission="",
    trust="untrusted",
    summary="List runs of agents.",
    columns=("id", "state", "code", "request", "steps", "tokens", "created_at_ms"),
    examples=[Example("hub agent runs --state waiting", "Yours that wait for something")],
)
def agent_runs(ctx: Context, args: RunListArgs) -> RunList:
    """Newest first."""
    rows = runs.list_runs(ctx.hub, ctx.principal, state=args.state, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    counted = journal.counts(ctx.hub, [run.id for run in shown.items])
    return RunList(
        items=[RunView(**_view(run, *counted.get(run.id, (0, 0)))) for run in shown.items],
        next_cursor=shown.next_cursor,
    )


@command(
    "agent.show",
    effect="read",
    resource="run",
    permission="",
    trust="untrusted",
    summary="Show a run: every step with its tokens and price, and what it asks.",
    positional=("run",),
    examples=[Example("hub agent show run_01…", "What it did, what it waits for, what it cost")],
)
def agent_show(ctx: Context, args: RunNamed) -> RunWhole:
    """Prices are the lines of the books."""
    run = runs.find_run(ctx.hub, ctx.principal, args.run)
    steps = journal.steps_of(ctx.hub, run.id)
    lines = spending.booked(ctx.ledger, ctx.hub, run)
    mine = spending.lines_of(ctx.hub, lines, run, steps)
    grant = grants.chain(ctx.hub, run.id)
    question = None
    if run.waits_for.startswith("gate_") and run.state == "waiting":
        question = _question(ctx, run.waits_for)
    return RunWhole(
        **_view(run, len(steps), sum(step.tokens for step in steps)),
        rules=list(run.rules),
        commands=list(grant[0].commands) if grant else [],
        tainted=any(one.tainted_at_ms is not None for one in grant),
        question=question,
        children=[one for one in runs.below(ctx.hub, run.id) if one != run.id],
        trace=[_step(step, lines.get(step.request_id)) for step in steps],
        billed_tokens=sum(line.total_tokens for line in mine),
        amount_nano=sum(line.amount_nano for line in mine),
        currency=ctx.settings.currency,
    )


@command(
    "agent.approve",
    effect="irreversible",
    resource="run",
    sinks=("run",),
    permission="",
    trust="untrusted",
    summary="Say yes to what a run asks: exactly the command that is shown, once.",
    positional=("run",),
    examples=[Example("hub agent approve run_01…", "See first what it asks: `hub agent show`")],
)
def agent_approve(ctx: Context, args: RunApprove) -> GateView:
    """The same as `hub gate approve` of its question; the run goes on within a second.

    A yes is to the question that was read: a run may have gone on to another one since.
    """
    gate_id = _gate_of(ctx, args.run)
    if args.question not in ("", gate_id):
        raise Conflict(f"The run asks {gate_id} now.", code="asks_another", param="question")
    if not args.question and gates.asked(ctx.hub, gates.find(ctx.hub, ctx.principal, gate_id)) > 1:
        hint = f"Read it with `hub gate show {gate_id}`, then add `--question {gate_id}`."
        raise InvalidRequest(
            "The run has asked more than once: say which question you mean.", param="question", hint=hint
        )
    answer = gate_approve(ctx, GateDecide(gate=gate_id, comment=args.comment))
    runs.wake(ctx.hub, [gate_id])
    return answer


@command(
    "agent.deny",
    effect="write",
    resource="run",
    sinks=("run",),
    permission="",
    trust="untrusted",
    summary="Say no to what a run asks; it is told and goes on without.",
    positional=("run",),
    examples=[Example("hub agent deny run_01… --comment 'not to outsiders'", "The agent is told why")],
)
def agent_deny(ctx: Context, args: RunDecide) -> GateView:
    """The same as `hub gate deny` of its question."""
    return gate_deny(ctx, GateDecide(gate=_gate_of(ctx, args.run), comment=args.comment))


@command(
    "agent.undo",
    effect="write",
    resource="run",
    sinks=("run",),
    undo="agent.stop",
    permission="",
    summary="Take back everything that a run did, the newest first.",
    positional=("run",),
    examples=[
        Example("hub agent undo run_01…", "Also what its children did; what cannot be taken back is named")
    ],
)
def agent_undo(ctx: Context, args: RunNamed) -> RunStarted:
    """Each effect through the door, as `hub audit undo`, by you. A run that still works is to be stopped first."""
    if ctx.principal.grant_id is not None:
        raise PermissionDenied("Only a person takes back what a run did.", param="run")
    run = runs.find_run(ctx.hub, ctx.principal, args.run)
    if run.origin.startswith(PREFIX):
        raise Conflict(
            "That is an undo; take back single rows with `hub audit undo`.", code="irreversible", param="run"
        )
    busy = [
        one.id
        for name in runs.below(ctx.hub, run.id)
        if (one := runs.load_run(ctx.hub, name)) and _works(one)
    ]
    if busy:
        raise Conflict(
            f"{busy[0]} still works.",
            code="run_not_ended",
            param="run",
            hint=f"Stop it first: `hub agent stop {run.id}`.",
        )
    spec = Spec(
        request=f"Undo {run.id}",
        model="",
        commands=("audit.undo",),
        effects=("write",),
        origin=f"{PREFIX}{run.id}",
    )
    made = begin(ctx.hub, ctx.principal, spec, at_ms=ctx.now_ms)
    ctx.inverse("agent.stop", agent=made.id, all=False, reason="undone")
    ctx.pending(next=f"hub agent show {made.id}")
    return RunStarted(id=made.id, state=made.state, detached=True)


def default_model(ctx: Context) -> str:
    """The settings' model if it serves, else the first that does. Raises: InvalidRequest."""
    served = [found.model for found in load_deployments(ctx.hub) if found.healthy]
    if ctx.settings.model in served:
        return ctx.settings.model
    if not served:
        raise InvalidRequest(
            "No model is served; name one that will be.", param="model", hint="See `hub deploy list`."
        )
    return served[0]


def _works(run: Run) -> bool:
    return not run.ended and run.state != "stopped"


def _gate_of(ctx: Context, run_id: str) -> str:
    run = runs.find_run(ctx.hub, ctx.principal, run_id)
    if run.state != "waiting" or not run.waits_for.startswith("gate_"):
        raise Conflict(f"{run.id} asks nothing now; it is {run.state}.", code="nothing_asked", param="run")
    return run.waits_for


def _question(ctx: Context, gate_id: str) -> GateView:
    gate = gates.find(ctx.hub, ctx.principal, gate_id)
    return GateView(
        **{name: getattr(gate, name) for name in GateView.model_fields if name != "why"},
        why=explain(gate.command, gate.reasons),
    )


def _view(run: Run, steps: int, tokens: int) -> dict[str, Any]:
    fields = {name: getattr(run, name) for name in RunView.model_fields if name not in ("steps", "tokens")}
    return {**fields, "steps": steps, "tokens": tokens}


def _step(step: Step, line: UsageEvent | None) -> StepView:
    answer = step.answer or {}
    said = str(step.error.get("message") or answer.get("content") or "")
    return StepView(
        seq=step.seq,
        kind=step.kind,
        name=step.name,
        state=step.state,
        arguments=step.arguments[:SHOWN_MAX],
        outcome=str(answer.get("status") or ("" if step.answer is None else "success")),
        said=said[:SHOWN_MAX],
        ms=None if step.ended_at_ms is None else step.ended_at_ms - step.started_at_ms,
        attempts=step.attempts,
        request_id=step.request_id,
        tokens=step.tokens,
        amount_nano=None if line is None else line.amount_nano,
        audit_id=step.audit_id,
        gate_id=step.gate_id,
    )
