"""`hub absence …`: when somebody is away, and who decides for them meanwhile."""

from typing import Any

from pydantic import Field
from sqlalchemy import Row, func, insert, or_, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.http.pagination import page
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.kernel.ids import new_id
from tokenhub.work.errors import AbsenceNotFound
from tokenhub.work.event_store import wall_time, when_of, zone_of
from tokenhub.work.people import names_of, notify, person
from tokenhub.work.recurrence import at_ms
from tokenhub.work.tables import absences, request_steps

VERBS: list[Command] = []
DAY_MS = 86_400_000


class AbsenceView(Model):
    """A time away."""

    id: str
    user: str
    deputy: str
    when: str
    start_at_ms: int
    end_at_ms: int
    note: str
    ended_at_ms: int | None


class AbsenceCreate(Model):
    """A time away."""

    start: str = Field(description="From when on: 2026-12-21, or a time such as 2026-12-21T12:00.")
    end: str = Field(description="Until when; a day is whole.")
    deputy: str = Field(description="Who decides for you meanwhile: name or id.")
    note: str = Field(default="", max_length=200, description="What your deputy should know.")


class AbsenceNamed(Model):
    """One absence."""

    absence: str = Field(description="Id of the absence.")


class AbsenceList(PageResult):
    """A page of absences."""

    items: list[AbsenceView]


@command(
    "absence.create",
    effect="write",
    resource="",
    sinks=("deputy",),
    permission="work",
    summary="Say when you are away, and who decides for you.",
    positional=("start", "end", "deputy"),
    examples=[
        Example(
            "hub absence create 2026-12-21 2026-12-31 bob",
            "Approvals that wait for you are Bob's to decide, too",
        )
    ],
)
def absence_create(ctx: Context, args: AbsenceCreate) -> AbsenceView:
    """While it lasts, your deputy decides steps that wait for you, never their own requests; `calendar free` heeds it."""
    tz = zone_of(ctx, ctx.principal.actor)
    begins, _ = wall_time(args.start, tz, param="start")
    ends, whole = wall_time(args.end, tz, param="end")
    from_ms, until_ms = at_ms(begins, tz), at_ms(ends, tz) + (DAY_MS if whole else 0)
    deputy = person(ctx, args.deputy, param="deputy")
    if not 0 < until_ms - from_ms <= 2 * 366 * DAY_MS or until_ms <= ctx.now_ms:
        raise InvalidRequest("It ends after it starts, in the future, within two years.", param="end")
    if deputy.id == ctx.principal.actor:
        raise InvalidRequest("Somebody else decides for you.", param="deputy")
    absence_id = new_id("away")
    ctx.hub.execute(
        insert(absences).values(
            id=absence_id,
            org_id=ctx.principal.org_id,
            user_id=ctx.principal.actor,
            deputy_id=deputy.id,
            from_ms=from_ms,
            until_ms=until_ms,
            note=args.note,
            created_at_ms=ctx.now_ms,
        )
    )
    waiting = (request_steps.c.approver_id == ctx.principal.actor) & (request_steps.c.state == "open")
    count = ctx.hub.execute(select(func.count()).select_from(request_steps).where(waiting)).scalar_one()
    shown = _show(ctx, absence_id)
    words = f"{shown.when}; {count} requests wait now. {args.note}".strip()
    notify(ctx, [deputy.id], kind="deputy", subject=absence_id, text=words)
    return shown


@command(
    "absence.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List your absences, and those whose deputy you are.",
    columns=("id", "user", "deputy", "when", "note"),
    examples=[Example("hub absence list", "Newest first")],
)
def absence_list(ctx: Context, args: PageArgs) -> AbsenceList:
    """Newest first."""
    me = ctx.principal.actor
    mine = (absences.c.org_id == ctx.principal.org_id) & or_(
        absences.c.user_id == me, absences.c.deputy_id == me
    )
    query = select(absences).where(mine)
    if args.after is not None:
        query = query.where(absences.c.id < args.after)
    found = ctx.hub.execute(query.order_by(absences.c.id.desc()).limit(args.limit + 1)).all()
    shown = page(found, limit=args.limit, key=lambda row: row.id)
    return AbsenceList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "absence.end",
    effect="write",
    resource="",
    sinks=("absence",),
    permission="work",
    summary="Be back before the end.",
    positional=("absence",),
    examples=[Example("hub absence end away_01…", "Your deputy decides nothing more for you")],
)
def absence_end(ctx: Context, args: AbsenceNamed) -> AbsenceView:
    """Also takes one back that has not begun."""
    mine = (absences.c.id == args.absence) & (absences.c.user_id == ctx.principal.actor)
    still = mine & (absences.c.org_id == ctx.principal.org_id) & absences.c.ended_at_ms.is_(None)
    row = ctx.hub.execute(select(absences).where(still)).one_or_none()
    if row is None:
        hint = "List them with `hub absence list`."
        raise AbsenceNotFound(f"No absence {args.absence!r} of yours that lasts.", param="absence", hint=hint)
    ctx.hub.execute(update(absences).where(absences.c.id == row.id).values(ended_at_ms=ctx.now_ms))
    notify(ctx, [row.deputy_id], kind="deputy", subject=row.id, text="ended")
    return _show(ctx, row.id)


def _show(ctx: Context, absence_id: str) -> AbsenceView:
    return _views(ctx, [ctx.hub.execute(select(absences).where(absences.c.id == absence_id)).one()])[0]


def _views(ctx: Context, rows: list[Row[Any]]) -> list[AbsenceView]:
    names = names_of(ctx, [one for row in rows for one in (row.user_id, row.deputy_id)])
    tz = zone_of(ctx, ctx.principal.actor)
    return [
        AbsenceView(
            id=row.id,
            user=names[row.user_id],
            deputy=names[row.deputy_id],
            when=when_of(row.from_ms, row.until_ms, tz, all_day=False),
            start_at_ms=row.from_ms,
            end_at_ms=row.until_ms,
            note=row.note,
            ended_at_ms=row.ended_at_ms,
        )
        for row in rows
    ]
