"""`hub budget …`: limits on keys, people, teams, projects, models and the organisation."""

from typing import Literal, cast

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.budgets import store
from tokenhub.budgets.forecast import forecast
from tokenhub.budgets.store import StoredLimit
from tokenhub.budgets.types import Limit, ScopeType, WindowKind
from tokenhub.budgets.windows import FOREVER_MS
from tokenhub.budgets.wording import UNITS, describe_window, format_amount, iso, parse_amount, parse_window
from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity.directory import Project, ServiceAccount, Team, User, find
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest, NotFound
from tokenhub.kernel.ids import new_id
from tokenhub.ledger import buckets
from tokenhub.ledger.buckets import BucketState
from tokenhub.ledger.types import Unit

VERBS: list[Command] = []
ANCHOR_MS_MAX = 7_258_118_400_000
"""The year 2200."""


class BudgetView(Model):
    """A limit and how it stands. Amounts are in `unit`; money in nano-units, and readable in the texts."""

    id: str
    name: str
    scope: str = Field(description="`org`, or what it limits and its id, such as `user:user_01…`.")
    unit: str
    cap: int
    used: int = Field(description="Used in the running window, by requests that have ended.")
    held: int = Field(description="Promised to requests that run now, or leased by a gateway.")
    overage: int = Field(description="Booked by outside providers beyond what was promised.")
    left: int
    limit_text: str = Field(description="The cap as people read it.")
    used_text: str
    hard: bool = Field(description="False: it only counts.")
    window: str
    model: str | None
    resets_at: str = Field(description="When the window ends; empty = never, or not begun yet.")
    used_up_at: str = Field(
        description="Forecast: when it is used up at the rate so far; empty = not in this window."
    )
    forecast_at_end: int | None = Field(
        description="Forecast: use by the end of the window; null = no end or no use."
    )


class BudgetCreate(Model):
    """A new limit."""

    scope: str = Field(
        description="What it limits: `org`, or `user:NAME`, `team:NAME`, `project:NAME`, `key:ID`, `model:NAME`."
    )
    cap: str = Field(
        description="Most that may be used in one window: 500000, 500k, 20M; money in units of the currency."
    )
    unit: Literal["tokens", "requests", "money", "concurrency"] = Field(
        default="tokens", description="What it counts."
    )
    window: str = Field(
        default="lifetime", description="`lifetime`, `minute` … `year`, or a length such as `5h` or `30d`."
    )
    kind: Literal["calendar", "anniversary", "anchored", "rolling"] | None = Field(
        default=None,
        description="How windows follow each other: by the calendar, from `anchor_ms`, from the first use, or rolling"
        " (the default for `minute` and lengths such as `5h`).",
    )
    tz: str = Field(
        default="UTC", description="Time zone of calendar and anniversary windows, such as Europe/Paris."
    )
    anchor_ms: int = Field(
        default=0,
        ge=0,
        le=ANCHOR_MS_MAX,
        description="Start of anniversary windows, in ms since 1970; 0 = now.",
    )
    model: str | None = Field(default=None, description="Count only requests for this model.")
    soft: bool = Field(default=False, description="Count, but never refuse.")
    name: str = Field(
        default="", max_length=60, description="Name in messages and headers; empty = made from the scope."
    )


class BudgetNamed(Model):
    """One limit."""

    budget: str = Field(description="Id or name of the budget.")


class BudgetSet(BudgetNamed):
    """A change of a limit."""

    cap: str | None = Field(
        default=None, description="New cap, from now on; what is used already stays used."
    )
    soft: bool | None = Field(default=None, description="True: only count from now on; false: refuse again.")


class BudgetRemoved(Model):
    """A limit that is no longer in force."""

    id: str
    name: str


class BudgetList(PageResult):
    """A page of limits."""

    items: list[BudgetView]


