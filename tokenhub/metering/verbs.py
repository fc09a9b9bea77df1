"""`hub usage …`: what was used, added up."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.identity.directory import Project, Team, User, find
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.kernel.money import format_nano
from tokenhub.metering.summary import DAY_MS, UsageLine, UsageScope, summarize, visible

VERBS: list[Command] = []


class UsageArgs(Model):
    """Which usage, and by what."""

    by: Literal[
        "day", "model", "key", "user", "team", "project", "app", "endpoint", "source", "deployment"
    ] = Field(default="day", description="One line for each of these.")
    since: str = Field(
        default="", description="First instant, such as 2026-11-01 (UTC); empty = 30 days ago."
    )
    until: str = Field(default="", description="First instant after; empty = now.")
    model: str | None = Field(default=None, description="Only this model.")
    user: str | None = Field(default=None, description="Only this person, by name or id.")
    team: str | None = Field(default=None, description="Only this team, by name or id.")
    project: str | None = Field(default=None, description="Only this project, by name or id.")
    key: str | None = Field(default=None, description="Only this key, by id.")


class UsageView(Model):
    """Sums of one group. Prompt tokens include cached ones, completion tokens include reasoning."""

    group: str
    requests: int
    errors: int
    prompt_tokens: int
    cache_read_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    total_tokens: int
    amount_nano: int
    amount: str


class UsageReport(Model):
    """Lines and their total."""

    since: str
    until: str
    items: list[UsageView]
    total: UsageView


@command(
    "usage.show",
    effect="read",
    resource="",
    permission="usage:read",
    summary="Add usage up by day, model, key, person, team and so on.",
    positional=("by",),
    columns=("group", "requests", "prompt_tokens", "completion_tokens", "total_tokens", "amount"),
    examples=[
        Example("hub usage show", "The last 30 days, by day"),
        Example("hub usage show model --since 2026-11-01", "By model since the first of November"),
    ],
)
def usage_show(ctx: Context, args: UsageArgs) -> UsageReport:
    """Without `admin`, only the caller's own usage. Days are UTC."""
    since_ms = _instant(args.since, "since") if args.since else ctx.now_ms - 30 * DAY_MS
    until_ms = _instant(args.until, "until") if args.until else ctx.now_ms + 1
    scope = visible(ctx.principal, _scope(ctx, args))
    lines = summarize(ctx.ledger, scope, by=args.by, since_ms=since_ms, until_ms=until_ms)
    totals = summarize(ctx.ledger, scope, by="total", since_ms=since_ms, until_ms=until_ms)
    currency = ctx.settings.currency
    total = totals[0] if totals else UsageLine("total", 0, 0, 0, 0, 0, 0, 0, 0)
    return UsageReport(
        since=_iso(since_ms),
        until=_iso(until_ms),
        items=[_view(line, currency) for line in lines],
        total=_view(total, currency),
    )


def _scope(ctx: Context, args: UsageArgs) -> UsageScope:
    org_id = ctx.principal.org_id
    return UsageScope(
        org_id=org_id,
        team_id=find(ctx.hub, Team, org_id, args.team, param="team").id if args.team else None,
        project_id=find(ctx.hub, Project, org_id, args.project, param="project").id if args.project else None,
        user_id=find(ctx.hub, User, org_id, args.user, param="user").id if args.user else None,
        key_id=args.key,
        model=args.model,
    )


def _view(line: UsageLine, currency: str) -> UsageView:
    return UsageView(
        group=line.group,
        requests=line.requests,
        errors=line.errors,
        prompt_tokens=line.prompt_tokens,
        cache_read_tokens=line.cache_read_tokens,
        completion_tokens=line.completion_tokens,
        reasoning_tokens=line.reasoning_tokens,
        total_tokens=line.total_tokens,
        amount_nano=line.amount_nano,
        amount=format_nano(line.amount_nano, currency=currency),
    )


def _instant(text: str, param: str) -> int:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(
            f"{text!r} is not a time such as 2026-11-01 or 2026-11-01T12:00:00Z.", param=param
        ) from error
    return int((stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()) * 1000


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
