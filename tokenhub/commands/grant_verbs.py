"""`hub agent|grant …`: agents of a person, what the person lends them, and the switch that stops them."""

from typing import Literal

from pydantic import Field

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, Secret, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.http.pagination import page
from tokenhub.identity import grants
from tokenhub.identity.grants import Agent, Grant
from tokenhub.identity.keys import KeySpec, create_key
from tokenhub.kernel.clock import parse_duration_ms
from tokenhub.kernel.errors import InvalidRequest, PermissionDenied

VERBS: list[Command] = []


class AgentView(Model):
    """A program that acts for a person."""

    id: str
    name: str
    user: str = Field(description="The person for whom it acts.")
    stopped: bool
    created_at_ms: int


class AgentCreate(Model):
    """A new agent of yours."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique among your agents.")


class AgentStop(Model):
    """Which agents."""

    agent: str = Field(default="", description="Name or id of the agent, or id of a run; empty with `all`.")
    all: bool = Field(default=False, description="Every agent of the organisation (administrators).")
    reason: str = Field(default="", max_length=200, description="Why; the agent is told.")


class AgentStopped(Model):
    """What is stopped or goes on."""

    subject: str = Field(description="The agent's or run's id, or `agents` for every one.")
    stopped: bool


class AgentList(PageResult):
    """A page of agents."""

    items: list[AgentView]


class GrantView(Model):
    """What a person lent an agent."""

    id: str
    agent_id: str
    user_id: str
    parent_id: str | None
    commands: list[str]
    effects: list[str]
    resources: list[str] | None = Field(description="Ids that it is bound to; null = every one.")
    vouched: list[str]
    budget: int | None
    used: int
    live: bool
    tainted: bool = Field(description="It has read what others wrote.")
    note: str
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None


class GrantCreate(Model):
    """What to lend."""

    agent: str = Field(description="Name or id of the agent.")
    commands: list[str] = Field(
        min_length=1,
        max_length=200,
        description="Commands that it may run: names, or patterns such as `task.*`.",
    )
    effects: list[Literal["read", "write", "irreversible"]] = Field(
        default=["read", "write"], description="Effects that it may have."
    )
    resources: list[str] | None = Field(
        default=None, max_length=500, description="Ids of things that it is bound to; every one if left out."
    )
    vouched: list[str] = Field(
        default=[],
        max_length=500,
        description="Values that you give yourself (names, ids): after it has read what others wrote, it may aim"
        " only at these without asking.",
    )
    request: str = Field(
        default="",
        max_length=20_000,
        description="What you ask for, in your own words: it may aim at whom and what you name there.",
    )
    budget: int | None = Field(
        default=None, ge=0, description="Most that its commands may cost; no bound if left out."
    )
    expires_in: str = Field(default="8h", description="Life time, such as 30m, 8h or 7d.")
    parent: str | None = Field(default=None, description="A grant of yours that it lies within.")
    note: str = Field(default="", max_length=200, description="What for.")


class GrantCreated(Model):
    """The grant, and the key with which the agent acts within it."""

    id: str
    key: Secret = Field(description="The agent's key. It is not stored: copy it now.")
    expires_at_ms: int


class GrantNamed(Model):
    """One grant."""

    grant: str = Field(description="Id of the grant.")


class GrantList(PageResult):
    """A page of grants."""

    items: list[GrantView]


@command(
    "agent.create",
    effect="write",
    resource="",
    permission="keys:write",
    summary="Make an agent that can act for you.",
    positional=("name",),
    examples=[
        Example(
            "hub agent create helper", "Then lend it something: `hub grant create helper --commands task.*`"
        )
    ],
)
def agent_create(ctx: Context, args: AgentCreate) -> AgentView:
    """It can do nothing until you lend it a grant, and never more than you."""
    return _agent(grants.create_agent(ctx.hub, ctx.principal, args.name, at_ms=ctx.now_ms))


@command(
    "agent.list",
    effect="read",
    resource="",
    permission="",
    summary="List agents.",
    examples=[Example("hub agent list", "Yours; an administrator's organisation's")],
)
def agent_list(ctx: Context, args: PageArgs) -> AgentList:
    """Newest first."""
    rows = grants.list_agents(ctx.hub, ctx.principal, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return AgentList(items=[_agent(row) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "agent.stop",
    effect="write",
    resource="agent",
    sinks=("agent", "all"),
    undo="agent.resume",
    permission="",
    summary="Stop an agent before its next command.",
    positional=("agent",),
    examples=[
        Example("hub agent stop helper --reason 'wrong list'", "Its next command is refused"),
        Example("hub agent stop run_01…", "One run and those that it started"),
        Example("hub agent stop --all", "Every agent of the organisation"),
    ],
)
def agent_stop(ctx: Context, args: AgentStop) -> AgentStopped:
    """Counts before its next command, on every face. What it did stays: `hub audit undo`."""
    subject = _subject(ctx, args)
    was_running = grants.stop(
        ctx.hub,
        ctx.principal.org_id,
        subject,
        actor=ctx.principal.actor,
        reason=args.reason,
        at_ms=ctx.now_ms,
    )
    if was_running:
        everyone = subject == grants.EVERYONE
        ctx.inverse("agent.resume", agent="" if everyone else subject, all=everyone)
    return AgentStopped(subject=subject, stopped=True)


@command(
    "agent.resume",
    effect="write",
    resource="agent",
    sinks=("agent", "all"),
    permission="",
    summary="Let a stopped agent act again.",
    positional=("agent",),
    examples=[Example("hub agent resume helper", "Its grants count again, if they have not ended")],
)
def agent_resume(ctx: Context, args: AgentStop) -> AgentStopped:
    """Harmless if it was not stopped. A stop of all ends with --all, one of a run with the run's id."""
    subject = _subject(ctx, args)
    grants.resume(ctx.hub, ctx.principal.org_id, subject)
    return AgentStopped(subject=subject, stopped=False)


