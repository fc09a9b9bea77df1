"""Taking back what a command did: the rows as they were, or its declared inverse, for whoever could do it again.

An undo is decided as running is. The policies are asked about the first command, and where rows are put back the
command itself is run once more, on the state that it began with, and rolled back: what its body refuses (a role that is
not the caller's to hand out, a file that is somebody else's) refuses the undo too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import DBAPIError

from tokenhub.commands.admission import explain
from tokenhub.commands.authority import Ask
from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command
from tokenhub.commands.parsing import parse
from tokenhub.commands.resources import NOTHING, Found, thing_of
from tokenhub.db import revision
from tokenhub.db.changes import restore, unrecorded
from tokenhub.db.engine import Name
from tokenhub.db.metadata import hub_metadata, ledger_metadata
from tokenhub.identity import grants
from tokenhub.kernel.errors import Conflict, HubError, NotFound, PermissionDenied


def take_back(ctx: Context, books: Name, origins: Sequence[RowMapping]) -> str:
    """Undo the first of `origins`; the others are what it took back itself, down to the command that began it.

    Gives `rows` or the inverse command that was run. Raises: PermissionDenied, Conflict.
    """
    row, original = origins[0], origins[-1]
    connection = ctx.hub if books == "hub" else ctx.ledger
    for one in origins:
        _may(ctx, ctx.command(str(one["command"])), json.loads(one["arguments"]), one)
    if row["undo"] is not None:
        return _invert(ctx, json.loads(row["undo"]))
    again = len(origins) % 2 == 0  # an undo of an undo does the first command again
    if again:
        _rehearse(ctx, connection, original)
    metadata = hub_metadata if books == "hub" else ledger_metadata
    restore(connection, metadata, json.loads(row["changes"]))
    if not again:
        _rehearse(ctx, connection, original)
    revision.bump(connection)
    return "rows"


def _rehearse(ctx: Context, connection: Connection, row: RowMapping) -> None:
    """Run the command again and roll it back. Raises: PermissionDenied if the caller could not do it.

    Whoever did it may take it back although it could not be done again for another reason (a colleague who left).
    """
    declared = ctx.command(str(row["command"]))
    own = row["actor"] == ctx.principal.actor
    trial = replace(ctx, dry_run=True, status="success", next="", undo=None, undoes=None)
    try:
        with unrecorded(connection), connection.begin_nested() as savepoint:
            declared.run(trial, parse(declared, json.loads(row["arguments"])))
            savepoint.rollback()
    except (HubError, DBAPIError) as error:
        unseen = isinstance(error, NotFound) and error.param == declared.resource_argument
        if own and not unseen and not isinstance(error, PermissionDenied):
            return
        why = error.message if isinstance(error, HubError) else "It clashes with something."
        raise PermissionDenied(
            f"You could not do `{declared.name}` yourself, so you cannot take it back: {why}", param="audit"
        ) from error


def _invert(ctx: Context, inverse: Mapping[str, Any]) -> str:
    if not inverse:
        raise Conflict("This was an undo that cannot itself be undone.", code="irreversible")
    declared = ctx.command(str(inverse["command"]))
    _may(ctx, declared, inverse["arguments"], None)
    declared.run(ctx, parse(declared, inverse["arguments"]))
    ctx.status, ctx.next = "success", ""
    return declared.name


def _may(ctx: Context, declared: Command, arguments: Mapping[str, Any], row: RowMapping | None) -> None:
    """Ask the policies as for a run, about the thing that it acted on then. Raises: PermissionDenied."""
    found = _thing(ctx, declared, arguments, row)
    lent = grants.chain(ctx.hub, ctx.principal.grant_id) if ctx.principal.grant_id else ()
    asked = Ask(declared, ctx.principal, arguments, found, lent=lent, vouched=True, at_ms=ctx.now_ms)
    decision = ctx.view.decide(ctx.hub, asked)
    if decision.verdict != "allow":
        raise PermissionDenied(
            explain(declared.name, decision.policies),
            code="policy_denied",
            hint=f"See `hub policy why {declared.name}`.",
        )


def _thing(ctx: Context, declared: Command, arguments: Mapping[str, Any], row: RowMapping | None) -> Found:
    """The thing by the id that was decided on then: its name may be another's now, or nobody's."""
    if row is None or row["decision"] is None:
        return thing_of(ctx, ctx.principal, declared, arguments)
    question = json.loads(row["decision"])["question"]
    kind, id = question["resource"]
    if kind == "Org":
        return NOTHING
    was_mine = question["flags"]["mine"] and question["user"] == ctx.principal.user_id
    now = thing_of(ctx, ctx.principal, declared, {declared.resource_argument: id})
    return now if now.known else Found(id, ctx.principal.user_id or "" if was_mine else "")
