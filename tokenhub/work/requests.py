"""`hub request …`: approvals: a filled form on its route of several steps, deadlines, delegation.

A route's step is a person (name or id), `lead` (who leads the requester's department, else the one above) or
`role:NAME` (the first person of that role). It is fixed when the request is made, so a change of the form changes no
running request.
"""

import json
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, insert, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity import departments, directory
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, PermissionDenied
from tokenhub.kernel.ids import new_id
from tokenhub.work.errors import RequestNotFound
from tokenhub.work.forms import filled, find_form
from tokenhub.work.people import names_of, notify, person
from tokenhub.work.tables import forms, request_steps, requests
from tokenhub.work.visibility import requests_of

VERBS: list[Command] = []
_HOUR_MS = 3_600_000


class StepView(Model):
    """One step of a request."""

    step: int
    approver: str
    state: str = Field(description="`waiting`, `open`, `approved` or `rejected`.")
    decided_by: str
    comment: str
    deadline_at_ms: int | None
    late: bool
    decided_at_ms: int | None


class RequestView(Model):
    """A request."""

    id: str
    form: str
    requester: str
    state: str = Field(description="`open`, `approved`, `rejected` or `withdrawn`.")
    values: dict[str, Any]
    created_at_ms: int
    ended_at_ms: int | None


class RequestWhole(RequestView):
    """A request and its route."""

    steps: list[StepView]


class RequestCreate(Model):
    """A new request."""

    form: str = Field(description="Name or id of the form.")
    values: dict[str, str | int | bool] = Field(
        max_length=50, description="The form's fields: a JSON object."
    )


class RequestNamed(Model):
    """One request."""

    request: str = Field(description="Id of the request.")


class RequestDecide(RequestNamed):
    """A decision."""

    comment: str = Field(default="", max_length=2000, description="Why; the requester is told.")


class RequestDelegate(RequestNamed):
    """To whom."""

    user: str = Field(description="Who decides instead of you: name or id.")


class RequestListArgs(PageArgs):
    """Which requests."""

    mine: bool = Field(default=False, description="Only those that you made.")
    to_decide: bool = Field(default=False, description="Only those that wait for you.")
    state: Literal["open", "approved", "rejected", "withdrawn", ""] = Field(
        default="", description="Only in this state; empty = all."
    )


class RequestList(PageResult):
    """A page of requests."""

    items: list[RequestView]


@command(
    "request.create",
    effect="write",
    resource="form",
    sinks=("form",),
    permission="work",
    summary="Ask for an approval.",
    positional=("form",),
    examples=[
        Example(
            """hub request create leave --values '{"from": "2026-12-21", "to": "2026-12-31"}'""",
            "Your lead is told",
        )
    ],
)
def request_create(ctx: Context, args: RequestCreate) -> RequestWhole:
    """The route is fixed now. Nobody decides their own request: such a step goes to the person above or an owner."""
    form = find_form(ctx, args.form)
    values = filled(json.loads(form.fields), args.values)
    route = [_approver(ctx, step) for step in json.loads(form.route)]
    request_id = new_id("req")
    ctx.hub.execute(
        insert(requests).values(
            id=request_id,
            org_id=ctx.principal.org_id,
            form_id=form.id,
            requester_id=ctx.principal.actor,
            answers=json.dumps(values, ensure_ascii=False),
            state="open",
            step=1,
            created_at_ms=ctx.now_ms,
        )
    )
    for place, approver in enumerate(route, 1):
        ctx.hub.execute(
            insert(request_steps).values(
                request_id=request_id,
                step=place,
                stage=place,
                mode="all",
                escalations=0,
                approver_id=approver,
                state="open" if place == 1 else "waiting",
                comment="",
                deadline_at_ms=ctx.now_ms + form.hours * _HOUR_MS if form.hours and place == 1 else None,
            )
        )
    notify(ctx, [route[0]], kind="to_decide", subject=request_id, text=form.name)
    return _whole(ctx, request_id)


