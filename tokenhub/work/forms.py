"""`hub form …`: kinds of requests: what is asked, and who decides in which order."""

import json
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, insert, or_, select

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest
from tokenhub.kernel.ids import new_id
from tokenhub.work.errors import FormNotFound
from tokenhub.work.people import instant_ms, person
from tokenhub.work.request_routes import check_route
from tokenhub.work.tables import forms

VERBS: list[Command] = []
Kind = Literal["text", "number", "date", "yesno", "file"]


class FormView(Model):
    """A kind of request."""

    id: str
    name: str
    fields: dict[str, str]
    route: list[str]
    hours: int
    escalate: str = Field(description="Who gets a late step: `lead` or a person; empty = nobody.")
    created_at_ms: int


class FormCreate(Model):
    """A new kind of request."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique in the organisation.")
    fields: dict[str, Kind] = Field(
        max_length=50,
        description="What is asked: a JSON object, name -> text | number | date | yesno | file.",
    )
    route: list[str] = Field(
        min_length=1,
        max_length=20,
        description="Who decides, in order: a person, `lead`, `role:NAME`, or several: `any:ana+bob`, `all:ana+lead`.",
    )
    hours: int = Field(default=0, ge=0, le=24 * 365, description="Time for each step; 0 = no deadline.")
    escalate: str = Field(
        default="",
        description="Who gets a step that is late: `lead` (of whoever was late) or a person; empty = nobody.",
    )


class FormList(PageResult):
    """A page of forms."""

    items: list[FormView]


@command(
    "form.create",
    effect="write",
    resource="",
    sinks=("route", "escalate"),
    permission="admin",
    summary="Make a form for approvals, with its route.",
    positional=("name",),
    examples=[
        Example(
            """hub form create leave --fields '{"from": "date", "to": "date"}' --route lead --hours 48""",
            "Leave is decided by the requester's lead within two days",
        )
    ],
)
def form_create(ctx: Context, args: FormCreate) -> FormView:
    """Everyone in the organisation can fill it in."""
    form_id = new_id("form")
    taken = select(forms.c.id).where(forms.c.org_id == ctx.principal.org_id, forms.c.name == args.name)
    if ctx.hub.execute(taken).first() is not None:
        raise Conflict(f"There is a form named {args.name!r} already.", code="name_taken", param="name")
    check_route(ctx, args.route, param="route")
    escalate = args.escalate
    if escalate not in ("", "lead"):
        escalate = person(ctx, escalate, param="escalate").id
    if escalate and not args.hours:
        raise InvalidRequest("Without `hours` no step is ever late.", param="hours")
    ctx.hub.execute(
        insert(forms).values(
            id=form_id,
            org_id=ctx.principal.org_id,
            name=args.name,
            fields=json.dumps(args.fields),
            route=json.dumps(args.route),
            hours=args.hours,
            escalate=escalate,
            created_at_ms=ctx.now_ms,
        )
    )
    return _form(find_form(ctx, form_id))


@command(
    "form.list",
    effect="read",
    resource="",
    permission="read",
    summary="List the forms that you can fill in.",
    columns=("id", "name", "fields", "route", "hours"),
    examples=[Example("hub form list", "What can be asked for, and who decides")],
)
def form_list(ctx: Context, args: PageArgs) -> FormList:
    """Newest first."""
    query = select(forms).where(forms.c.org_id == ctx.principal.org_id, forms.c.closed_at_ms.is_(None))
    if args.after is not None:
        query = query.where(forms.c.id < args.after)
    rows = ctx.hub.execute(query.order_by(forms.c.id.desc()).limit(args.limit + 1)).all()
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return FormList(items=[_form(row) for row in shown.items], next_cursor=shown.next_cursor)


def find_form(ctx: Context, named: str) -> Row[Any]:
    """By id or name. Raises: FormNotFound."""
    mine = (forms.c.org_id == ctx.principal.org_id) & forms.c.closed_at_ms.is_(None)
    query = select(forms).where(mine, or_(forms.c.id == named, forms.c.name == named))
    rows = ctx.hub.execute(query.order_by(forms.c.id == named)).all()
    if not rows:
        raise FormNotFound(f"No form {named!r}.", param="form", hint="List them with `hub form list`.")
    return rows[-1]


def filled(fields: dict[str, Kind], values: dict[str, str | int | bool]) -> dict[str, Any]:
    """The values, one for each field and of its kind. Raises: InvalidRequest."""
    wrong = sorted(fields.keys() ^ values.keys())
    if wrong:
        raise InvalidRequest(
            f"The form asks for {', '.join(fields)}; see {wrong[0]!r}.", param=f"values.{wrong[0]}"
        )
    for name, kind in fields.items():
        value = values[name]
        fits = (
            isinstance(value, bool)
            if kind == "yesno"
            else isinstance(value, int)
            if kind == "number"
            else isinstance(value, str)
        )
        if not fits or (kind == "number" and isinstance(value, bool)):
            raise InvalidRequest(f"{name!r} is a {kind}.", param=f"values.{name}")
        if kind == "date":
            instant_ms(str(value), param=f"values.{name}")
    return dict(values)


@resolver("form")
def _named_form(connection: Connection, principal: Principal, named: str) -> Found | None:
    query = select(forms).where(
        forms.c.org_id == principal.org_id, or_(forms.c.id == named, forms.c.name == named)
    )
    row = connection.execute(query.order_by(forms.c.id == named)).all()
    return Found(row[-1].id, name=row[-1].name) if row else None


def _form(row: Row[Any]) -> FormView:
    return FormView(
        id=row.id,
        name=row.name,
        fields=json.loads(row.fields),
        route=json.loads(row.route),
        hours=row.hours,
        escalate=row.escalate,
        created_at_ms=row.created_at_ms,
    )