@command(
    "grant.create",
    effect="write",
    resource="agent",
    sinks=("agent",),
    undo="grant.revoke",
    permission="keys:write",
    summary="Lend an agent some of what you may do, for a while.",
    positional=("agent",),
    examples=[
        Example(
            "hub grant create helper --commands 'task.*,user.list' --expires-in 8h",
            "Tasks, for a working day",
        ),
        Example(
            "hub grant create helper --commands '*' --effects read --expires-in 1h",
            "Look at everything, touch nothing",
        ),
    ],
)
def grant_create(ctx: Context, args: GrantCreate) -> GrantCreated:
    """What counts at each command is your own permission and the grant and those above it, together."""
    principal = ctx.principal
    agent = grants.find_agent(ctx.hub, principal, args.agent)
    if agent.user_id != principal.user_id:
        raise PermissionDenied("You can lend only to an agent of your own.", param="agent")
    parent_id = principal.grant_id or args.parent
    if principal.grant_id is not None and args.parent not in (None, principal.grant_id):
        raise PermissionDenied("An agent lends only out of its own grant.", param="parent")
    ends = ctx.now_ms + _duration(args.expires_in)
    if parent_id is not None:
        above = grants.find_grant(ctx.hub, principal, parent_id)
        if not above.live(ctx.now_ms) or len(grants.chain(ctx.hub, parent_id)) >= grants.DEPTH_MAX:
            raise InvalidRequest("The grant above has ended, or lies too deep.", param="parent")
        ends = min(ends, above.expires_at_ms)
        if principal.grant_id is not None and not set(args.vouched) <= above.vouched:
            raise PermissionDenied("Only a person vouches for a value.", param="vouched")
    if principal.grant_id is not None and args.request:
        raise PermissionDenied("Only a person says what a person asked for.", param="request")
    made = grants.create_grant(
        ctx.hub,
        agent,
        {
            "org_id": principal.org_id,
            "parent_id": parent_id,
            "commands": args.commands,
            "effects": args.effects,
            "resources": args.resources,
            "vouched": args.vouched,
            "request": args.request,
            "cost_max": args.budget,
            "note": args.note,
            "expires_at_ms": ends,
        },
        fresh=principal.grant_id is None,
        at_ms=ctx.now_ms,
    )
    key = create_key(ctx.hub, _key_of(ctx, agent, made), at_ms=ctx.now_ms)
    ctx.inverse("grant.revoke", grant=made.id)
    return GrantCreated(id=made.id, key=key.secret, expires_at_ms=ends)