@command(
    "request.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List requests that you made or decide.",
    columns=("id", "form", "requester", "state", "created_at_ms"),
    examples=[Example("hub request list --to-decide", "What waits for you")],
)
def request_list(ctx: Context, args: RequestListArgs) -> RequestList:
    """Newest first."""
    query = select(requests).where(requests_of(ctx.principal)).order_by(requests.c.id.desc())
    if args.mine:
        query = query.where(requests.c.requester_id == ctx.principal.actor)
    if args.to_decide:
        mine = (request_steps.c.approver_id == ctx.principal.actor) & (request_steps.c.state == "open")
        query = query.where(requests.c.id.in_(select(request_steps.c.request_id).where(mine)))
    if args.state:
        query = query.where(requests.c.state == args.state)
    if args.after is not None:
        query = query.where(requests.c.id < args.after)
    shown = page(ctx.hub.execute(query.limit(args.limit + 1)).all(), limit=args.limit, key=lambda row: row.id)
    return RequestList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "request.show",
    effect="read",
    resource="request",
    permission="read",
    trust="untrusted",
    summary="Show a request and its route.",
    positional=("request",),
    examples=[Example("hub request show req_01…", "Who decided what, and who is next")],
)
def request_show(ctx: Context, args: RequestNamed) -> RequestWhole:
    """By id."""
    return _whole(ctx, _find(ctx.hub, ctx.principal, args.request).id)


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
    """A decision stays; ask again for another."""
    row, form = _decide(ctx, args, "approved")
    following = (request_steps.c.request_id == row.id) & (request_steps.c.step == row.step + 1)
    deadline = ctx.now_ms + form.hours * _HOUR_MS if form.hours else None
    opened = ctx.hub.execute(
        update(request_steps)
        .where(following)
        .values(state="open", deadline_at_ms=deadline)
        .returning(request_steps.c.approver_id)
    ).scalar_one_or_none()
    if opened is None:
        _end(ctx, row, "approved", args.comment or form.name)
    else:
        ctx.hub.execute(update(requests).where(requests.c.id == row.id).values(step=row.step + 1))
        notify(ctx, [opened], kind="to_decide", subject=row.id, text=form.name)
    return _whole(ctx, row.id)


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
    """A decision stays; the requester can ask again."""
    row, form = _decide(ctx, args, "rejected")
    _end(ctx, row, "rejected", args.comment or form.name)
    return _whole(ctx, row.id)


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
    """Only while it is open, and never to the requester."""
    row = _find(ctx.hub, ctx.principal, args.request)
    user = person(ctx, args.user, param="user")
    if user.id == row.requester_id:
        raise PermissionDenied("Nobody decides their own request.", param="user")
    changed = ctx.hub.execute(update(request_steps).where(_my_step(ctx, row)).values(approver_id=user.id))
    if not changed.rowcount:
        raise PermissionDenied("No step of this request waits for you.", param="request")
    notify(ctx, [user.id], kind="to_decide", subject=row.id, text="delegated to you")
    return _whole(ctx, row.id)


@command(
    "request.withdraw",
    effect="write",
    resource="request",
    sinks=("request",),
    permission="work",
    trust="untrusted",
    summary="Withdraw your own request.",
    positional=("request",),
    examples=[Example("hub request withdraw req_01…", "While it is open")],
)
def request_withdraw(ctx: Context, args: RequestNamed) -> RequestWhole:
    """Whoever was to decide is told."""
    row = _find(ctx.hub, ctx.principal, args.request)
    if row.requester_id != ctx.principal.actor or row.state != "open":
        raise PermissionDenied(
            "Only your own requests can be withdrawn, while they are open.", param="request"
        )
    waiting = (request_steps.c.request_id == row.id) & (request_steps.c.state == "open")
    told = ctx.hub.execute(select(request_steps.c.approver_id).where(waiting)).scalars().all()
    values = {"state": "withdrawn", "ended_at_ms": ctx.now_ms}
    ctx.hub.execute(update(requests).where(requests.c.id == row.id).values(**values))
    ctx.hub.execute(update(request_steps).where(waiting).values(state="waiting"))
    notify(ctx, told, kind="withdrawn", subject=row.id, text="withdrawn")
    return _whole(ctx, row.id)


