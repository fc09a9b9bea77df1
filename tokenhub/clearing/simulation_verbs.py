"""`hub price simulate`: the noun is the price book's, the reading of usage makes it clearing's."""

from calendar import monthrange
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from tokenhub.clearing.simulation import Line, Scope, simulate_book, simulate_version
from tokenhub.commands import Context, Example, Model, command
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.kernel.money import format_nano
from tokenhub.pricing.store import DEFAULT_BOOK
from tokenhub.pricing.verbs import iso, parse_instant_ms

GROUPS = {
    "model": "model",
    "team": "team_id",
    "project": "project_id",
    "user": "user_id",
    "key": "key_id",
    "app": "app",
}


class SimulateArgs(Model):
    book: str = Field(default=DEFAULT_BOOK, description="The price book to rate under.")
    version: str = Field(
        default="", description="One price version instead of a book: rates its own model only."
    )
    month: str = Field(default="", description="A calendar month, UTC, such as 2026-10.")
    since: str = Field(default="", description="Start, ISO 8601; empty means the start of this month.")
    until: str = Field(default="", description="End (exclusive), ISO 8601; empty means now.")
    as_of: str = Field(
        default="",
        description="Rate everything at the prices of this instant (ISO 8601, or `now`), not of its own time.",
    )
    by: Literal["model", "team", "project", "user", "key", "app"] = Field(
        default="model", description="Group lines by."
    )
    model: str | None = Field(default=None, description="Only usage of this model.")
    team: str | None = Field(default=None, description="Only usage of this team (id).")


class SimulatedLine(Model):
    """Booked against simulated; amounts as exact decimals and in nano-units."""

    group: str
    requests: int
    tokens: int
    booked: str
    simulated: str
    difference: str
    booked_nano: int
    simulated_nano: int
    difference_nano: int
    unpriced: int = Field(description="Requests that the book has no price for; simulated as 0.")


class SimulationResult(Model):
    """The lines by group, largest first, and their sum."""

    items: list[SimulatedLine]
    total: SimulatedLine
    since: str
    until: str


@command(
    "price.simulate",
    effect="read",
    resource="",
    permission="admin",
    summary="Re-rate past usage under another price book or version.",
    columns=("group", "requests", "tokens", "booked", "simulated", "difference", "unpriced"),
    examples=[
        Example(
            "hub price simulate --month 2026-10", "Last month under its own book: equal to what was booked"
        ),
        Example("hub price simulate --book list --by team", "This month at list prices, by team"),
    ],
)
def price_simulate(ctx: Context, args: SimulateArgs) -> SimulationResult:
    """Nothing is changed: the stored usage of each request is rated again by the same function that booked it."""
    start_ms, end_ms = _period(args, ctx.now_ms)
    scope = Scope(ctx.principal.org_id, start_ms, end_ms, GROUPS[args.by], args.model, args.team)
    if args.version:
        result = simulate_version(ctx.hub, ctx.ledger, scope, version_id=args.version)
    else:
        as_of_ms = _as_of_ms(args.as_of, ctx.now_ms)
        result = simulate_book(ctx.hub, ctx.ledger, scope, book=args.book, as_of_ms=as_of_ms)
    currency = ctx.settings.currency
    return SimulationResult(
        items=[_view(line, currency) for line in result.lines],
        total=_view(result.total, currency),
        since=iso(start_ms),
        until=iso(end_ms),
    )


def _period(args: SimulateArgs, now_ms: int) -> tuple[int, int]:
    if args.month:
        return _month(args.month)
    first_day = datetime.fromtimestamp(now_ms // 1000, UTC).replace(day=1, hour=0, minute=0, second=0)
    start_ms = (
        parse_instant_ms(args.since, param="since") if args.since else int(first_day.timestamp()) * 1000
    )
    end_ms = parse_instant_ms(args.until, param="until") if args.until else now_ms + 1
    if end_ms <= start_ms:
        raise InvalidRequest("The period ends before it starts.", param="until")
    return start_ms, end_ms


def _month(text: str) -> tuple[int, int]:
    try:
        first = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is not a month such as 2026-10.", param="month") from error
    start_ms = int(first.timestamp()) * 1000
    return start_ms, start_ms + monthrange(first.year, first.month)[1] * 86_400_000


def _as_of_ms(text: str, now_ms: int) -> int | None:
    if not text:
        return None
    return now_ms if text == "now" else parse_instant_ms(text, param="as_of")


def _view(line: Line, currency: str) -> SimulatedLine:
    return SimulatedLine(
        group=line.group,
        requests=line.requests,
        tokens=line.tokens,
        booked=format_nano(line.booked_nano, currency=currency),
        simulated=format_nano(line.simulated_nano, currency=currency),
        difference=format_nano(line.difference_nano, currency=currency),
        booked_nano=line.booked_nano,
        simulated_nano=line.simulated_nano,
        difference_nano=line.difference_nano,
        unpriced=line.unpriced,
    )