@command(
    "budget.create",
    effect="write",
    resource="",
    sinks=("scope", "model"),
    undo="budget.remove",
    writes="ledger",
    permission="admin",
    summary="Set a limit on a key, a person, a team, a project, a model or everybody.",
    positional=("scope", "cap"),
    examples=[
        Example("hub budget create user:ana 20M --window year", "A yearly envelope of 20 million tokens"),
        Example(
            "hub budget create org 500 --unit money --window month --tz Europe/Paris",
            "Money, by calendar month",
        ),
        Example(
            "hub budget create user:ana 1M --window 5h --kind rolling", "A million tokens in any five hours"
        ),
        Example(
            "hub budget create model:gpt-5 60 --unit requests --window minute", "Sixty requests a minute"
        ),
    ],
)
def budget_create(ctx: Context, args: BudgetCreate) -> BudgetView:
    """Every limit on a request's path must agree, or it is refused. Gateways follow within a second."""
    unit = UNITS[args.unit]
    scope_type, scope_id, label = _scope(ctx, args.scope)
    kind = cast("WindowKind | None", args.kind)
    limit = Limit(
        id=new_id("lim"),
        scope_type=scope_type,
        scope_id=scope_id,
        unit=unit,
        cap=parse_amount(args.cap, unit),
        hard=not args.soft,
        window=parse_window(args.window, kind=kind, tz=args.tz, anchor_ms=args.anchor_ms or ctx.now_ms),
        model=args.model,
        name=args.name or f"{label}-{args.unit}-{args.window}",
    )
    if unit == Unit.CONCURRENCY and limit.window.kind != "lifetime":
        raise InvalidRequest("A limit of requests at a time has no window.", param="window")
    store.create_limit(ctx.ledger, limit, now_ms=ctx.now_ms, org_id=ctx.principal.org_id)
    ctx.inverse("budget.remove", budget=limit.id)
    return _views(ctx, [StoredLimit(limit, ctx.now_ms)])[0]


@command(
    "budget.list",
    effect="read",
    resource="",
    permission="read",
    summary="List limits and how they stand.",
    columns=("name", "scope", "unit", "used_text", "limit_text", "window", "resets_at", "used_up_at"),
    examples=[Example("hub budget list", "Newest first")],
)
def budget_list(ctx: Context, args: PageArgs) -> BudgetList:
    """Newest first. Without `admin`, only the limits on the caller's own path."""
    rows = store.list_limits(ctx.ledger, ctx.principal.org_id, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.limit.id)
    visible = [row for row in shown.items if _may_see(ctx, row.limit)]
    return BudgetList(items=_views(ctx, visible), next_cursor=shown.next_cursor)


@command(
    "budget.show",
    effect="read",
    resource="budget",
    permission="read",
    summary="Show one limit: used, held, left, and when it will be used up.",
    positional=("budget",),
    examples=[Example("hub budget show ana-tokens-year", "Used, held and the forecast date")],
)
def budget_show(ctx: Context, args: BudgetNamed) -> BudgetView:
    """The forecast is the rate since the window began, continued."""
    found = store.find_limit(ctx.ledger, ctx.principal.org_id, args.budget)
    if not _may_see(ctx, found.limit):
        raise NotFound(f"No budget is called {args.budget!r}; see `hub budget list`.", param="budget")
    return _views(ctx, [found])[0]


@command(
    "budget.set",
    effect="write",
    resource="budget",
    sinks=("budget",),
    undo="budget.set",
    writes="ledger",
    permission="admin",
    summary="Change a limit's cap, or whether it refuses.",
    positional=("budget",),
    examples=[Example("hub budget set ana-tokens-year --cap 30M", "Raise the envelope")],
)
def budget_set(ctx: Context, args: BudgetSet) -> BudgetView:
    """Takes effect within a second. Below what is used already, nothing more is given."""
    found = store.find_limit(ctx.ledger, ctx.principal.org_id, args.budget)
    limit = found.limit
    cap = limit.cap if args.cap is None else parse_amount(args.cap, limit.unit)
    hard = limit.hard if args.soft is None else not args.soft
    store.set_limit(ctx.ledger, limit.id, cap=cap, hard=hard, now_ms=ctx.now_ms)
    before = f"{limit.cap // 10**9}.{limit.cap % 10**9:09d}" if limit.unit == Unit.MONEY else str(limit.cap)
    ctx.inverse("budget.set", budget=limit.id, cap=before, soft=not limit.hard)
    return _views(ctx, [store.find_limit(ctx.ledger, ctx.principal.org_id, limit.id)])[0]


