"""`hub request …`: approvals: a filled form on its way through the stages of its route.

Who decides stands in `request_routes.py`, what they do in `request_decisions.py`.
"""

import json
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, insert, or_, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import PermissionDenied
from tokenhub.kernel.ids import new_id
from tokenhub.work.errors import RequestNotFound
from tokenhub.work.forms import filled, find_form
from tokenhub.work.people import names_of, notify
from tokenhub.work.request_routes import open_stage, stages
from tokenhub.work.tables import forms, request_steps, requests
from tokenhub.work.telling import HUB
from tokenhub.work.visibility import away_for, requests_of

VERBS: list[Command] = []


class StepView(Model):
    """One step of a request."""

    stage: int = Field(description="Steps of one stage are open together.")
    mode: str = Field(description="`all` of the stage have to approve, or `any` one.")
    approver: str
    state: str = Field(
        description="`waiting`, `open`, `approved`, `rejected`, or `passed`: another one sufficed."
    )
    decided_by: str = Field(description="Who did it; a deputy, if the approver was away.")
    comment: str
    deadline_at_ms: int | None
    late: bool
    escalations: int = Field(description="How often it was passed on because it was late.")
    added_by: str = Field(description="Who brought this approver in; empty = the form's route.")
    decided_at_ms: int | None


class RequestView(Model):
    """A request."""

    id: str
    form: str
    requester: str
    state: str = Field(
        description="`open`, `approved`, `rejected`, `withdrawn` or `returned` to the requester."
    )
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


class RequestResubmit(RequestNamed):
    """What is other now."""

    values: dict[str, str | int | bool] = Field(
        default={},
        max_length=50,
        description="All of the form's fields: a JSON object; as before if left out.",
    )


class RequestListArgs(PageArgs):
    """Which requests."""

    mine: bool = Field(default=False, description="Only those that you made.")
    to_decide: bool = Field(default=False, description="Only those that wait for you.")
    state: Literal["open", "approved", "rejected", "withdrawn", "returned", ""] = Field(
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
    route = stages(ctx, json.loads(form.route))
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
    steps = [(place, stage.mode, who) for place, stage in enumerate(route, 1) for who in stage.approvers]
    for number, (place, mode, who) in enumerate(steps, 1):
        ctx.hub.execute(
            insert(request_steps).values(
                request_id=request_id,
                step=number,
                stage=place,
                mode=mode,
                approver_id=who,
                escalations=0,
                state="waiting",
                comment="",
            )
        )
    open_stage(ctx, request_id, 1, hours=form.hours, text=form.name)
    return whole_request(ctx, request_id)


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
        me = ctx.principal.actor
        who = or_(
            request_steps.c.approver_id == me, request_steps.c.approver_id.in_(away_for(me, ctx.now_ms))
        )
        mine = who & (request_steps.c.state == "open")
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
    return whole_request(ctx, find_request(ctx.hub, ctx.principal, args.request).id)


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
    seen = find_request(ctx.hub, ctx.principal, args.request)
    held = select(requests).where(requests.c.id == seen.id).with_for_update()  # nobody decides it meanwhile
    row = ctx.hub.execute(held).one()
    if row.requester_id != ctx.principal.actor or row.state not in ("open", "returned"):
        raise PermissionDenied(
            "Only your own requests can be withdrawn, while they are open.", param="request"
        )
    waiting = (request_steps.c.request_id == row.id) & (request_steps.c.state == "open")
    told = ctx.hub.execute(select(request_steps.c.approver_id).where(waiting)).scalars().all()
    values = {"state": "withdrawn", "ended_at_ms": ctx.now_ms}
    ctx.hub.execute(update(requests).where(requests.c.id == row.id).values(**values))
    ctx.hub.execute(update(request_steps).where(waiting).values(state="waiting"))
    notify(ctx, told, kind="withdrawn", subject=row.id, text="withdrawn")
    return whole_request(ctx, row.id)


@command(
    "request.resubmit",
    effect="write",
    resource="request",
    sinks=("request",),
    permission="work",
    trust="untrusted",
    summary="Hand a request in again that was returned to you.",
    positional=("request",),
    examples=[
        Example(
            "hub request resubmit req_01… --values '{\"sum\": 90}'", "The route starts from its first stage"
        )
    ],
)
def request_resubmit(ctx: Context, args: RequestResubmit) -> RequestWhole:
    """With other values, or the same ones."""
    row = find_request(ctx.hub, ctx.principal, args.request)
    if row.requester_id != ctx.principal.actor or row.state != "returned":
        raise PermissionDenied(
            "Only a request of yours that was returned can be handed in again.", param="request"
        )
    form = ctx.hub.execute(select(forms).where(forms.c.id == row.form_id)).one()
    values = {"state": "open", "step": 1}
    if args.values:
        answers = filled(json.loads(form.fields), args.values)
        values["answers"] = json.dumps(answers, ensure_ascii=False)
    ctx.hub.execute(update(requests).where(requests.c.id == row.id).values(**values))
    open_stage(ctx, row.id, 1, hours=form.hours, text=f"{form.name}, again")
    return whole_request(ctx, row.id)


@resolver("request")
def _request(connection: Connection, principal: Principal, named: str) -> Found | None:
    if principal.actor == HUB:  # the hub's own clock, which no key is, sees every one of the organisation
        mine = (requests.c.org_id == principal.org_id) & (requests.c.id == named)
        row = connection.execute(select(requests).where(mine)).one_or_none()
        return None if row is None else Found(row.id, row.requester_id)
    row = find_request(connection, principal, named)
    return Found(row.id, row.requester_id)


def find_request(connection: Connection, principal: Principal, request_id: str) -> Row[Any]:
    """By id, if the caller made or decides it. Raises: RequestNotFound."""
    query = select(requests).where(requests_of(principal), requests.c.id == request_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise RequestNotFound(
            f"No request {request_id!r}.", param="request", hint="List them with `hub request list`."
        )
    return row


def whole_request(ctx: Context, request_id: str) -> RequestWhole:
    """The request and its route."""
    row = ctx.hub.execute(select(requests).where(requests.c.id == request_id)).one()
    query = (
        select(request_steps)
        .where(request_steps.c.request_id == request_id)
        .order_by(request_steps.c.stage, request_steps.c.step)
    )
    rows = ctx.hub.execute(query).all()
    names = names_of(ctx, [who for one in rows for who in (one.approver_id, one.decided_by, one.added_by)])
    steps = [
        StepView(
            stage=one.stage,
            mode=one.mode,
            approver=names[one.approver_id],
            state=one.state,
            decided_by=names[one.decided_by or ""],
            comment=one.comment,
            deadline_at_ms=one.deadline_at_ms,
            escalations=one.escalations,
            added_by=names[one.added_by or ""],
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
