"""`hub report-form …`: what a daily or weekly report asks, who hands it in, who reads it, until when."""

import json
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity import departments
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest, NotFound
from tokenhub.kernel.ids import new_id
from tokenhub.work import report_periods
from tokenhub.work.calendar_tables import report_due, report_forms
from tokenhub.work.errors import ReportNotFound
from tokenhub.work.event_store import zone_of
from tokenhub.work.people import names_of, person
from tokenhub.work.recurrence import zone

VERBS: list[Command] = []
Source = Literal["done", "open", "events", "text"]
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class ReportFormView(Model):
    """A kind of report."""

    id: str
    name: str
    fields: dict[str, str] = Field(description="Field -> what drafts it: done, open, events or text.")
    period: str = Field(description="`day` or `week`.")
    authors: list[str] = Field(description="Who hands in: people and departments; empty = everyone.")
    readers: list[str] = Field(description="Who gets it: people, `lead` = whoever leads the author.")
    due: str
    created_at_ms: int


class ReportFormCreate(Model):
    """A new kind of report."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique in the organisation.")
    fields: dict[str, Source] = Field(
        min_length=1,
        max_length=20,
        description="A JSON object, field -> `done` (tasks finished), `open` (tasks to do), `events` or `text`.",
    )
    period: Literal["day", "week"] = Field(default="week", description="For each day or each week.")
    authors: list[str] = Field(
        default=[], max_length=200, description="Who hands in: people and departments; everyone if left out."
    )
    readers: list[str] = Field(
        default=["lead"], min_length=1, max_length=50, description="Who gets it: people, or `lead`."
    )
    due: str = Field(default="", description="Until when: `17:00` of a day, `fri 16:00` of a week.")
    tz: str | None = Field(default=None, description="Time zone of its days; yours if left out.")


class ReportFormNamed(Model):
    """One kind of report."""

    form: str = Field(description="Name or id of the report's form.")


class ReportFormList(PageResult):
    """A page of kinds."""

    items: list[ReportFormView]


@command(
    "report-form.create",
    effect="write",
    resource="",
    sinks=("authors", "readers"),
    permission="admin",
    summary="Make a form for daily or weekly reports.",
    positional=("name",),
    examples=[
        Example(
            """hub report-form create weekly --fields '{"done": "done", "next": "open", "trouble": "text"}' --due 'fri 16:00'""",
            "Whoever has not handed in by Friday afternoon is reminded",
        )
    ],
)
def report_form_create(ctx: Context, args: ReportFormCreate) -> ReportFormView:
    """Drafts are made from the author's own tasks and events of the period (`hub report draft`)."""
    taken = select(report_forms.c.id).where(
        report_forms.c.org_id == ctx.principal.org_id, report_forms.c.name == args.name
    )
    if ctx.hub.execute(taken).first() is not None:
        raise Conflict(
            f"There is a report form named {args.name!r} already.", code="name_taken", param="name"
        )
    form_id = new_id("rform")
    readers = ["lead" if one == "lead" else person(ctx, one, param="readers").id for one in args.readers]
    ctx.hub.execute(
        insert(report_forms).values(
            id=form_id,
            org_id=ctx.principal.org_id,
            name=args.name,
            fields=json.dumps(args.fields, ensure_ascii=False),
            period=args.period,
            authors=json.dumps([_author(ctx, one) for one in args.authors]),
            readers=json.dumps(readers),
            tz=zone(args.tz).key if args.tz else zone_of(ctx, ctx.principal.actor),
            due_minute=_due_minute(
                args.due or ("17:00" if args.period == "day" else "fri 17:00"), args.period
            ),
            created_at_ms=ctx.now_ms,
        )
    )
    row = find_report_form(ctx.hub, ctx.principal, form_id)
    due = report_periods.next_due(row, after_ms=ctx.now_ms)
    ctx.hub.execute(insert(report_due).values(form_id=form_id, **due))
    return _views(ctx, [row])[0]


