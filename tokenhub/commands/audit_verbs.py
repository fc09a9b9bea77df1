"""`hub audit …`: what was done and decided, proof that nobody rewrote it, and taking it back."""

import json
from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import Field
from sqlalchemy import RowMapping

from tokenhub.commands import audit
from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import NOTHING, Books, Found
from tokenhub.commands.undo import take_back
from tokenhub.db import revision
from tokenhub.db.alone import one_at_a_time
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, NotFound

VERBS: list[Command] = []
Which = Literal["hub", "ledger"]
BOOKS_HELP = "`hub` (objects) or `ledger` (limits and books): each has its own chain."


class AuditRow(Model):
    """One command that was run, refused or asked about."""

    id: str
    seq: int | None = Field(description="Number in the organisation's chain; null = before there was one.")
    at_ms: int
    actor: str
    grant_id: str | None = Field(description="Set if an agent did it.")
    app: str
    command: str
    effect: str
    outcome: str = Field(
        description="`success`, `pending`, `partial_failure`, `denied`, `asked` or `dry_run`."
    )
    arguments: dict[str, Any]
    decision: dict[str, Any] | None = Field(description="What the policies were asked and what they said.")
    changes: list[dict[str, Any]] | None = Field(description="Rows before and after.")
    undoes: str | None
    request_id: str
    hash: str | None


class AuditListArgs(PageArgs):
    """Which rows."""

    books: Which = Field(default="hub", description=BOOKS_HELP)
    command: str = Field(default="", description="Only this command.")
    outcome: Literal["", "success", "pending", "partial_failure", "denied", "asked", "dry_run"] = Field(
        default="", description="Only with this outcome."
    )


class AuditNamed(Model):
    """One row."""

    audit: str = Field(description="Id of the audit row.")


class AuditExportArgs(Model):
    """From where on."""

    books: Which = Field(default="hub", description=BOOKS_HELP)
    after: int = Field(
        default=0, ge=0, description="Number of the last row that you have; 0 = from the beginning."
    )
    limit: int = Field(default=500, ge=1, le=5000, description="Most rows of one answer.")


class AuditBooksArgs(Model):
    """Nothing but which books."""


class AuditList(PageResult):
    """A page of rows."""

    items: list[AuditRow]


class AuditExport(Model):
    """Rows in order, with what proves them."""

    items: list[dict[str, Any]] = Field(
        description="Whole rows; `hash` covers the row and the hash before it."
    )
    head: str = Field(
        description="Hash of the last row here. Keep it elsewhere: it proves this part for ever."
    )
    next_after: int | None = Field(description="Pass as `after` for the rest; null = the end.")


class ChainState(Model):
    """One chain."""

    books: Which
    rows: int
    head: str = Field(description="Hash of the last row.")
    faults: list[str]


class AuditVerified(Model):
    """Whether the trail is as it was written."""

    holds: bool
    chains: list[ChainState]


class AuditUndone(Model):
    """What was taken back."""

    audit: str
    command: str
    by: str = Field(description="`rows`: they are as before; else the inverse command that was run.")


def _acted_on(books: Books, principal: Principal, arguments: Mapping[str, Any]) -> Found:
    if not arguments.get("audit"):
        return NOTHING
    row = _row(books, principal, str(arguments["audit"]))
    return Found(row["id"], row["actor"])


def _row(books: Books, principal: Principal, audit_id: str) -> RowMapping:
    name = audit.database_of(audit_id)
    row = audit.find(books.hub if name == "hub" else books.ledger, name, principal.org_id, audit_id)
    if row is None or not (principal.administers or row["actor"] == principal.actor):
        raise NotFound(
            f"No audit row {audit_id!r}.",
            code="audit_not_found",
            param="audit",
            hint="List them with `hub audit list`.",
        )
    return row


