"""`hub request approve|reject|return|…`: what those who decide do with a request.

Decisions on one request are made one after the other: its row is locked first, so that of two who approve at the same
time the second sees what the first did.
"""

from typing import Any

from pydantic import Field
from sqlalchemy import Row, func, insert, select, update

from tokenhub.commands import Command, Context, Example, command
from tokenhub.kernel.errors import Conflict, InvalidRequest, PermissionDenied
from tokenhub.work.errors import RequestNotFound
from tokenhub.work.people import notify, person
from tokenhub.work.request_routes import (
    ESCALATIONS_MAX,
    HOUR_MS,
    above,
    my_open_steps,
    open_stage,
    stage_done,
    tell_deciders,
)
from tokenhub.work.requests import RequestNamed, RequestWhole, find_request, whole_request
from tokenhub.work.tables import forms, request_steps, requests
from tokenhub.work.telling import HUB

VERBS: list[Command] = []
AGAIN: dict[str, Any] = {
    "state": "waiting",
    "decided_by": None,
    "decided_at_ms": None,
    "deadline_at_ms": None,
}


class RequestDecide(RequestNamed):
    """A decision."""

    comment: str = Field(default="", max_length=2000, description="Why; the requester is told.")


class RequestDelegate(RequestNamed):
    """To whom."""

    user: str = Field(description="Who decides instead of you: name or id.")


class RequestSigner(RequestNamed):
    """Who else."""

    user: str = Field(description="Who has to approve, too: name or id.")
    after: bool = Field(default=False, description="After this stage, instead of together with you.")


class RequestReturn(RequestNamed):
    """How far back."""

    to: int = Field(
        default=0, ge=0, le=100, description="Stage that decides again; 0 = the requester mends it."
    )
    comment: str = Field(min_length=1, max_length=2000, description="What is to be mended.")


@command(
    "request.approve",
    effect="irreversible",
    resource="request",
    sinks=("request",),
    permission="work",
    trust="untrusted",
    summary="Approve the step that waits for you.",
    positional=("request",),
    examples=[
        Example("hub request approve req_01… --comment 'Enjoy it'", "The next step opens, or it is approved")
    ],
)
def request_approve(ctx: Context, args: RequestDecide) -> RequestWhole:
    """A decision stays; ask again for another. Also for somebody who is away and made you their deputy."""
    row, form = _decide(ctx, args, "approved")
    if not stage_done(ctx, row):
        return whole_request(ctx, row.id)
    if open_stage(ctx, row.id, row.step + 1, hours=form.hours, text=form.name):
        ctx.hub.execute(update(requests).where(requests.c.id == row.id).values(step=row.step + 1))
    else:
        _end(ctx, row, "approved", args.comment or form.name)
    return whole_request(ctx, row.id)


@command(
    "request.reject",
    effect="irreversible",
    resource="request",
    sinks=("request",),
    permission="work",
    trust="untrusted",
    summary="Reject the request whose step waits for you.",
    positional=("request",),
    examples=[Example("hub request reject req_01… --comment 'Not in December'", "It ends there")],
)
def request_reject(ctx: Context, args: RequestDecide) -> RequestWhole:
    """A decision stays; the requester can ask again. One no is enough, also where several decide together."""
    row, form = _decide(ctx, args, "rejected")
    others = (request_steps.c.request_id == row.id) & (request_steps.c.state == "open")
    ctx.hub.execute(update(request_steps).where(others).values(state="passed"))
    _end(ctx, row, "rejected", args.comment or form.name)
    return whole_request(ctx, row.id)


