"""`hub outbox …`: what is about to leave the hub, what has left it, and what became of it."""

from typing import Literal

from pydantic import Field
from sqlalchemy import Connection, select

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.db import outbox
from tokenhub.db.outbox import Letter
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, PermissionDenied
from tokenhub.work.calendar_tables import hooks
from tokenhub.work.errors import OutboxNotFound
from tokenhub.work.people import names_of

VERBS: list[Command] = []


class OutboxView(Model):
    """Something that leaves the hub."""

    id: str = Field(description="Also the idempotency key that the receiver gets.")
    state: str = Field(description="`waiting`, `sending`, `delivered`, `failed`, `unknown` or `withdrawn`.")
    hook: str
    kind: str
    text: str
    actor: str
    send_at_ms: int = Field(description="Not sent before.")
    attempts: int
    unknowns: int = Field(description="Attempts of which nobody knows whether they arrived.")
    error: str = Field(description="What the last attempt said.")
    ended_at_ms: int | None


class OutboxNamed(Model):
    """One of them."""

    letter: str = Field(description="Its id, as `hub outbox list` tells it.")


class OutboxListArgs(PageArgs):
    """Which."""

    state: Literal["", "waiting", "sending", "delivered", "failed", "unknown", "withdrawn"] = Field(
        default="", description="Only in this state; empty = all."
    )
    all: bool = Field(default=False, description="Of everyone in the organisation (administrators only).")


class OutboxList(PageResult):
    """A page of them."""

    items: list[OutboxView]


@command(
    "outbox.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List what leaves the hub, and what has left it.",
    columns=("id", "state", "hook", "text", "send_at_ms", "attempts", "error"),
    examples=[Example("hub outbox list --state waiting", "What can still be withdrawn")],
)
def outbox_list(ctx: Context, args: OutboxListArgs) -> OutboxList:
    """Newest first: what you sent, or what was done by you and told somebody outside."""
    if args.all and not ctx.principal.allows("admin"):
        raise PermissionDenied("Only administrators see what others sent.", param="all")
    mine = outbox.of_actor(ctx.principal.org_id, None if args.all else ctx.principal.actor)
    states = [args.state] if args.state else []
    found = outbox.listing(ctx.hub, mine, states=states, after=args.after, limit=args.limit)
    shown = page(found, limit=args.limit, key=lambda letter: letter.id)
    return OutboxList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "outbox.show",
    effect="read",
    resource="outbox:letter",
    permission="read",
    trust="untrusted",
    summary="Show one thing that leaves or has left the hub.",
    positional=("letter",),
    examples=[Example("hub outbox show out_01…", "Attempts, the last error, unknown outcomes")],
)
def outbox_show(ctx: Context, args: OutboxNamed) -> OutboxView:
    """`unknowns` above 0 = the receiver may have got it, perhaps more than once; it can tell by the key."""
    return _views(ctx, [_find(ctx.hub, ctx.principal, args.letter)])[0]


@command(
    "outbox.unsend",
    effect="write",
    resource="outbox:letter",
    sinks=("letter",),
    permission="work",
    trust="untrusted",
    summary="Withdraw something before it leaves the hub.",
    positional=("letter",),
    examples=[Example("hub outbox unsend out_01…", "While it waits; `outbox_wait_s` says how long that is")],
)
def outbox_unsend(ctx: Context, args: OutboxNamed) -> OutboxView:
    """Refused once it is under way. An undo of this sends it after all."""
    letter = _find(ctx.hub, ctx.principal, args.letter)
    if not outbox.withdraw(ctx.hub, outbox.named(letter.id), at_ms=ctx.now_ms):
        raise Conflict(
            f"It is {letter.state} and cannot be withdrawn any more.", code="already_sent", param="letter"
        )
    return outbox_show(ctx, OutboxNamed(letter=letter.id))


@command(
    "outbox.resend",
    effect="irreversible",
    resource="outbox:letter",
    sinks=("letter",),
    permission="work",
    trust="untrusted",
    summary="Send again what failed, or what may not have arrived.",
    positional=("letter",),
    examples=[
        Example("hub outbox resend out_01…", "Under its old key: a receiver that keeps keys acts once")
    ],
)
def outbox_resend(ctx: Context, args: OutboxNamed) -> OutboxView:
    """Only what ended as `failed` or `unknown`. It waits again first."""
    letter = _find(ctx.hub, ctx.principal, args.letter)
    wait_ms = round(ctx.settings.outbox_wait_s * 1000)
    grant_id = ctx.principal.grant_id
    if not outbox.resend(ctx.hub, letter, grant_id=grant_id, at_ms=ctx.now_ms, wait_ms=wait_ms):
        raise Conflict(f"It is {letter.state}.", code="not_failed", param="letter")
    return outbox_show(ctx, OutboxNamed(letter=letter.id))


@resolver("outbox")
def _outbox(connection: Connection, principal: Principal, named: str) -> Found:
    letter = _find(connection, principal, named)
    return Found(letter.id, letter.actor_id)


def _find(connection: Connection, principal: Principal, named: str) -> Letter:
    """One's own; administrators find those of the organisation. Raises: OutboxNotFound."""
    mine = outbox.of_actor(principal.org_id, None if principal.allows("admin") else principal.actor)
    found = outbox.listing(connection, mine & outbox.named(named), states=(), after=None, limit=1)
    if not found:
        hint = "List them with `hub outbox list`."
        raise OutboxNotFound(f"Nothing {named!r} in the outbox.", param="letter", hint=hint)
    return found[0]


def _views(ctx: Context, letters: list[Letter]) -> list[OutboxView]:
    names = names_of(ctx, [letter.actor_id for letter in letters])
    targets = {letter.target for letter in letters}
    known = {
        row.id: row.name
        for row in ctx.hub.execute(select(hooks.c.id, hooks.c.name).where(hooks.c.id.in_(targets)))
    }
    return [
        OutboxView(
            id=letter.id,
            state=letter.state,
            hook=known.get(letter.target, "(removed)"),
            kind=str(letter.payload.get("kind", "")),
            text=str(letter.payload.get("text", "")),
            actor=names[letter.actor_id],
            send_at_ms=letter.send_at_ms,
            attempts=letter.attempts,
            unknowns=letter.unknowns,
            error=letter.error,
            ended_at_ms=letter.ended_at_ms,
        )
        for letter in letters
    ]
