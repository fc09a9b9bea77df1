"""`hub report …`: daily and weekly reports: drafted from one's own work, handed in, read, talked about."""

import json
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, insert, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity import departments
from tokenhub.identity.standing import standing
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest, PermissionDenied
from tokenhub.kernel.ids import new_id
from tokenhub.work import report_periods
from tokenhub.work.calendar_tables import (
    report_comments,
    report_forms,
    report_readers,
    reports,
)
from tokenhub.work.errors import ReportNotFound
from tokenhub.work.people import TEXT_MAX, names_of, notify, person
from tokenhub.work.report_drafts import drafted
from tokenhub.work.report_forms import ReportFormNamed, find_report_form
from tokenhub.work.visibility import reports_of

VERBS: list[Command] = []


class ReportView(Model):
    """A report."""

    id: str
    form: str
    period: str
    author: str
    state: str = Field(description="`draft` or `sent`.")
    values: dict[str, str]
    readers: list[str] = Field(description="Who got it, and whether they marked it as read.")
    created_at_ms: int
    sent_at_ms: int | None


class ReportCommentView(Model):
    """What somebody said about a report."""

    id: str
    author: str
    text: str
    created_at_ms: int


class ReportWhole(ReportView):
    """A report and what was said about it."""

    comments: list[ReportCommentView]


class ReportDraft(ReportFormNamed):
    """For which period."""

    period: str | None = Field(
        default=None, description="2026-11-23, or 2026-W48; the present one if left out."
    )


class ReportNamed(Model):
    """One report."""

    report: str = Field(description="Id of the report.")


class ReportSet(ReportNamed):
    """What it should say."""

    values: dict[str, str] = Field(min_length=1, max_length=20, description="A JSON object, field -> text.")


class ReportSend(ReportNamed):
    """To whom else."""

    to: list[str] = Field(
        default=[], max_length=50, description="More readers than the form's: names or ids."
    )


class ReportComment(ReportNamed):
    """Something to say."""

    text: str = Field(
        min_length=1, max_length=TEXT_MAX, description="What to say; author and readers are told."
    )


class ReportListArgs(PageArgs):
    """Which reports."""

    form: str | None = Field(default=None, description="Only of this kind.")
    period: str | None = Field(default=None, description="Only of this period.")
    mine: bool = Field(default=False, description="Only your own.")
    state: Literal["", "draft", "sent"] = Field(default="", description="Only in this state; empty = all.")


class ReportList(PageResult):
    """A page of reports."""

    items: list[ReportView]


class MissingView(Model):
    """Somebody who has not handed in."""

    user: str
    form: str
    period: str


class MissingList(PageResult):
    """Who has not handed in."""

    items: list[MissingView]


@command(
    "report.draft",
    effect="write",
    resource="report-form:form",
    sinks=("form",),
    permission="work",
    trust="untrusted",
    cost=2,
    summary="Draft your report from your tasks and events of the period.",
    positional=("form",),
    examples=[
        Example(
            "hub report draft weekly", "A second time brings it up to date; what you wrote yourself stays"
        )
    ],
)
def report_draft(ctx: Context, args: ReportDraft) -> ReportWhole:
    """Nobody sees it until you hand it in."""
    form = find_report_form(ctx.hub, ctx.principal, args.form)
    now = report_periods.period_at(form, ctx.now_ms)
    period = report_periods.check_period(form, args.period) if args.period else now
    fresh = drafted(ctx, form, period)
    row = _own(ctx, form.id, period)
    if row is None:
        report_id = new_id("report")
        ctx.hub.execute(
            insert(reports).values(
                id=report_id,
                org_id=ctx.principal.org_id,
                form_id=form.id,
                author_id=ctx.principal.actor,
                period=period,
                answers=json.dumps(fresh, ensure_ascii=False),
                state="draft",
                created_at_ms=ctx.now_ms,
                updated_at_ms=ctx.now_ms,
            )
        )
        return _whole(ctx, report_id)
    if row.state != "draft":
        raise Conflict(f"You have handed in {period} already ({row.id}).", code="report_sent", param="period")
    fields: dict[str, str] = json.loads(form.fields)
    old: dict[str, str] = json.loads(row.answers)
    kept = {name: old.get(name, "") if fields[name] == "text" else fresh[name] for name in fields}
    return _write(ctx, row.id, answers=json.dumps(kept, ensure_ascii=False))


@command(
    "report.set",
    effect="write",
    resource="report",
    sinks=("report",),
    permission="work",
    trust="untrusted",
    summary="Write fields of your draft.",
    positional=("report",),
    examples=[
        Example(
            """hub report set report_01… --values '{"trouble": "none"}'""", "Fields that are left out stay"
        )
    ],
)
def report_set(ctx: Context, args: ReportSet) -> ReportWhole:
    """Only your own, until it is handed in."""
    row = _draft(ctx, args.report)
    fields: dict[str, str] = json.loads(ctx.hub.execute(_form_of(row)).one().fields)
    unknown = sorted(args.values.keys() - fields.keys())
    if unknown:
        raise InvalidRequest(
            f"The report has {', '.join(fields)}, no {unknown[0]!r}.", param=f"values.{unknown[0]}"
        )
    if any(len(text) > TEXT_MAX for text in args.values.values()):
        raise InvalidRequest("A field is too long.", param="values")
    answers = {**json.loads(row.answers), **args.values}
    return _write(ctx, row.id, answers=json.dumps(answers, ensure_ascii=False))


