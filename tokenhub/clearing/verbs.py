"""`hub ledger …`: statements, proofs and corrections of the books."""

from datetime import UTC, datetime

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.clearing.corrections import correct
from tokenhub.clearing.reconcile import post_residual, reconcile
from tokenhub.clearing.statements import StatementLine, statement, statement_line
from tokenhub.clearing.verify import verify
from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import NotFound
from tokenhub.kernel.money import format_nano
from tokenhub.ledger.store import balances, get_transfer
from tokenhub.metering.summary import UsageScope, visible

VERBS: list[Command] = []


class NoArgs(Model):
    """Nothing to say."""


class LineView(Model):
    """One request in the books. `transfer` is its place in the hash chain."""

    request_id: str
    at: str
    model: str
    endpoint: str
    app: str
    key_id: str
    user_id: str | None
    prompt_tokens: int
    cache_read_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    total_tokens: int
    created_tokens: int = Field(description="Output tokens that the engine made.")
    undelivered_tokens: int = Field(description="Made and not delivered (the client had gone).")
    applied_tokens: int | None
    discarded_tokens: int | None
    amount_nano: int
    amount: str
    price_version_id: str
    source: str = Field(description="Who counted: engine, provider or estimate.")
    finish: str
    status: int
    latency_ms: int
    ttft_ms: int
    deployment_id: str
    engine_boot: str
    transfer_id: str
    transfer: int
    transfer_hash: str
    corrected_by: str | None


class StatementArgs(PageArgs):
    """Whose lines."""

    model: str | None = Field(default=None, description="Only this model.")
    key: str | None = Field(default=None, description="Only this key, by id.")


class StatementPage(PageResult):
    """A page of lines."""

    items: list[LineView]


class RequestArgs(Model):
    """One request."""

    request_id: str = Field(description="The `x-request-id` of its answer.")


class EntryView(Model):
    """One side of a transfer; positive is debit."""

    account: str
    unit: str
    amount: int


class RequestView(Model):
    """A line, and the entries of the transfer that settled it (with its neighbours in the batch)."""

    line: LineView
    entries: list[EntryView]


class VerifyResult(Model):
    """Whether the books are whole."""

    whole: bool
    findings: list[str]
    trial_balance: list[EntryView] = Field(description="Sum of all accounts of a kind; each unit sums to 0.")


class BootView(Model):
    """One boot of one of our engines, in tokens."""

    engine_boot: str
    engine_output: int = Field(description="Output tokens by the engine's own counter.")
    created: int = Field(description="Output tokens by the books.")
    delivered: int
    undelivered: int
    applied: int
    discarded: int
    unattributed: int
    unconfirmed: int = Field(
        description="Of `created`: tokens that the engine did not live to count (or has yet to); the gateway did."
    )
    output_residual: int = Field(description="0 = conserved.")
    engine_prompt: int
    prompt: int
    prompt_residual: int
    requests: int


class ReconcileResult(Model):
    """Created = delivered + undelivered, engine by engine."""

    conserved: bool
    residual: int
    items: list[BootView]
    broken_requests: list[str]


class CorrectArgs(RequestArgs):
    """Which charge to take back, and why."""

    reason: str = Field(min_length=3, max_length=500, description="Why; it stays in the books.")


class TransferView(Model):
    """A posted transfer."""

    transfer_id: str
    reverses: str
    reason: str


class ResidualArgs(Model):
    """Which engine boot."""

    engine_boot: str = Field(description="As `hub ledger reconcile` names it.")


@command(
    "ledger.statement",
    effect="read",
    resource="",
    permission="usage:read",
    summary="List requests as they were charged, newest first.",
    columns=("request_id", "at", "model", "prompt_tokens", "completion_tokens", "amount", "finish"),
    examples=[Example("hub ledger statement --limit 10", "The last ten requests")],
)
def ledger_statement(ctx: Context, args: StatementArgs) -> StatementPage:
    """Without `admin`, only the caller's own requests."""
    rows = statement(
        ctx.ledger,
        ctx.principal,
        scope=UsageScope(model=args.model, key_id=args.key),
        before=args.after,
        limit=args.limit + 1,
    )
    shown = page(rows, limit=args.limit, key=lambda line: line.event.request_id)
    return StatementPage(items=[_line(line) for line in shown.items], next_cursor=shown.next_cursor)


@command(
    "ledger.show",
    effect="read",
    resource="call:request_id",
    permission="usage:read",
    summary="Show one request in the books.",
    positional=("request_id",),
    examples=[Example("hub ledger show req_01M8…", "Its tokens, price, transfer and hash")],
)
def ledger_show(ctx: Context, args: RequestArgs) -> RequestView:
    """In the books within about 50 ms of its end."""
    line = statement_line(ctx.ledger, args.request_id)
    if line is None or not _may_see(ctx, line):
        raise NotFound(f"No request {args.request_id!r} is in the books (yet).", param="request_id")
    posted = get_transfer(ctx.ledger, line.transfer_id)
    entries = () if posted is None or not ctx.principal.allows("admin") else posted.entries
    return RequestView(
        line=_line(line),
        entries=[EntryView(account=name, unit=unit, amount=amount) for name, unit, amount in entries],
    )