@command(
    "report-form.list",
    effect="read",
    resource="",
    permission="read",
    summary="List the kinds of reports.",
    columns=("id", "name", "period", "due", "fields", "readers"),
    examples=[Example("hub report-form list", "What is asked, until when, and who reads it")],
)
def report_form_list(ctx: Context, args: PageArgs) -> ReportFormList:
    """Newest first."""
    mine = (report_forms.c.org_id == ctx.principal.org_id) & report_forms.c.closed_at_ms.is_(None)
    query = select(report_forms).where(mine)
    if args.after is not None:
        query = query.where(report_forms.c.id < args.after)
    found = ctx.hub.execute(query.order_by(report_forms.c.id.desc()).limit(args.limit + 1)).all()
    shown = page(found, limit=args.limit, key=lambda row: row.id)
    return ReportFormList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "report-form.close",
    effect="write",
    resource="report-form:form",
    sinks=("form",),
    permission="admin",
    summary="Ask for no more reports of a kind.",
    positional=("form",),
    examples=[Example("hub report-form close weekly", "Those that were handed in stay")],
)
def report_form_close(ctx: Context, args: ReportFormNamed) -> ReportFormView:
    """Nobody is reminded of it any more."""
    row = find_report_form(ctx.hub, ctx.principal, args.form)
    ctx.hub.execute(update(report_forms).where(report_forms.c.id == row.id).values(closed_at_ms=ctx.now_ms))
    ctx.hub.execute(delete(report_due).where(report_due.c.form_id == row.id))
    return _views(ctx, [row])[0]


def find_report_form(connection: Connection, principal: Principal, named: str) -> Row[Any]:
    """By id or name. Raises: ReportNotFound."""
    mine = (report_forms.c.org_id == principal.org_id) & report_forms.c.closed_at_ms.is_(None)
    query = select(report_forms).where(mine, or_(report_forms.c.id == named, report_forms.c.name == named))
    rows = connection.execute(query.order_by(report_forms.c.id == named)).all()
    if not rows:
        hint = "List them with `hub report-form list`."
        raise ReportNotFound(f"No report form {named!r}.", param="form", hint=hint)
    return rows[-1]


@resolver("report-form")
def _form(connection: Connection, principal: Principal, named: str) -> Found:
    row = find_report_form(connection, principal, named)
    return Found(row.id, name=row.name)


def _author(ctx: Context, named: str) -> str:
    """Id of a person or department. Raises: UserNotFound."""
    try:
        return person(ctx, named, param="authors").id
    except NotFound:
        try:
            return departments.find(ctx.hub, ctx.principal.org_id, named, param="authors").id
        except NotFound:
            raise NotFound(f"{named!r} is no person and no department.", param="authors") from None


def _due_minute(text: str, period: str) -> int:
    """Minutes after the period's first midnight. Raises: InvalidRequest."""
    day, _, at = text.strip().lower().rpartition(" ")
    try:
        if (period == "week") != bool(day):
            raise ValueError(text)
        found = datetime.strptime(at, "%H:%M")
        return (WEEKDAYS.index(day[:3]) if day else 0) * 1440 + found.hour * 60 + found.minute
    except ValueError as error:
        like = "`fri 16:00`" if period == "week" else "`17:00`"
        raise InvalidRequest(f"{text!r} is no time of a {period} such as {like}.", param="due") from error


def _views(ctx: Context, rows: list[Row[Any]]) -> list[ReportFormView]:
    people = {one for row in rows for one in (*json.loads(row.authors), *json.loads(row.readers))}
    names = names_of(ctx, people)
    for one in people:
        if one.startswith("dept_"):
            names[one] = departments.find(ctx.hub, ctx.principal.org_id, one).name
    return [
        ReportFormView(
            id=row.id,
            name=row.name,
            fields=json.loads(row.fields),
            period=row.period,
            authors=[names[one] for one in json.loads(row.authors)],
            readers=[names[one] for one in json.loads(row.readers)],
            due=_due_text(row),
            created_at_ms=row.created_at_ms,
        )
        for row in rows
    ]


def _due_text(row: Row[Any]) -> str:
    day, minute = divmod(row.due_minute, 1440)
    at = f"{minute // 60:02d}:{minute % 60:02d} {row.tz}"
    return f"{WEEKDAYS[day]} {at}" if row.period == "week" else at