@command(
    "request.delegate",
    effect="write",
    resource="request",
    sinks=("request", "user"),
    permission="work",
    trust="untrusted",
    summary="Let somebody else decide your step.",
    positional=("request", "user"),
    examples=[Example("hub request delegate req_01… bob", "Bob is told")],
)
def request_delegate(ctx: Context, args: RequestDelegate) -> RequestWhole:
    """Only while it is open, and never to the requester. For a time away, see `hub absence create`."""
    row = _locked(ctx, args.request)
    user = person(ctx, args.user, param="user")
    if user.id == row.requester_id:
        raise PermissionDenied("Nobody decides their own request.", param="user")
    mine = request_steps.c.approver_id == ctx.principal.actor
    changed = ctx.hub.execute(
        update(request_steps).where(my_open_steps(ctx, row), mine).values(approver_id=user.id)
    )
    if not changed.rowcount:
        raise PermissionDenied("No step of this request waits for you.", param="request")
    notify(ctx, [user.id], kind="to_decide", subject=row.id, text="delegated to you")
    return whole_request(ctx, row.id)


@command(
    "request.add-signer",
    effect="write",
    resource="request",
    sinks=("request", "user"),
    permission="work",
    trust="untrusted",
    summary="Bring in somebody else who has to approve.",
    positional=("request", "user"),
    examples=[
        Example(
            "hub request add-signer req_01… eve --after", "When you have approved, Eve decides, then the rest"
        )
    ],
)
def request_add_signer(ctx: Context, args: RequestSigner) -> RequestWhole:
    """By whoever's step is open: together with you, or after this stage; never the requester."""
    row = _locked(ctx, args.request)
    _must_be_mine(ctx, row)
    user = person(ctx, args.user, param="user")
    if user.id == row.requester_id:
        raise PermissionDenied("Nobody decides their own request.", param="user")
    here = request_steps.c.request_id == row.id
    steps = ctx.hub.execute(select(request_steps).where(here)).all()
    if any(one.stage == row.step and one.approver_id == user.id for one in steps) and not args.after:
        raise Conflict(f"{user.name!r} decides this stage already.", code="already_signer", param="user")
    stage = row.step + 1 if args.after else row.step
    if args.after:
        for one in steps:
            if one.stage >= stage:
                moved = here & (request_steps.c.step == one.step)
                ctx.hub.execute(update(request_steps).where(moved).values(stage=one.stage + 1))
    form = _form_of(ctx, row)
    ctx.hub.execute(
        insert(request_steps).values(
            request_id=row.id,
            step=max(one.step for one in steps) + 1,
            stage=stage,
            mode="all",
            approver_id=user.id,
            added_by=ctx.principal.actor,
            escalations=0,
            state="waiting",
            comment="",
        )
    )
    if not args.after:
        open_stage(ctx, row.id, stage, hours=form.hours, text=form.name)
    return whole_request(ctx, row.id)


@command(
    "request.return",
    effect="write",
    resource="request",
    sinks=("request",),
    permission="work",
    trust="untrusted",
    summary="Send a request back, to the requester or an earlier stage.",
    positional=("request",),
    examples=[
        Example(
            "hub request return req_01… --comment 'Which project?'",
            "The requester mends it: `hub request resubmit`",
        ),
        Example(
            "hub request return req_01… --to 1 --comment 'Look again at the sum'",
            "The first stage decides again",
        ),
    ],
)
def request_return(ctx: Context, args: RequestReturn) -> RequestWhole:
    """By whoever's step is open. Decisions of that stage and the later ones are asked for again."""
    row = _locked(ctx, args.request)
    _must_be_mine(ctx, row)
    if args.to > row.step:
        raise InvalidRequest(f"Stage {args.to} has not decided yet; this is stage {row.step}.", param="to")
    form = _form_of(ctx, row)
    ctx.hub.execute(
        update(request_steps).where(my_open_steps(ctx, row)).values(comment=f"returned: {args.comment}")
    )
    again = (request_steps.c.request_id == row.id) & (request_steps.c.stage >= max(args.to, 1))
    ctx.hub.execute(update(request_steps).where(again).values(**AGAIN))
    state, stage = ("returned", 1) if args.to == 0 else ("open", args.to)
    ctx.hub.execute(update(requests).where(requests.c.id == row.id).values(state=state, step=stage))
    if args.to:
        open_stage(ctx, row.id, args.to, hours=form.hours, text=f"{form.name}, again: {args.comment}")
    notify(ctx, [row.requester_id], kind="returned", subject=row.id, text=args.comment)
    return whole_request(ctx, row.id)


