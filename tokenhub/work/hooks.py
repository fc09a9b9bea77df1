"""`hub hook …`: addresses outside the hub (webhooks) that get messages and, if their owner wants, notices.

Nothing is sent by these commands: it goes to the outbox and waits there (`hub outbox list|unsend`).
"""

import ipaddress
import json
import secrets
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field
from sqlalchemy import Connection, Row, delete, insert, or_, select

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.declare import Secret
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest, PermissionDenied
from tokenhub.kernel.ids import new_id
from tokenhub.work.calendar_tables import hooks
from tokenhub.work.errors import HookNotFound
from tokenhub.work.people import names_of
from tokenhub.work.telling import queue
from tokenhub.work.visibility import hooks_of

VERBS: list[Command] = []


class HookView(Model):
    """An address outside the hub."""

    id: str
    name: str
    url: str
    owner: str
    kinds: list[str] = Field(description="Notices of its owner that are passed on; `*` = all.")
    everyone: bool
    once: bool
    created_at_ms: int


class HookMade(HookView):
    """A new hook and what signs its messages."""

    secret: Secret = Field(description="Key of the HMAC-SHA256 in `x-tokenhub-signature`; shown once.")


class HookCreate(Model):
    """A new hook."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique in the organisation.")
    url: str = Field(min_length=8, max_length=2000, description="Where to POST: https://…")
    kinds: list[str] = Field(
        default=[],
        max_length=50,
        description="Notices of yours that are passed on, such as to_decide,reminder; `*` = all.",
    )
    everyone: bool = Field(default=False, description="Colleagues may send to it, too (administrators only).")
    once: bool = Field(
        default=False,
        description="The receiver does not know idempotency keys: never send again what may have arrived.",
    )


class HookNamed(Model):
    """One hook."""

    hook: str = Field(description="Name or id of the hook.")


class HookSend(HookNamed):
    """What to send."""

    text: str = Field(min_length=1, max_length=10_000, description="What to say.")


class HookList(PageResult):
    """A page of hooks."""

    items: list[HookView]


class HookRemoved(Model):
    """What is gone."""

    id: str
    name: str


class Queued(Model):
    """What waits in the outbox."""

    id: str
    hook: str
    text: str
    send_at_ms: int = Field(description="Not before then; until then it can be withdrawn.")


@command(
    "hook.create",
    effect="write",
    resource="",
    sinks=("url", "everyone"),
    permission="work",
    summary="Add an address outside the hub that gets messages or your notices.",
    positional=("name", "url"),
    examples=[
        Example(
            "hub hook create chat https://chat.example.org/in/abc --kinds to_decide,reminder",
            "What waits for you shows there",
        )
    ],
)
def hook_create(ctx: Context, args: HookCreate) -> HookMade:
    """Each message is signed with the secret. Addresses that are not public are refused (`outbox_private_hosts`)."""
    _check_url(args.url, ctx.settings.outbox_private_hosts)
    if args.everyone and not ctx.principal.allows("admin"):
        raise PermissionDenied("Only administrators make hooks for everyone.", param="everyone")
    taken = select(hooks.c.id).where(hooks.c.org_id == ctx.principal.org_id, hooks.c.name == args.name)
    if ctx.hub.execute(taken).first() is not None:
        raise Conflict(f"There is a hook named {args.name!r} already.", code="name_taken", param="name")
    secret = secrets.token_urlsafe(32)
    hook_id = new_id("hook")
    ctx.hub.execute(
        insert(hooks).values(
            id=hook_id,
            org_id=ctx.principal.org_id,
            owner_id=ctx.principal.actor,
            name=args.name,
            url=args.url,
            secret=secret,
            kinds=json.dumps(sorted(set(args.kinds))),
            everyone=args.everyone,
            once=args.once,
            created_at_ms=ctx.now_ms,
        )
    )
    row = _find(ctx.hub, ctx.principal, hook_id)
    return HookMade(**_views(ctx, [row])[0].model_dump(), secret=secret)


@command(
    "hook.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List the hooks that you may use.",
    columns=("id", "name", "url", "owner", "kinds"),
    examples=[Example("hub hook list", "Newest first")],
)
def hook_list(ctx: Context, args: PageArgs) -> HookList:
    """Yours, and those for everyone."""
    query = select(hooks).where(hooks_of(ctx.principal))
    if args.after is not None:
        query = query.where(hooks.c.id < args.after)
    found = ctx.hub.execute(query.order_by(hooks.c.id.desc()).limit(args.limit + 1)).all()
    shown = page(found, limit=args.limit, key=lambda row: row.id)
    return HookList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "hook.send",
    effect="irreversible",
    resource="hook",
    sinks=("hook",),
    permission="work",
    cost=2,
    summary="Send a text to an address outside the hub.",
    positional=("hook", "text"),
    examples=[
        Example(
            "hub hook send chat 'The build is done'",
            "It waits a moment in the outbox, where you can still stop it",
        )
    ],
)
def hook_send(ctx: Context, args: HookSend) -> Queued:
    """What has left cannot be taken back; until then `hub outbox unsend` stops it."""
    row = _find(ctx.hub, ctx.principal, args.hook)
    wait_ms = round(ctx.settings.outbox_wait_s * 1000)
    about = {"kind": "message", "subject": "", "text": args.text}
    by: Any = {"actor_id": ctx.principal.actor, "grant_id": ctx.principal.grant_id}
    letter_id = queue(ctx.hub, row, at_ms=ctx.now_ms, wait_ms=wait_ms, **by, **about)
    return Queued(id=letter_id, hook=row.name, text=args.text, send_at_ms=ctx.now_ms + wait_ms)


@command(
    "hook.remove",
    effect="irreversible",
    resource="hook",
    sinks=("hook",),
    permission="work",
    summary="Remove a hook; what still waits for it is not sent.",
    positional=("hook",),
    examples=[Example("hub hook remove chat", "Its secret is gone for good")],
)
def hook_remove(ctx: Context, args: HookNamed) -> HookRemoved:
    """By its owner or an administrator."""
    row = _find(ctx.hub, ctx.principal, args.hook)
    if row.owner_id != ctx.principal.actor and not ctx.principal.allows("admin"):
        raise PermissionDenied("Only its owner or an administrator removes a hook.", param="hook")
    ctx.hub.execute(delete(hooks).where(hooks.c.id == row.id))
    return HookRemoved(id=row.id, name=row.name)


@resolver("hook")
def _hook(connection: Connection, principal: Principal, named: str) -> Found:
    row = _find(connection, principal, named)
    return Found(row.id, row.owner_id, row.name)


def _find(connection: Connection, principal: Principal, named: str) -> Row[Any]:
    query = select(hooks).where(hooks_of(principal), or_(hooks.c.id == named, hooks.c.name == named))
    rows = connection.execute(query.order_by(hooks.c.id == named)).all()
    if not rows:
        raise HookNotFound(f"No hook {named!r}.", param="hook", hint="List them with `hub hook list`.")
    return rows[-1]


def _check_url(url: str, private_hosts: str) -> None:
    """What can be said without asking the network; the rest is checked at each delivery. Raises: InvalidRequest."""
    problem = ""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
            problem = "it is no http:// or https:// address"
        elif parts.username is not None or parts.password is not None or parts.fragment or port == 0:
            problem = "user, password and fragment do not belong there"
        elif _is_private(host) and host.lower() not in {
            one.strip().lower() for one in private_hosts.split(",")
        }:
            problem = "it lies within your own network (see the setting `outbox_private_hosts`)"
    except ValueError as error:
        problem = str(error)
    if problem:
        raise InvalidRequest(f"{url[:80]!r} cannot be a hook: {problem}.", param="url", code="invalid_url")


def _is_private(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(
        (".localhost", ".local", ".internal")
    ):
        return True
    try:
        return not ipaddress.ip_address(host.split("%")[0]).is_global
    except ValueError:
        return False


def _views(ctx: Context, rows: list[Row[Any]]) -> list[HookView]:
    names = names_of(ctx, [row.owner_id for row in rows])
    return [
        HookView(
            id=row.id,
            name=row.name,
            url=row.url if row.owner_id == ctx.principal.actor or ctx.principal.allows("admin") else "",
            owner=names[row.owner_id],
            kinds=json.loads(row.kinds),
            everyone=row.everyone,
            once=row.once,
            created_at_ms=row.created_at_ms,
        )
        for row in rows
    ]
