"""Statements of budgets: limits as rows, and where an anchored window began."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, text, update

from tokenhub.budgets.tables import budget_limit
from tokenhub.budgets.types import Limit, Window
from tokenhub.budgets.windows import check_window, length_ms
from tokenhub.db import revision
from tokenhub.kernel.errors import Conflict, InvalidRequest, NotFound
from tokenhub.ledger import buckets
from tokenhub.ledger.types import Unit

_ANCHOR = text(
    "INSERT INTO window_anchor (limit_id, start_ms) VALUES (:limit_id, :now_ms) "
    "ON CONFLICT (limit_id) DO UPDATE SET start_ms = CASE "
    "WHEN window_anchor.start_ms + :length_ms <= :now_ms THEN :now_ms ELSE window_anchor.start_ms END "
    "RETURNING start_ms"
)


@dataclass(frozen=True, slots=True)
class StoredLimit:
    """A limit and since when it is in force."""

    limit: Limit
    created_at_ms: int


def load_limits(connection: Connection) -> list[Limit]:
    """Every limit in force, by id."""
    rows = connection.execute(
        select(budget_limit).where(budget_limit.c.removed_at_ms.is_(None)).order_by(budget_limit.c.id)
    )
    return [_limit(row) for row in rows]


def find_limit(connection: Connection, org_id: str, named: str) -> StoredLimit:
    """One limit in force of an organisation, by its id or its name. Raises: NotFound, Conflict."""
    rows = connection.execute(
        _in_force(org_id).where((budget_limit.c.id == named) | (budget_limit.c.name == named)).limit(2)
    ).all()
    if not rows:
        raise NotFound(f"No budget is called {named!r}; see `hub budget list`.", param="budget")
    if len(rows) > 1:
        raise Conflict(f"More than one budget is called {named!r}; use its id.", param="budget")
    return StoredLimit(_limit(rows[0]), rows[0].created_at_ms)


def list_limits(connection: Connection, org_id: str, *, after: str | None, limit: int) -> list[StoredLimit]:
    """Limits in force of an organisation, newest first, at most `limit + 1` of them after the id `after`."""
    query = _in_force(org_id).order_by(budget_limit.c.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(budget_limit.c.id < after)
    return [StoredLimit(_limit(row), row.created_at_ms) for row in connection.execute(query)]


def create_limit(connection: Connection, limit: Limit, *, now_ms: int, org_id: str = "") -> Limit:
    """Put a limit in force, set by `org_id`; gateways see it within their next reload. Raises: InvalidRequest."""
    if limit.cap < 0:
        raise InvalidRequest("a cap cannot be negative", param="cap")
    try:
        check_window(limit.window)
    except ValueError as error:
        raise InvalidRequest(str(error), param="window") from error
    connection.execute(
        insert(budget_limit).values(
            id=limit.id,
            org_id=org_id,
            name=limit.name,
            scope_type=limit.scope_type,
            scope_id=limit.scope_id,
            unit=int(limit.unit),
            cap=limit.cap,
            hard=int(limit.hard),
            window_kind=limit.window.kind,
            window_length=limit.window.length,
            length_ms=limit.window.length_ms,
            tz=limit.window.tz,
            anchor_ms=limit.window.anchor_ms,
            model=limit.model,
            created_at_ms=now_ms,
            removed_at_ms=None,
        )
    )
    revision.bump(connection)
    return limit


def set_limit(connection: Connection, limit_id: str, *, cap: int, hard: bool, now_ms: int) -> None:
    """Change cap and kind from now on. What is used or held above a lowered cap stays, nothing more is given."""
    if cap < 0:
        raise InvalidRequest("a cap cannot be negative", param="cap")
    changed = connection.execute(
        update(budget_limit)
        .where(budget_limit.c.id == limit_id, budget_limit.c.removed_at_ms.is_(None))
        .values(cap=cap, hard=int(hard))
    )
    if changed.rowcount == 0:
        raise NotFound(f"no budget {limit_id!r}")
    buckets.set_cap(connection, limit_id, cap=cap, hard=hard, now_ms=now_ms)
    revision.bump(connection)


def remove_limit(connection: Connection, limit_id: str, *, now_ms: int) -> None:
    """Take a limit out of force; what it counted stays in the books. Raises: NotFound."""
    changed = connection.execute(
        update(budget_limit)
        .where(budget_limit.c.id == limit_id, budget_limit.c.removed_at_ms.is_(None))
        .values(removed_at_ms=now_ms)
    )
    if changed.rowcount == 0:
        raise NotFound(f"no budget {limit_id!r}")
    revision.bump(connection)


def current_caps(connection: Connection, limit_ids: Iterable[str]) -> dict[str, tuple[int, bool]]:
    """limit id -> (cap, hard) as they are now, kept so until the transaction ends."""
    rows = connection.execute(
        select(budget_limit.c.id, budget_limit.c.cap, budget_limit.c.hard)
        .where(budget_limit.c.id.in_(sorted(limit_ids)))
        .order_by(budget_limit.c.id)
        .with_for_update(read=True)
    )
    return {row.id: (row.cap, bool(row.hard)) for row in rows}


def anchor_windows(connection: Connection, limits: Sequence[Limit], *, now_ms: int) -> dict[str, int]:
    """Start of the running window of each anchored limit; one that has none (or whose ended) starts now."""
    starts: dict[str, int] = {}
    for limit in sorted(limits, key=lambda limit: limit.id):
        row = connection.execute(
            _ANCHOR, {"limit_id": limit.id, "now_ms": now_ms, "length_ms": length_ms(limit.window)}
        ).one()
        starts[limit.id] = row.start_ms
    return starts


def _in_force(org_id: str) -> Select[Any]:
    return select(budget_limit).where(budget_limit.c.removed_at_ms.is_(None), budget_limit.c.org_id == org_id)


def _limit(row: Row[tuple[object, ...]]) -> Limit:
    fields = row._mapping  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's documented name
    return Limit(
        id=fields["id"],
        scope_type=fields["scope_type"],
        scope_id=fields["scope_id"],
        unit=Unit(fields["unit"]),
        cap=fields["cap"],
        hard=bool(fields["hard"]),
        window=Window(
            kind=fields["window_kind"],
            length=fields["window_length"],
            length_ms=fields["length_ms"],
            tz=fields["tz"],
            anchor_ms=fields["anchor_ms"],
        ),
        model=fields["model"],
        name=fields["name"],
    )