@command(
    "request.escalate",
    effect="write",
    resource="request",
    sinks=("request",),
    permission="work",
    trust="untrusted",
    summary="Pass steps that are past their deadline on, as the form says.",
    positional=("request",),
    examples=[
        Example(
            "hub request escalate req_01…",
            "The hub does so by itself at the deadline; nothing happens before it",
        )
    ],
)
def request_escalate(ctx: Context, args: RequestNamed) -> RequestWhole:
    """To the lead above or the named person, at most three times; each gets the form's hours again."""
    row = _locked(ctx, args.request)
    form = _form_of(ctx, row)
    late = (
        (request_steps.c.request_id == row.id)
        & (request_steps.c.state == "open")
        & (request_steps.c.deadline_at_ms < ctx.now_ms)
        & (request_steps.c.escalations < ESCALATIONS_MAX)
    )
    steps = ctx.hub.execute(select(request_steps).where(late).order_by(request_steps.c.step)).all()
    if row.state != "open" or not steps:
        raise Conflict("No step of this request is past its deadline.", code="not_late", param="request")
    for one in steps:
        here = (request_steps.c.request_id == row.id) & (request_steps.c.step == one.step)
        target = (
            above(ctx, one.approver_id, form.escalate, requester_id=row.requester_id)
            if form.escalate
            else None
        )
        if target is None:
            ctx.hub.execute(update(request_steps).where(here).values(escalations=ESCALATIONS_MAX))
            notify(
                ctx,
                [one.approver_id, row.requester_id],
                kind="late",
                subject=row.id,
                text=f"past its deadline: {form.name}",
            )
            continue
        values = {
            "approver_id": target,
            "escalations": one.escalations + 1,
            "deadline_at_ms": ctx.now_ms + form.hours * HOUR_MS,
        }
        ctx.hub.execute(update(request_steps).where(here).values(**values))
        tell_deciders(ctx, row.id, [target], text=f"{form.name} (past its deadline)")
        told = [one.approver_id, row.requester_id]
        notify(ctx, told, kind="escalated", subject=row.id, text=f"passed on, past its deadline: {form.name}")
    return whole_request(ctx, row.id)


def _locked(ctx: Context, request_id: str) -> Row[Any]:
    """The request, which nobody else decides now. Raises: RequestNotFound."""
    if ctx.principal.actor == HUB:  # the hub's own clock, which no key is
        mine = requests.c.org_id == ctx.principal.org_id
        if ctx.hub.execute(select(requests.c.id).where(mine, requests.c.id == request_id)).first() is None:
            raise RequestNotFound(f"No request {request_id!r}.", param="request")
    else:
        find_request(ctx.hub, ctx.principal, request_id)
    return ctx.hub.execute(select(requests).where(requests.c.id == request_id).with_for_update()).one()


def _must_be_mine(ctx: Context, row: Row[Any]) -> None:
    found = select(func.count()).select_from(request_steps).where(my_open_steps(ctx, row))
    if row.state != "open" or not ctx.hub.execute(found).scalar_one():
        raise PermissionDenied("No step of this request waits for you.", param="request")


def _decide(ctx: Context, args: RequestDecide, state: str) -> tuple[Row[Any], Row[Any]]:
    row = _locked(ctx, args.request)
    _must_be_mine(ctx, row)
    values = {
        "state": state,
        "decided_by": ctx.principal.actor,
        "comment": args.comment,
        "decided_at_ms": ctx.now_ms,
    }
    ctx.hub.execute(update(request_steps).where(my_open_steps(ctx, row)).values(**values))
    return row, _form_of(ctx, row)


def _form_of(ctx: Context, row: Row[Any]) -> Row[Any]:
    return ctx.hub.execute(select(forms).where(forms.c.id == row.form_id)).one()


def _end(ctx: Context, row: Row[Any], state: str, text: str) -> None:
    ctx.hub.execute(
        update(requests).where(requests.c.id == row.id).values(state=state, ended_at_ms=ctx.now_ms)
    )
    notify(ctx, [row.requester_id], kind="decided", subject=row.id, text=f"{state}: {text}")