@command(
    "report.send",
    effect="write",
    resource="report",
    sinks=("report", "to"),
    permission="work",
    trust="untrusted",
    summary="Hand your report in.",
    positional=("report",),
    examples=[
        Example(
            "hub report send report_01… --to ana",
            "The form's readers and Ana are told; an undo takes it back",
        )
    ],
)
def report_send(ctx: Context, args: ReportSend) -> ReportWhole:
    """Once for each period. Who reads it is the form's, and whom you add."""
    row = _draft(ctx, args.report)
    form = ctx.hub.execute(_form_of(row)).one()
    readers = _readers(ctx, json.loads(form.readers)) + [person(ctx, one, param="to").id for one in args.to]
    told = [one for one in dict.fromkeys(readers) if one != ctx.principal.actor]
    if not told:
        raise Conflict("Nobody would read it: you have no lead; name somebody.", code="no_reader", param="to")
    ctx.hub.execute(
        insert(report_readers), [{"report_id": row.id, "user_id": one, "read_at_ms": None} for one in told]
    )
    shown = _write(ctx, row.id, state="sent", sent_at_ms=ctx.now_ms)
    notify(ctx, told, kind="report", subject=row.id, text=f"{form.name} {row.period}")
    return shown


@command(
    "report.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List your reports and those that you got.",
    columns=("id", "form", "period", "author", "state", "sent_at_ms"),
    examples=[Example("hub report list --form weekly --period 2026-W48", "Newest first")],
)
def report_list(ctx: Context, args: ReportListArgs) -> ReportList:
    """Newest first."""
    query = select(reports).where(reports_of(ctx.principal))
    if args.form is not None:
        query = query.where(reports.c.form_id == find_report_form(ctx.hub, ctx.principal, args.form).id)
    if args.period is not None:
        query = query.where(reports.c.period == args.period)
    if args.mine:
        query = query.where(reports.c.author_id == ctx.principal.actor)
    if args.state:
        query = query.where(reports.c.state == args.state)
    if args.after is not None:
        query = query.where(reports.c.id < args.after)
    found = ctx.hub.execute(query.order_by(reports.c.id.desc()).limit(args.limit + 1)).all()
    shown = page(found, limit=args.limit, key=lambda row: row.id)
    return ReportList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "report.show",
    effect="read",
    resource="report",
    permission="read",
    trust="untrusted",
    summary="Show a report and what was said about it.",
    positional=("report",),
    examples=[Example("hub report show report_01…", "Its fields, who has read it, comments")],
)
def report_show(ctx: Context, args: ReportNamed) -> ReportWhole:
    """By id. `hub report read` tells its author that you have read it."""
    return _whole(ctx, _find(ctx.hub, ctx.principal, args.report).id)


@command(
    "report.read",
    effect="write",
    resource="report",
    sinks=("report",),
    permission="work",
    trust="untrusted",
    summary="Mark a report that you got as read.",
    positional=("report",),
    examples=[Example("hub report read report_01…", "Its author sees that you have")],
)
def report_read(ctx: Context, args: ReportNamed) -> ReportWhole:
    """Harmless the second time; the first time counts."""
    row = _find(ctx.hub, ctx.principal, args.report)
    mine = (report_readers.c.report_id == row.id) & (report_readers.c.user_id == ctx.principal.actor)
    unread = mine & report_readers.c.read_at_ms.is_(None)
    ctx.hub.execute(update(report_readers).where(unread).values(read_at_ms=ctx.now_ms))
    return _whole(ctx, row.id)


@command(
    "report.comment",
    effect="write",
    resource="report",
    sinks=("report",),
    permission="work",
    summary="Say something about a report.",
    positional=("report", "text"),
    examples=[Example("hub report comment report_01… 'Well done'", "Its author and readers are told")],
)
def report_comment(ctx: Context, args: ReportComment) -> ReportCommentView:
    """On a report that was handed in."""
    row = _find(ctx.hub, ctx.principal, args.report)
    if row.state != "sent":
        raise Conflict("It was not handed in yet.", code="report_draft", param="report")
    values = {
        "id": new_id("comment"),
        "author_id": ctx.principal.actor,
        "text": args.text,
        "created_at_ms": ctx.now_ms,
    }
    ctx.hub.execute(insert(report_comments).values(report_id=row.id, **values))
    readers = select(report_readers.c.user_id).where(report_readers.c.report_id == row.id)
    told = [row.author_id, *ctx.hub.execute(readers).scalars()]
    notify(ctx, told, kind="comment", subject=row.id, text=args.text)
    author = names_of(ctx, [ctx.principal.actor])[ctx.principal.actor]
    return ReportCommentView(id=str(values["id"]), author=author, text=args.text, created_at_ms=ctx.now_ms)