@command(
    "ledger.verify",
    effect="read",
    resource="",
    permission="admin",
    summary="Prove that the books are whole.",
    examples=[Example("hub ledger verify", "Recomputes every bucket, account, lease and hash")],
)
def ledger_verify(ctx: Context, args: NoArgs) -> VerifyResult:
    """Recomputes what is recorded from what lies beneath it; names every difference."""
    findings = verify(ctx.ledger)
    return VerifyResult(
        whole=not findings,
        findings=findings,
        trial_balance=[
            EntryView(account=name.split("/")[0], unit=name.split("/")[1], amount=amount)
            for name, amount in balances(ctx.ledger)
        ],
    )


@command(
    "ledger.reconcile",
    effect="read",
    resource="",
    permission="admin",
    summary="Compare what the engines made with what was delivered.",
    columns=("engine_boot", "engine_output", "created", "delivered", "undelivered", "output_residual"),
    examples=[Example("hub ledger reconcile", "The residual is 0 if every token is accounted for")],
)
def ledger_reconcile(ctx: Context, args: NoArgs) -> ReconcileResult:
    """Created = delivered + undelivered; delivered = applied + discarded + unattributed."""
    found = reconcile(ctx.ledger)
    return ReconcileResult(
        conserved=found.residual == 0 and not found.broken_requests,
        residual=found.residual,
        items=[
            BootView(
                engine_boot=boot.engine_boot,
                engine_output=boot.engine_output,
                created=boot.created,
                delivered=boot.delivered,
                undelivered=boot.undelivered,
                applied=boot.applied,
                discarded=boot.discarded,
                unattributed=boot.unattributed,
                unconfirmed=boot.unconfirmed,
                output_residual=boot.output_residual,
                engine_prompt=boot.engine_prompt,
                prompt=boot.prompt,
                prompt_residual=boot.prompt_residual,
                requests=boot.requests,
            )
            for boot in found.boots
        ],
        broken_requests=list(found.broken_requests),
    )


@command(
    "ledger.post-residual",
    effect="irreversible",
    resource="",
    writes="ledger",
    permission="admin",
    summary="Book what a crash left open on an engine as undelivered.",
    positional=("engine_boot",),
    examples=[Example("hub ledger post-residual boot_01M8…", "After a crash, with nothing in flight")],
)
def ledger_post_residual(ctx: Context, args: ResidualArgs) -> TransferView:
    """Only when the boot has nothing in flight; `hub ledger reconcile` is then at 0 for it."""
    line = next((boot for boot in reconcile(ctx.ledger).boots if boot.engine_boot == args.engine_boot), None)
    if line is None:
        raise NotFound(
            f"No engine boot {args.engine_boot!r}; see `hub ledger reconcile`.", param="engine_boot"
        )
    posted = post_residual(ctx.ledger, line, actor=ctx.principal.actor, now_ms=ctx.now_ms)
    return TransferView(
        transfer_id=posted or "", reverses="", reason=f"residual of {line.output_residual} tokens"
    )


@command(
    "ledger.correct",
    effect="irreversible",
    resource="call:request_id",
    sinks=("request_id",),
    writes="ledger",
    permission="admin",
    summary="Take a request's charge back.",
    positional=("request_id",),
    examples=[Example('hub ledger correct req_01M8… --reason "goodwill"', "Posts the reversing transfer")],
)
def ledger_correct(ctx: Context, args: CorrectArgs) -> TransferView:
    """Nothing is changed or deleted: a reversing transfer is posted, and the budgets get the amount back."""
    line = statement_line(ctx.ledger, args.request_id)
    if line is None or line.event.org_id != ctx.principal.org_id:
        raise NotFound(f"No request {args.request_id!r} is in the books (yet).", param="request_id")
    posted = correct(
        ctx.ledger, args.request_id, reason=args.reason, actor=ctx.principal.actor, now_ms=ctx.now_ms
    )
    return TransferView(transfer_id=posted, reverses=line.transfer_id, reason=args.reason)


@resolver("call", books="ledger")
def _call(_connection: Connection, _principal: Principal, named: str) -> Found:
    """A request to a model has no other name than its id; whether it is in the books, the verb says."""
    return Found(named)


def _may_see(ctx: Context, line: StatementLine) -> bool:
    scope = visible(ctx.principal, UsageScope())
    event = line.event
    return (
        event.org_id == scope.org_id
        and scope.user_id in (None, event.user_id)
        and scope.key_id in (None, event.key_id)
    )


def _line(line: StatementLine) -> LineView:
    event = line.event
    stamp = datetime.fromtimestamp(event.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return LineView(
        request_id=event.request_id,
        at=stamp.replace("+00:00", "Z"),
        model=event.model,
        endpoint=event.endpoint,
        app=event.app,
        key_id=event.key_id,
        user_id=event.user_id,
        prompt_tokens=event.prompt_tokens,
        cache_read_tokens=event.cache_read_tokens,
        completion_tokens=event.completion_tokens,
        reasoning_tokens=event.reasoning_tokens,
        total_tokens=event.total_tokens,
        created_tokens=event.created_tokens,
        undelivered_tokens=event.undelivered_tokens,
        applied_tokens=line.applied_tokens,
        discarded_tokens=line.discarded_tokens,
        amount_nano=event.amount_nano,
        amount=format_nano(event.amount_nano, currency=event.currency),
        price_version_id=event.price_version_id,
        source=event.source,
        finish=event.finish,
        status=event.status,
        latency_ms=event.latency_ms,
        ttft_ms=event.ttft_ms,
        deployment_id=event.deployment_id,
        engine_boot=event.engine_boot,
        transfer_id=line.transfer_id,
        transfer=line.transfer_seq,
        transfer_hash=line.transfer_hash,
        corrected_by=line.corrected_by,
    )