@resolver("request")
def _request(connection: Connection, principal: Principal, named: str) -> Found:
    row = _find(connection, principal, named)
    return Found(row.id, row.requester_id)


def _find(connection: Connection, principal: Principal, request_id: str) -> Row[Any]:
    query = select(requests).where(requests_of(principal), requests.c.id == request_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise RequestNotFound(
            f"No request {request_id!r}.", param="request", hint="List them with `hub request list`."
        )
    return row


def _approver(ctx: Context, step: str) -> str:
    """Whose step it is; never the requester's own. Raises: Conflict if there is nobody else."""
    me, org_id = ctx.principal.actor, ctx.principal.org_id
    candidates: list[str | None] = []
    if step == "lead":
        for path in departments.standing(ctx.hub, org_id, me).departments:
            candidates += [departments.find(ctx.hub, org_id, one).lead_id for one in path]
    elif step.startswith("role:"):
        candidates += directory.of_role(ctx.hub, org_id, step.removeprefix("role:"))
    else:
        candidates.append(person(ctx, step, param="form").id)
    candidates += directory.of_role(ctx.hub, org_id, "owner") + directory.of_role(ctx.hub, org_id, "admin")
    for one in candidates:
        if one is not None and one != me:
            return one
    raise Conflict(f"Nobody but you could decide the step {step!r}.", code="no_approver", param="form")


def _my_step(ctx: Context, row: Row[Any]) -> Any:
    return (
        (request_steps.c.request_id == row.id)
        & (request_steps.c.approver_id == ctx.principal.actor)
        & (request_steps.c.state == "open")
    )


def _decide(ctx: Context, args: RequestDecide, state: str) -> tuple[Row[Any], Row[Any]]:
    row = _find(ctx.hub, ctx.principal, args.request)
    values = {
        "state": state,
        "decided_by": ctx.principal.actor,
        "comment": args.comment,
        "decided_at_ms": ctx.now_ms,
    }
    if (
        row.state != "open"
        or not ctx.hub.execute(update(request_steps).where(_my_step(ctx, row)).values(**values)).rowcount
    ):
        raise PermissionDenied("No step of this request waits for you.", param="request")
    return row, ctx.hub.execute(select(forms).where(forms.c.id == row.form_id)).one()


def _end(ctx: Context, row: Row[Any], state: str, text: str) -> None:
    ctx.hub.execute(
        update(requests).where(requests.c.id == row.id).values(state=state, ended_at_ms=ctx.now_ms)
    )
    notify(ctx, [row.requester_id], kind="decided", subject=row.id, text=f"{state}: {text}")


def _whole(ctx: Context, request_id: str) -> RequestWhole:
    row = ctx.hub.execute(select(requests).where(requests.c.id == request_id)).one()
    query = (
        select(request_steps).where(request_steps.c.request_id == request_id).order_by(request_steps.c.step)
    )
    rows = ctx.hub.execute(query).all()
    names = names_of(ctx, [who for one in rows for who in (one.approver_id, one.decided_by)])
    steps = [
        StepView(
            step=one.step,
            approver=names[one.approver_id],
            state=one.state,
            decided_by=names[one.decided_by or ""],
            comment=one.comment,
            deadline_at_ms=one.deadline_at_ms,
            late=one.state == "open" and one.deadline_at_ms is not None and one.deadline_at_ms < ctx.now_ms,
            decided_at_ms=one.decided_at_ms,
        )
        for one in rows
    ]
    return RequestWhole(**_views(ctx, [row])[0].model_dump(), steps=steps)


def _views(ctx: Context, rows: list[Row[Any]]) -> list[RequestView]:
    names = names_of(ctx, [row.requester_id for row in rows])
    kinds = {
        one.id: one.name
        for one in ctx.hub.execute(
            select(forms.c.id, forms.c.name).where(forms.c.id.in_([row.form_id for row in rows]))
        )
    }
    return [
        RequestView(
            id=row.id,
            form=kinds[row.form_id],
            requester=names[row.requester_id],
            state=row.state,
            values=json.loads(row.answers),
            created_at_ms=row.created_at_ms,
            ended_at_ms=row.ended_at_ms,
        )
        for row in rows
    ]
