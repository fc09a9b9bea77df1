"""`hub schedule …`: runs that begin by the clock, or after a command of somebody."""

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.agents import schedules
from tokenhub.agents.begin import AGENT
from tokenhub.agents.cron import parse_cron
from tokenhub.agents.schedules import Schedule
from tokenhub.agents.verbs import COMMANDS_HELP, Effects, default_model
from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity import grants
from tokenhub.identity.keys import KeySpec, insert_key
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest, PermissionDenied

VERBS: list[Command] = []


class ScheduleCreate(Model):
    """When to begin which run."""

    request: str = Field(min_length=1, max_length=20_000, description="What to do, in plain words.")
    cron: str = Field(
        default="",
        max_length=200,
        description="Minute hour day month weekday, such as `0 9 * * mon`; or `@daily`.",
    )
    time_zone: str = Field(default="UTC", max_length=64, description="Whose clock, such as Europe/Paris.")
    event: str = Field(
        default="",
        max_length=100,
        description="Instead of `cron`: a command, or a pattern such as `task.*`, after which it begins.",
    )
    agent: str = Field(default="", description="Name or id of your agent; one named `assistant` if left out.")
    model: str = Field(default="", description="Model that thinks; the hub's default if left out.")
    commands: list[str] = Field(default=["*"], min_length=1, max_length=200, description=COMMANDS_HELP)
    effects: Effects = Field(default=["read", "write"], description="Effects that it may have.")
    rules: list[str] = Field(default=[], max_length=20, description="Rules of its runs.")
    max_tokens: int = Field(default=200_000, ge=1, le=10**12, description="Most tokens of each run.")
    max_steps: int = Field(default=60, ge=1, le=10_000, description="Most steps of each run.")


class ScheduleNamed(Model):
    """One schedule."""

    schedule: str = Field(description="Id of the schedule.")


class ScheduleView(Model):
    """When a run begins by itself."""

    id: str
    request: str
    cron: str
    time_zone: str
    event: str
    agent_id: str
    model: str
    commands: list[str]
    effects: list[str]
    next_at_ms: int | None = Field(description="Null = paused, or it follows an event.")
    paused: str = Field(description="Why it does not begin any more; empty = in force.")
    fired: int
    last_run_id: str
    created_at_ms: int


class ScheduleList(PageResult):
    """A page of schedules."""

    items: list[ScheduleView]


@resolver("schedule")
def _resolve(connection: Connection, principal: Principal, named: str) -> Found | None:
    found = schedules.find(connection, principal, named)
    return Found(found.id, found.user_id)


@command(
    "schedule.create",
    effect="write",
    resource="",
    undo="schedule.remove",
    permission="inference",
    summary="Let an agent begin work by the clock, or after a command of somebody.",
    positional=("request",),
    examples=[
        Example(
            "hub schedule create 'Report my done tasks of the week' --cron '0 17 * * fri' --time-zone Europe/Paris",
            "Every Friday at five, in Paris, whatever the season",
        ),
        Example(
            "hub schedule create 'Answer with a thank you' --event request.create --commands 'message.*'",
            "After each new request; the run knows that others had a part in it",
        ),
    ],
)
def schedule_create(ctx: Context, args: ScheduleCreate) -> ScheduleView:
    """Each run acts as you, within these commands, while the key with which you made it counts."""
    principal = ctx.principal
    if principal.user_id is None or principal.grant_id is not None:
        raise PermissionDenied("Only a person makes schedules.", code="not_a_person")
    if bool(args.cron) == bool(args.event):
        raise InvalidRequest("Give `cron` or `event`.", param="cron")
    next_at_ms = parse_cron(args.cron, args.time_zone).after(ctx.now_ms) if args.cron else None
    try:
        agent = grants.find_agent(ctx.hub, principal, args.agent or AGENT)
    except grants.AgentNotFound:
        if args.agent:
            raise
        agent = grants.create_agent(ctx.hub, principal, AGENT, at_ms=ctx.now_ms)
    if agent.user_id != principal.user_id:
        raise PermissionDenied("That agent works for another person.", param="agent")
    schedule_id = schedules.add(
        ctx.hub,
        {
            "org_id": principal.org_id,
            "user_id": principal.user_id,
            "agent_id": agent.id,
            "key_id": _key(ctx, agent.name),
            "cron": args.cron,
            "time_zone": args.time_zone,
            "event": args.event,
            "request": args.request,
            "scope": {
                "model": args.model or default_model(ctx),
                "commands": args.commands,
                "effects": args.effects,
                "rules": args.rules,
                "mind": "tools",
                "tokens": args.max_tokens,
                "steps": args.max_steps,
            },
            "next_at_ms": next_at_ms,
            "created_at_ms": ctx.now_ms,
        },
    )
    ctx.inverse("schedule.remove", schedule=schedule_id)
    return _view(schedules.find(ctx.hub, principal, schedule_id))


@command(
    "schedule.list",
    effect="read",
    resource="",
    permission="",
    summary="List what begins by itself.",
    columns=("id", "request", "cron", "time_zone", "event", "next_at_ms", "fired", "paused"),
    examples=[Example("hub schedule list", "Yours; an administrator's organisation's")],
)
def schedule_list(ctx: Context, args: PageArgs) -> ScheduleList:
    """Newest first."""
    rows = schedules.listing(ctx.hub, ctx.principal, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return ScheduleList(items=[_view(row) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "schedule.remove",
    effect="write",
    resource="schedule",
    sinks=("schedule",),
    permission="",
    summary="Let it begin no more; runs that it began stay.",
    positional=("schedule",),
    examples=[Example("hub schedule remove schedule_01…", "`hub audit undo` puts it back")],
)
def schedule_remove(ctx: Context, args: ScheduleNamed) -> ScheduleView:
    """By id."""
    found = schedules.find(ctx.hub, ctx.principal, args.schedule)
    schedules.remove(ctx.hub, found.id)
    return _view(found)


def _key(ctx: Context, agent: str) -> str:
    """A key without a secret: what it begins acts as the person while their own key counts."""
    principal = ctx.principal
    root = principal.parent_key_id or principal.key_id
    spec = KeySpec(
        org_id=principal.org_id,
        name=f"schedule of {agent}",
        scopes=principal.scopes,
        user_id=principal.user_id,
        team_id=principal.team_id,
        project_id=principal.project_id,
        models=principal.models,
        expires_at_ms=principal.expires_at_ms,
        app="agent",
        parent_key_id=None if root == "local" else root,
    )
    return insert_key(ctx.hub, spec, at_ms=ctx.now_ms)


def _view(row: Schedule) -> ScheduleView:
    known = {name: getattr(row, name) for name in ScheduleView.model_fields if name in Schedule.__slots__}
    return ScheduleView(
        **known, model=row.scope["model"], commands=row.scope["commands"], effects=row.scope["effects"]
    )