@command(
    "report.missing",
    effect="read",
    resource="report-form:form",
    permission="read",
    summary="List who has not handed in.",
    positional=("form",),
    columns=("user", "form", "period"),
    examples=[Example("hub report missing weekly --period 2026-W47", "For its readers and administrators")],
)
def report_missing(ctx: Context, args: ReportDraft) -> MissingList:
    """Readers of the form see all of its authors, or those whom they lead; administrators see everyone."""
    form = find_report_form(ctx.hub, ctx.principal, args.form)
    now = report_periods.period_at(form, ctx.now_ms)
    period = report_periods.check_period(form, args.period) if args.period else now
    late = report_periods.missing(ctx.hub, form, period)
    me, readers = ctx.principal.actor, json.loads(form.readers)
    if not ctx.principal.allows("admin") and me not in readers:
        late = [one for one in late if "lead" in readers and _lead_of(ctx, one) == me]
    names = names_of(ctx, late)
    items = [
        MissingView(user=name, form=form.name, period=period) for name in sorted(names[one] for one in late)
    ]
    return MissingList(items=items)


@resolver("report")
def _report(connection: Connection, principal: Principal, named: str) -> Found:
    row = _find(connection, principal, named)
    return Found(row.id, row.author_id)


def _find(connection: Connection, principal: Principal, report_id: str) -> Row[Any]:
    row = connection.execute(
        select(reports).where(reports_of(principal), reports.c.id == report_id)
    ).one_or_none()
    if row is None:
        raise ReportNotFound(
            f"No report {report_id!r}.", param="report", hint="List them with `hub report list`."
        )
    return row


def _draft(ctx: Context, report_id: str) -> Row[Any]:
    row = _find(ctx.hub, ctx.principal, report_id)
    if row.author_id != ctx.principal.actor or row.state != "draft":
        raise PermissionDenied("Only your own draft can be changed or handed in.", param="report")
    return row


def _own(ctx: Context, form_id: str, period: str) -> Row[Any] | None:
    mine = (reports.c.form_id == form_id) & (reports.c.author_id == ctx.principal.actor)
    return ctx.hub.execute(select(reports).where(mine, reports.c.period == period)).one_or_none()


def _form_of(row: Row[Any]) -> Any:
    return select(report_forms).where(report_forms.c.id == row.form_id)


def _write(ctx: Context, report_id: str, **values: Any) -> ReportWhole:
    ctx.hub.execute(
        update(reports).where(reports.c.id == report_id).values(updated_at_ms=ctx.now_ms, **values)
    )
    return _whole(ctx, report_id)


def _readers(ctx: Context, named: list[str]) -> list[str]:
    found = [_lead_of(ctx, ctx.principal.actor) if one == "lead" else one for one in named]
    return [one for one in found if one is not None]


def _lead_of(ctx: Context, user_id: str) -> str | None:
    """Who leads this person's department, or the one above if they lead it themselves."""
    for path in standing(ctx.hub, ctx.principal.org_id, user_id).departments:
        for one in path:
            lead = departments.find(ctx.hub, ctx.principal.org_id, one).lead_id
            if lead is not None and lead != user_id:
                return lead
    return None


def _whole(ctx: Context, report_id: str) -> ReportWhole:
    row = ctx.hub.execute(select(reports).where(reports.c.id == report_id)).one()
    query = (
        select(report_comments).where(report_comments.c.report_id == report_id).order_by(report_comments.c.id)
    )
    said = ctx.hub.execute(query.limit(500)).all()
    names = names_of(ctx, [one.author_id for one in said])
    comments = [
        ReportCommentView(
            id=one.id, author=names[one.author_id], text=one.text, created_at_ms=one.created_at_ms
        )
        for one in said
    ]
    return ReportWhole(**_views(ctx, [row])[0].model_dump(), comments=comments)


def _views(ctx: Context, rows: list[Row[Any]]) -> list[ReportView]:
    got: dict[str, list[Row[Any]]] = {row.id: [] for row in rows}
    for one in ctx.hub.execute(select(report_readers).where(report_readers.c.report_id.in_(got))):
        got[one.report_id].append(one)
    names = names_of(
        ctx, [one.user_id for some in got.values() for one in some] + [row.author_id for row in rows]
    )
    wanted = {row.form_id for row in rows}
    forms = ctx.hub.execute(
        select(report_forms.c.id, report_forms.c.name).where(report_forms.c.id.in_(wanted))
    )
    kinds = {row.id: row.name for row in forms}
    return [
        ReportView(
            id=row.id,
            form=kinds[row.form_id],
            period=row.period,
            author=names[row.author_id],
            state=row.state,
            values=json.loads(row.answers),
            readers=sorted(names[one.user_id] + (" (read)" if one.read_at_ms else "") for one in got[row.id]),
            created_at_ms=row.created_at_ms,
            sent_at_ms=row.sent_at_ms,
        )
        for row in rows
    ]