@command(
    "audit.list",
    effect="read",
    resource="",
    permission="",
    trust="untrusted",
    summary="List what was done, refused and asked.",
    columns=("id", "at_ms", "actor", "command", "outcome", "grant_id"),
    examples=[Example("hub audit list --outcome denied", "Your own; an administrator's organisation's")],
)
def audit_list(ctx: Context, args: AuditListArgs) -> AuditList:
    """Newest first. People's reads leave no row; agents' do."""
    connection = ctx.hub if args.books == "hub" else ctx.ledger
    rows = audit.listing(
        connection,
        args.books,
        ctx.principal.org_id,
        actor=None if ctx.principal.administers else ctx.principal.actor,
        command=args.command,
        outcome=args.outcome,
        after=args.after,
        limit=args.limit,
    )
    shown = page(rows, limit=args.limit, key=lambda row: str(row["id"]))
    return AuditList(items=[_view(row) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "audit.show",
    effect="read",
    resource="audit",
    acts_on=_acted_on,
    permission="",
    trust="untrusted",
    summary="Show one audit row whole.",
    positional=("audit",),
    examples=[Example("hub audit show audit_01…", "Arguments, decision, rows before and after")],
)
def audit_show(ctx: Context, args: AuditNamed) -> AuditRow:
    """By id."""
    return _view(_mine(ctx, args.audit))


@command(
    "audit.verify",
    effect="read",
    resource="",
    permission="admin",
    summary="Prove that no audit row was changed, taken out or cut off.",
    examples=[
        Example("hub audit verify", "Both chains of your organisation, from the first row to the head")
    ],
)
def audit_verify(ctx: Context, args: AuditBooksArgs) -> AuditVerified:
    """Recomputes every hash."""
    chains: list[ChainState] = []
    for books in ("hub", "ledger"):
        found = audit.verify(ctx.hub if books == "hub" else ctx.ledger, books, ctx.principal.org_id)
        chains.append(ChainState(books=books, rows=found.rows, head=found.head, faults=list(found.faults)))
    holds = not any(chain.faults for chain in chains)
    if not holds:
        ctx.partial(next="hub audit export --json")
    return AuditVerified(holds=holds, chains=chains)


@command(
    "audit.export",
    effect="read",
    resource="",
    permission="admin",
    trust="untrusted",
    summary="Give whole audit rows in order, with their hashes.",
    examples=[Example("hub audit export --json > audit.json", "Everything, to keep elsewhere")],
)
def audit_export(ctx: Context, args: AuditExportArgs) -> AuditExport:
    """Anyone can recompute the chain: docs/decisions/0013."""
    connection = ctx.hub if args.books == "hub" else ctx.ledger
    rows = audit.export(
        connection, args.books, ctx.principal.org_id, after_seq=args.after, limit=args.limit + 1
    )
    shown, rest = rows[: args.limit], rows[args.limit :]
    head = str(shown[-1]["hash"]) if shown else ""
    return AuditExport(items=shown, head=head, next_after=int(shown[-1]["seq"]) if rest else None)


@command(
    "audit.undo",
    effect="write",
    resource="audit",
    acts_on=_acted_on,
    sinks=("audit",),
    writes=lambda args: audit.database_of(cast(AuditNamed, args).audit),
    permission="",
    summary="Take back what a command did.",
    positional=("audit",),
    examples=[
        Example("hub audit undo audit_01… --dry-run", "See which rows would be as before"),
        Example("hub audit undo audit_01…", "An undo can itself be undone"),
    ],
)
def audit_undo(ctx: Context, args: AuditNamed) -> AuditUndone:
    """For whoever did it or an administrator, who may still do it. Refused if the rows were changed again since."""
    row = _mine(ctx, args.audit)
    books = audit.database_of(args.audit)
    connection = ctx.hub if books == "hub" else ctx.ledger
    one_at_a_time(connection, "undo", args.audit)
    if row["effect"] != "write" or row["outcome"] in ("denied", "asked", "dry_run") or row["changes"] is None:
        raise Conflict(
            f"`{row['command']}` of {args.audit} changed nothing, or cannot be taken back.",
            code="irreversible",
        )
    taken = audit.undone_by(connection, books, args.audit)
    if taken is not None:
        raise Conflict(
            f"{args.audit} was taken back already, by {taken}.", code="already_undone", param="audit"
        )
    origins = _origins(ctx, row)
    ctx.undoes = args.audit
    by = take_back(ctx, books, origins)
    if books == "hub":
        revision.bump_authority(connection)
    return AuditUndone(audit=args.audit, command=str(row["command"]), by=by)


def _origins(ctx: Context, row: RowMapping) -> list[RowMapping]:
    """The row and, of an undo, the rows whose effect it took back: to repeat that is to do it."""
    found = [row]
    while (above := found[-1]["undoes"]) is not None:
        found.append(_mine(ctx, str(above)))
    return found


def _mine(ctx: Context, audit_id: str) -> RowMapping:
    """The row, if the caller may see it. Raises: NotFound."""
    return _row(ctx, ctx.principal, audit_id)


def _view(row: RowMapping) -> AuditRow:
    return AuditRow(
        id=row["id"],
        seq=row["seq"],
        at_ms=row["at_ms"],
        actor=row["actor"],
        grant_id=row["grant_id"],
        app=row["app"],
        command=row["command"],
        effect=row["effect"],
        outcome=row["outcome"],
        arguments=json.loads(row["arguments"]),
        decision=None if row["decision"] is None else json.loads(row["decision"]),
        changes=None if row["changes"] is None else json.loads(row["changes"]),
        undoes=row["undoes"],
        request_id=row["request_id"],
        hash=row["hash"],
    )