@command(
    "grant.list",
    effect="read",
    resource="",
    permission="",
    summary="List what was lent to agents.",
    columns=("id", "agent_id", "commands", "effects", "live", "used", "budget", "expires_at_ms"),
    examples=[Example("hub grant list", "Yours; an administrator's organisation's")],
)
def grant_list(ctx: Context, args: PageArgs) -> GrantList:
    """Newest first, also those that ended."""
    rows = grants.list_grants(ctx.hub, ctx.principal, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return GrantList(items=[_grant(ctx, row) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "grant.show",
    effect="read",
    resource="grant",
    permission="",
    summary="Show one grant.",
    positional=("grant",),
    examples=[Example("hub grant show grant_01…", "What it covers, what is used, when it ends")],
)
def grant_show(ctx: Context, args: GrantNamed) -> GrantView:
    """By id."""
    return _grant(ctx, grants.find_grant(ctx.hub, ctx.principal, args.grant))


@command(
    "grant.revoke",
    effect="irreversible",
    resource="grant",
    sinks=("grant",),
    permission="",
    summary="Take back what was lent, before the agent's next command.",
    positional=("grant",),
    examples=[Example("hub grant revoke grant_01…", "Also ends the grants below it")],
)
def grant_revoke(ctx: Context, args: GrantNamed) -> GrantView:
    """Counts before the agent's next command. A new grant is quickly made."""
    found = grants.find_grant(ctx.hub, ctx.principal, args.grant)
    grants.revoke_grant(ctx.hub, found, at_ms=ctx.now_ms)
    return _grant(ctx, grants.find_grant(ctx.hub, ctx.principal, found.id))


def _subject(ctx: Context, args: AgentStop) -> str:
    if args.all:
        if args.agent:
            raise InvalidRequest("Name an agent or say `all`, not both.", param="all")
        if not ctx.principal.allows("admin"):
            raise PermissionDenied("Only an administrator stops every agent.", param="all")
        return grants.EVERYONE
    if not args.agent:
        raise InvalidRequest("Name an agent, or say `all`.", param="agent")
    if args.agent.startswith("run_"):  # a run is a grant
        return grants.find_grant(ctx.hub, ctx.principal, args.agent).id
    return grants.find_agent(ctx.hub, ctx.principal, args.agent).id


def _key_of(ctx: Context, agent: Agent, grant: Grant) -> KeySpec:
    principal = ctx.principal
    ends = grant.expires_at_ms
    if principal.expires_at_ms is not None and not principal.app:
        ends = min(ends, principal.expires_at_ms)
    root = principal.parent_key_id or principal.key_id
    return KeySpec(
        org_id=principal.org_id,
        name=f"agent {agent.name}",
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


def _duration(text: str) -> int:
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param="expires_in") from error


def _agent(row: Agent) -> AgentView:
    return AgentView(**{name: getattr(row, name) for name in AgentView.model_fields})


def _grant(ctx: Context, row: Grant) -> GrantView:
    return GrantView(
        id=row.id,
        agent_id=row.agent_id,
        user_id=row.user_id,
        parent_id=row.parent_id,
        commands=list(row.commands),
        effects=sorted(row.effects),
        resources=None if row.resources is None else sorted(row.resources),
        vouched=sorted(row.vouched),
        budget=row.cost_max,
        used=row.cost_used,
        live=row.live(ctx.now_ms),
        tainted=row.tainted_at_ms is not None,
        note=row.note,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        revoked_at_ms=row.revoked_at_ms,
    )
