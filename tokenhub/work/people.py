"""People as workspace verbs name them, and what tells them of things: `hub notice …`."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field
from sqlalchemy import Connection, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import NOTHING, Books, Found
from tokenhub.http.pagination import page
from tokenhub.identity import directory
from tokenhub.identity.directory import User
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.work.tables import notices
from tokenhub.work.telling import tell
from tokenhub.work.visibility import notices_of

VERBS: list[Command] = []
TEXT_MAX = 100_000


class NoticeView(Model):
    """Something that concerns you."""

    id: str
    kind: str
    subject: str = Field(description="Id of what it is about.")
    text: str
    actor: str = Field(description="Who did it.")
    created_at_ms: int
    read_at_ms: int | None


class NoticeListArgs(PageArgs):
    """Which notices."""

    all: bool = Field(default=False, description="Also those that you have read.")


class NoticeRead(Model):
    """Which notices."""

    notices: list[str] = Field(default=[], max_length=500, description="Their ids; none = every one.")


class NoticesRead(Model):
    """How many are read now."""

    count: int


class NoticeList(PageResult):
    """A page of notices."""

    items: list[NoticeView]


@command(
    "notice.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List what happened that concerns you.",
    examples=[Example("hub notice list", "What you have not read")],
)
def notice_list(ctx: Context, args: NoticeListArgs) -> NoticeList:
    """Newest first."""
    query = select(notices).where(notices_of(ctx.principal)).order_by(notices.c.id.desc())
    if not args.all:
        query = query.where(notices.c.read_at_ms.is_(None))
    if args.after is not None:
        query = query.where(notices.c.id < args.after)
    shown = page(ctx.hub.execute(query.limit(args.limit + 1)).all(), limit=args.limit, key=lambda row: row.id)
    names = names_of(ctx, [row.actor_id for row in shown.items])
    items = [
        NoticeView(
            id=row.id,
            kind=row.kind,
            subject=row.subject,
            text=row.text,
            actor=names[row.actor_id],
            created_at_ms=row.created_at_ms,
            read_at_ms=row.read_at_ms,
        )
        for row in shown.items
    ]
    return NoticeList(items=items, next_cursor=shown.next_cursor)


@command(
    "notice.read",
    effect="write",
    resource="",
    permission="work",
    summary="Mark notices as read.",
    positional=("notices",),
    examples=[Example("hub notice read", "Every one")],
)
def notice_read(ctx: Context, args: NoticeRead) -> NoticesRead:
    """Only your own."""
    mine = notices_of(ctx.principal) & notices.c.read_at_ms.is_(None)
    if args.notices:
        mine &= notices.c.id.in_(args.notices)
    done = ctx.hub.execute(update(notices).where(mine).values(read_at_ms=ctx.now_ms))
    return NoticesRead(count=done.rowcount)


def notify(ctx: Context, users: Iterable[str], *, kind: str, subject: str, text: str) -> None:
    """Tell people of something; whoever did it is not told."""
    tell(
        ctx.hub,
        [user_id for user_id in users if user_id != ctx.principal.actor],
        org_id=ctx.principal.org_id,
        actor_id=ctx.principal.actor,
        kind=kind,
        subject=subject,
        text=text,
        at_ms=ctx.now_ms,
        wait_ms=round(ctx.settings.outbox_wait_s * 1000),
        grant_id=ctx.principal.grant_id,
    )


def person(ctx: Context, named: str, *, param: str) -> User:
    """A colleague by name or id; `me` is the caller. Raises: UserNotFound."""
    return _person(ctx.hub, ctx.principal, named, param=param)


def acts_on_person(books: Books, principal: Principal, arguments: Mapping[str, Any]) -> Found:
    """For `acts_on` of a command whose `user` is found as `person` finds it."""
    named = arguments.get("user")
    if not named:
        return NOTHING
    if named == "me":
        return Found(principal.actor, principal.user_id or "")
    user = _person(books.hub, principal, str(named), param="user")
    return Found(user.id, user.id, user.name)


def _person(connection: Connection, principal: Principal, named: str, *, param: str) -> User:
    wanted = principal.user_id or "" if named == "me" else named
    return directory.find(connection, User, principal.org_id, wanted, param=param)


class Names(dict[str, str]):
    """Id -> name; an id that is no user's stands for itself."""

    def __missing__(self, key: str) -> str:
        return key


def names_of(ctx: Context, user_ids: Iterable[str | None]) -> Names:
    """The names of these people."""
    return Names(directory.user_names(ctx.hub, ctx.principal.org_id, {one for one in user_ids if one}))


def instant_ms(text: str | None, *, param: str, tz: str = "UTC") -> int | None:
    """`2026-11-23T09:00`, with an offset or in `tz`, or a date alone -> ms; None for none. Raises: InvalidRequest."""
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC if tz == "UTC" else ZoneInfo(tz))
        return round(when.timestamp() * 1000)
    except (ValueError, OverflowError, OSError, ZoneInfoNotFoundError) as error:
        raise InvalidRequest(
            f"{text!r} is no time such as 2026-11-23T09:00 or 2026-11-23.", param=param
        ) from error