@command(
    "budget.remove",
    effect="write",
    resource="budget",
    sinks=("budget",),
    writes="ledger",
    permission="admin",
    summary="Take a limit out of force.",
    positional=("budget",),
    examples=[Example("hub budget remove ana-tokens-year", "What it counted stays in the books")],
)
def budget_remove(ctx: Context, args: BudgetNamed) -> BudgetRemoved:
    """Gateways stop asking it within a second."""
    limit = store.find_limit(ctx.ledger, ctx.principal.org_id, args.budget).limit
    store.remove_limit(ctx.ledger, limit.id, now_ms=ctx.now_ms)
    return BudgetRemoved(id=limit.id, name=limit.name)


@resolver("budget", books="ledger")
def _budget(connection: Connection, principal: Principal, named: str) -> Found:
    limit = store.find_limit(connection, principal.org_id, named).limit
    return Found(limit.id, name=limit.name)


def _scope(ctx: Context, text: str) -> tuple[ScopeType, str, str]:
    """`user:ana` -> ("user", id, "ana"). Raises: InvalidRequest, NotFound."""
    kind, _, named = text.partition(":")
    org_id = ctx.principal.org_id
    match kind:
        case "org":
            return "org", org_id, "org"
        case "user" if named:
            return "user", find(ctx.hub, User, org_id, named, param="scope").id, named
        case "service-account" if named:
            return "user", find(ctx.hub, ServiceAccount, org_id, named, param="scope").id, named
        case "team" if named:
            return "team", find(ctx.hub, Team, org_id, named, param="scope").id, named
        case "project" if named:
            return "project", find(ctx.hub, Project, org_id, named, param="scope").id, named
        case "key" | "model" if named:
            return kind, named, named
        case _:
            raise InvalidRequest(
                f"{text!r} is not a scope: org, user:NAME, team:NAME, project:NAME, key:ID or model:NAME.",
                param="scope",
            )


def _may_see(ctx: Context, limit: Limit) -> bool:
    principal = ctx.principal
    own = {
        principal.key_id,
        principal.user_id,
        principal.service_account_id,
        principal.team_id,
        principal.project_id,
    }
    return principal.allows("admin") or limit.scope_type in ("org", "model") or limit.scope_id in own


def _views(ctx: Context, rows: list[StoredLimit]) -> list[BudgetView]:
    standing = buckets.states(ctx.ledger, [row.limit.id for row in rows], now_ms=ctx.now_ms)
    return [_view(ctx, row, standing.get(row.limit.id)) for row in rows]


def _view(ctx: Context, row: StoredLimit, state: BucketState | None) -> BudgetView:
    limit = row.limit
    used = state.used + state.overage if state else 0
    until_ms = state.resets_at_ms if state and state.resets_at_ms < FOREVER_MS else None
    rolling = limit.window.kind == "rolling"
    expected = forecast(
        used=0 if rolling else used,
        cap=limit.cap,
        since_ms=max(row.created_at_ms, state.window_start_ms if state else 0),
        until_ms=until_ms,
        now_ms=ctx.now_ms,
    )
    currency = ctx.settings.currency
    return BudgetView(
        id=limit.id,
        name=limit.name,
        scope="org" if limit.scope_type == "org" else f"{limit.scope_type}:{limit.scope_id}",
        unit=next(word for word, unit in UNITS.items() if unit == limit.unit),
        cap=limit.cap,
        used=state.used if state else 0,
        held=state.held if state else 0,
        overage=state.overage if state else 0,
        left=max(0, limit.cap - used - (state.held if state else 0)),
        limit_text=format_amount(limit.cap, limit.unit, currency=currency),
        used_text=format_amount(used, limit.unit, currency=currency),
        hard=limit.hard,
        window=describe_window(limit.window),
        model=limit.model,
        resets_at=iso(until_ms),
        used_up_at=iso(expected.used_up_at_ms),
        forecast_at_end=expected.at_end,
    )
