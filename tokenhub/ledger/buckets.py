"""Buckets and leases: what may still be used. Every statement that moves an amount is here.

Invariants, kept by the database: used >= 0, held >= 0, used + held <= ceiling for hard buckets; and by these
functions: held = sum of the leases. A bucket's row is locked before it is read for a change, ids in ascending
order, always before accounts and the chain head, so that transactions never deadlock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, select, text, update
from sqlalchemy.engine import Row

from tokenhub.db.driver import Cursor, Sql, sql
from tokenhub.db.kept import Kept
from tokenhub.ledger.tables import bucket, lease, recall, subwindow
from tokenhub.ledger.types import BucketSpec

_SHORT_MS = 3_600_000
LEASE_REQUESTS = 1024
"""Far from the cap a lease covers at most this many requests of the size that asked for it."""

_INSERT_BUCKET = text(
    "INSERT INTO bucket (id, limit_id, unit, window_start_ms, window_end_ms, length_ms, step_ms, cap, ceiling, hard,"
    " used, held, overage) VALUES (:id, :limit_id, :unit, :start, :end, :length, :step, :cap, :cap, :hard, 0, 0, 0)"
    " ON CONFLICT (id) DO NOTHING"
)
_HOLD = text("UPDATE bucket SET held = held + :amount WHERE id = :bucket_id")
_NEW_LEASE = text(
    "INSERT INTO lease (owner_id, bucket_id, amount) VALUES (:owner_id, :bucket_id, 0)"
    " ON CONFLICT (owner_id, bucket_id) DO NOTHING"
)
_ADD_LEASE = text(
    "UPDATE lease SET amount = amount + :amount WHERE owner_id = :owner_id AND bucket_id = :bucket_id"
)
_TAKE_LEASE = sql("UPDATE lease SET amount = amount - ? WHERE owner_id = ? AND bucket_id = ?")
_CHARGED = (
    "SELECT b.id, b.window_end_ms, b.window_start_ms, b.step_ms, b.cap, b.hard, b.used, b.held, b.overage, l.amount"
    " FROM bucket AS b LEFT JOIN lease AS l ON l.owner_id = {q} AND l.bucket_id = b.id WHERE b.id {ids} ORDER BY b.id"
)
_CHARGED_NOW = Sql(
    _CHARGED.format(q="?", ids="IN (SELECT value FROM json_each(?))"),
    _CHARGED.format(q="%s", ids="= ANY(%s::text[])") + " FOR UPDATE OF b",
)
_CHARGE = sql("UPDATE bucket SET used = used + ?, held = held - ?, overage = overage + ? WHERE id = ?")
_ADD_SUBWINDOW = sql(
    "INSERT INTO subwindow (bucket_id, start_ms, used, overage) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (bucket_id, start_ms) DO UPDATE"
    " SET used = subwindow.used + excluded.used, overage = subwindow.overage + excluded.overage"
)
_NOTE_WAITING = text(
    "UPDATE lease SET waiting = :waiting"
    " WHERE owner_id = :owner_id AND bucket_id = :bucket_id AND waiting <> :waiting"
)
_RECALL = text(
    "INSERT INTO recall (bucket_id, owner_id, at_ms) VALUES (:bucket_id, :owner_id, :now_ms)"
    " ON CONFLICT (bucket_id, owner_id) DO UPDATE SET at_ms = excluded.at_ms"
)


_LEASED = sql("SELECT bucket_id, amount FROM lease WHERE owner_id = ?")
_LEASED_OF = Sql(
    "SELECT bucket_id, amount FROM lease WHERE owner_id = ? AND bucket_id IN (SELECT value FROM json_each(?))",
    "SELECT bucket_id, amount FROM lease WHERE owner_id = %s AND bucket_id = ANY(%s::text[])",
)
_RECALLED = sql("SELECT bucket_id FROM recall WHERE at_ms >= ? AND owner_id <> ?")
_LOCK = (
    select(bucket)
    .where(bucket.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(bucket.c.id)
    .with_for_update()
)
_WAITING_ELSEWHERE = select(func.sum(lease.c.waiting)).where(
    lease.c.bucket_id == bindparam("bucket_id"), lease.c.owner_id != bindparam("owner_id")
)


@dataclass(frozen=True, slots=True)
class Order:
    """What one process asks of one bucket. `minimum`, `enough` and `least` include `idle`."""

    bucket_id: str
    wanted: int
    """Enough for every request that waits."""
    minimum: int
    """What serves every waiting request for now; 0 for a lease that is only topped up ahead of need."""
    enough: int
    """What the first in line waits for while requests in flight may still give something back."""
    least: int
    """What it takes when none of them will."""
    single: int
    """What the largest waiting request wants."""
    idle: int = 0
    """Free in the asking process; goes back if the first in line cannot be served."""
    waiting: int = 0
    """Held by answers of the asking process that wait for more of this bucket."""
    victim: int = 0
    """Of that, held by the answer that ends if nothing else helps."""
    ahead: int = 1
    """How many times LEASE_REQUESTS requests may be leased far from the cap."""


@dataclass(frozen=True, slots=True)
class BucketState:
    """A bucket after a change."""

    bucket_id: str
    cap: int
    used: int
    held: int
    overage: int
    resets_at_ms: int
    """When the window ends; rolling: when the oldest use leaves it; 2**62 for never."""
    window_start_ms: int = 0
    missing: int = 0
    """What the last settlement could not take from the owner's lease and booked as overage."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Answer to an order: `amount` more is leased (negative: `idle` went back)."""

    amount: int
    near: bool
    """The cap is so near that holds should be small."""
    state: BucketState
    quiet: bool = False
    """All that is held is held by answers that wait for more: nothing comes back unless one of them ends."""
    stuck: bool = False
    """So it is, and what is free does not serve the first in line: one that waits has to end."""


@dataclass(slots=True)
class Charge:
    """What settlement moves in one bucket."""

    used: int = 0
    overage: int = 0
    returned: int = 0
    """Leased and not used: goes back."""
    steps: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """Rolling windows: start of the sub-window -> [used, overage]."""


class _Charged(NamedTuple):
    """What settlement needs of a bucket, and the owner's lease on it."""

    id: str
    window_end_ms: int
    window_start_ms: int
    step_ms: int
    cap: int
    hard: int
    used: int
    held: int
    overage: int
    leased: int | None


_Step = tuple[str, int, int, int]
"""(bucket id, start of the sub-window, used, overage)."""


def ensure_buckets(connection: Connection, specs: Iterable[BucketSpec]) -> None:
    """Create the buckets that do not exist yet, empty."""
    rows = [
        {
            "id": spec.bucket_id,
            "limit_id": spec.limit_id,
            "unit": int(spec.unit),
            "start": spec.window_start_ms,
            "end": spec.window_end_ms,
            "length": spec.length_ms,
            "step": spec.step_ms,
            "cap": spec.cap,
            "hard": int(spec.hard),
        }
        for spec in sorted(specs, key=lambda spec: spec.bucket_id)
    ]
    if rows:
        connection.execute(_INSERT_BUCKET, rows)


def grant(
    connection: Connection,
    owner_id: str,
    orders: Sequence[Order],
    *,
    owners: int,
    now_ms: int,
    waiting: Mapping[str, int] | None = None,
) -> dict[str, Grant]:
    """Lease from each bucket as much as its cap allows: bucket id -> grant.

    Far from the cap the lease is `room / (4 * owners)`, at most `ahead` times LEASE_REQUESTS requests; near it exactly
    what the waiting requests need. Nothing is given if the first in line cannot be served: then `idle` goes back.
    waiting: bucket id -> what answers of this owner that wait for more of it hold, told to the other owners.
    """
    wanted = {order.bucket_id: order for order in orders}
    noted = dict(waiting or {}) if owners > 1 else {}
    grants: dict[str, Grant] = {}
    for row in lock(connection, {*wanted, *noted}):
        order = wanted.get(row.id)
        if order is None:
            continue
        used, overage, resets_at_ms = _leave_window(connection, row, now_ms)
        room = row.cap - used - overage - row.held
        near = room // (4 * max(1, owners)) < order.wanted
        quiet = near and _is_quiet(connection, owner_id, order, held=row.held, alone=owners <= 1)
        stuck = quiet and room + order.idle < order.least
        if stuck and row.id in noted:
            noted[row.id] -= order.victim  # what it holds is about to come back
        amount = _size(order, room=room, owners=owners, quiet=quiet)
        if amount < 0:  # unless a use beyond its hold has taken it meanwhile
            amount = -min(-amount, _leased(connection, owner_id, row.id))
        state = BucketState(row.id, row.cap, used, row.held + amount, overage, resets_at_ms)
        grants[row.id] = Grant(amount, near, state, quiet, stuck)
    moves = [
        {"owner_id": owner_id, "bucket_id": bucket_id, "amount": given.amount}
        for bucket_id, given in grants.items()
        if given.amount
    ]
    if moves:
        connection.execute(_HOLD, moves)
        connection.execute(_NEW_LEASE, moves)
        connection.execute(_ADD_LEASE, moves)
    for bucket_id in sorted(noted):
        connection.execute(
            _NOTE_WAITING, {"owner_id": owner_id, "bucket_id": bucket_id, "waiting": noted[bucket_id]}
        )
    return grants


def charge(
    connection: Connection, owner_id: str, charges: Mapping[str, Charge], *, now_ms: int
) -> list[BucketState]:
    """Settle: leased amounts become used or go back; returns the buckets after it.

    Never more becomes used than the owner has leased: the rest is overage (a soft bucket needs no lease).
    """
    if not charges:
        return []
    cursor, ids = Cursor(connection), sorted(charges)
    states: list[BucketState] = []
    moves: list[tuple[int, int, int, str]] = []
    taken: list[tuple[int, str, str]] = []
    steps: list[_Step] = []
    for values in cursor.all(
        _CHARGED_NOW, (owner_id, ids if cursor.on_postgres else msgspec.json.encode(ids).decode())
    ):
        row = _Charged(*values)
        item, leased = charges[row.id], row.leased or 0
        if row.hard or leased:
            missing = max(0, item.used - leased)
            held = min(leased, item.used - missing + item.returned)
        else:
            missing, held = 0, 0
        used, overage = item.used - missing, item.overage + missing
        _shift_steps(item, missing)
        if row.step_ms:
            used, overage = _book_steps(row, item, steps)
        moves.append((used, held, overage, row.id))
        if held:
            taken.append((held, owner_id, row.id))
        states.append(
            BucketState(
                bucket_id=row.id,
                cap=row.cap,
                used=row.used + used,
                held=row.held - held,
                overage=row.overage + overage,
                resets_at_ms=now_ms + row.step_ms if row.step_ms else row.window_end_ms,
                missing=missing,
            )
        )
    cursor.many(_CHARGE, moves)
    cursor.many(_TAKE_LEASE, taken)
    cursor.many(_ADD_SUBWINDOW, steps)
    return states


def give_back(connection: Connection, bucket_ids: Mapping[str, int], *, at_ms: int) -> None:
    """Undo a use (a correction): bucket id -> amount; overage is undone first.

    A use that has already left its rolling window, or whose bucket is gone, needs nothing undone.
    """
    for row in lock(connection, bucket_ids):
        amount = bucket_ids[row.id]
        if row.step_ms:
            if at_ms < row.window_start_ms:
                continue
            start = at_ms // row.step_ms * row.step_ms
            step = connection.execute(
                select(subwindow).where(subwindow.c.bucket_id == row.id, subwindow.c.start_ms == start)
            ).first()
            if step is None:
                continue
            over = min(step.overage, amount)
            Cursor(connection).run(_ADD_SUBWINDOW, (row.id, start, over - amount, -over))
        else:
            over = min(row.overage, amount)
        Cursor(connection).run(_CHARGE, (over - amount, 0, -over, row.id))


def release_owner(connection: Connection, owner_id: str) -> int:
    """Give back everything a dead owner still holds; returns how many leases there were."""
    held: dict[str, int] = dict(Cursor(connection).all(_LEASED, (owner_id,)))
    moves = [(0, held[row.id], 0, row.id) for row in lock(connection, held)]
    Cursor(connection).many(_CHARGE, moves)
    connection.execute(delete(lease).where(lease.c.owner_id == owner_id))
    return len(held)


def leased(connection: Connection, owner_id: str, bucket_ids: Iterable[str]) -> dict[str, int]:
    """What an owner leases of these buckets; nobody else changes that while it lives. It may lease of very many in all."""
    cursor, ids = Cursor(connection), sorted(bucket_ids)
    values = owner_id, ids if cursor.on_postgres else msgspec.json.encode(ids).decode()
    return dict(cursor.all(_LEASED_OF, values))


def set_cap(connection: Connection, limit_id: str, *, cap: int, hard: bool, now_ms: int) -> None:
    """New cap for the windows of a limit that have not ended."""
    ids = connection.execute(
        select(bucket.c.id).where(bucket.c.limit_id == limit_id, bucket.c.window_end_ms > now_ms)
    ).scalars()
    for row in lock(connection, list(ids)):
        connection.execute(
            update(bucket)
            .where(bucket.c.id == row.id)
            .values(cap=cap, hard=int(hard), ceiling=max(cap, row.used + row.held))
        )


def states(connection: Connection, limit_ids: Sequence[str], *, now_ms: int) -> dict[str, BucketState]:
    """The running window of each limit that has one: limit id -> state, without locking or changing anything."""
    found: dict[str, BucketState] = {}
    rows = connection.execute(
        select(bucket)
        .where(bucket.c.limit_id.in_(limit_ids), bucket.c.window_end_ms > now_ms)
        .where(bucket.c.window_start_ms <= now_ms)
        .order_by(bucket.c.window_start_ms)
    )
    for row in rows:
        gone_used, gone_overage = 0, 0
        if row.step_ms:
            gone_used, gone_overage = _outside(connection, row, now_ms)
        found[row.limit_id] = BucketState(
            bucket_id=row.id,
            cap=row.cap,
            used=row.used - gone_used,
            held=row.held,
            overage=row.overage - gone_overage,
            resets_at_ms=_resets_at(row, now_ms),
            window_start_ms=row.window_start_ms,
        )
    return found


def prune(connection: Connection, *, before_ms: int) -> int:
    """Forget short windows (up to an hour) that ended before then; returns how many. Nothing else counts on them."""
    short = bucket.c.window_end_ms - bucket.c.window_start_ms <= _SHORT_MS
    gone = connection.execute(
        delete(bucket).where(bucket.c.window_end_ms < before_ms, short, bucket.c.held == 0)
    )
    connection.execute(delete(recall).where(recall.c.at_ms < before_ms))
    return gone.rowcount


def request_recall(connection: Connection, owner_id: str, bucket_ids: Iterable[str], *, now_ms: int) -> None:
    """Ask the other owners to return what they do not use of these buckets."""
    rows = [
        {"bucket_id": bucket_id, "owner_id": owner_id, "now_ms": now_ms} for bucket_id in sorted(bucket_ids)
    ]
    if rows:
        connection.execute(_RECALL, rows)


def recalled(books: Kept, owner_id: str, *, since_ms: int) -> list[str]:
    """Buckets that other owners want back since then."""
    return [row[0] for row in books.look(_RECALLED, (since_ms, owner_id))]


def lock(connection: Connection, bucket_ids: Iterable[str]) -> Sequence[Row[tuple[object, ...]]]:
    """The rows, locked in ascending order of id until the transaction ends."""
    ids = sorted(bucket_ids)
    rows: list[Row[tuple[object, ...]]] = []
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        rows += connection.execute(_LOCK, {"ids": chunk}).all()
    return rows


def _size(order: Order, *, room: int, owners: int, quiet: bool) -> int:
    if room + order.idle < (order.least if quiet else order.enough):
        return -order.idle
    share = room // (4 * max(1, owners))
    most = LEASE_REQUESTS * order.ahead * order.single
    return min(max(room, 0), max(order.minimum - order.idle, min(most, share)))


def _leased(connection: Connection, owner_id: str, bucket_id: str) -> int:
    query = select(lease.c.amount).where(lease.c.owner_id == owner_id, lease.c.bucket_id == bucket_id)
    return connection.execute(query).scalar() or 0


def _is_quiet(connection: Connection, owner_id: str, order: Order, *, held: int, alone: bool) -> bool:
    """True if nobody holds anything that comes back by itself: all in flight wait to grow."""
    moving = held - order.idle - order.waiting
    if moving > 0 and not alone:
        moving -= (
            connection.execute(
                _WAITING_ELSEWHERE, {"owner_id": owner_id, "bucket_id": order.bucket_id}
            ).scalar()
            or 0
        )
    return moving <= 0


def _shift_steps(item: Charge, missing: int) -> None:
    """Mark `missing` of the newest sub-windows' use as overage."""
    for start in sorted(item.steps, reverse=True):
        if missing <= 0:
            return
        part = min(missing, item.steps[start][0])
        item.steps[start][0] -= part
        item.steps[start][1] += part
        missing -= part


def _book_steps(row: _Charged, item: Charge, steps: list[_Step]) -> tuple[int, int]:
    """Rolling: only what is still inside the window counts; the rest has been used and has left already."""
    used, overage = 0, 0
    for start, (step_used, step_overage) in item.steps.items():
        if start >= row.window_start_ms:
            used += step_used
            overage += step_overage
            steps.append((row.id, start, step_used, step_overage))
    return used, overage


def _leave_window(connection: Connection, row: Row[tuple[object, ...]], now_ms: int) -> tuple[int, int, int]:
    """Let sub-windows that lie outside leave; returns (used, overage, resets_at_ms) after it."""
    if not row.step_ms:
        return row.used, row.overage, row.window_end_ms
    boundary = (now_ms - row.length_ms) // row.step_ms * row.step_ms
    used, overage = _outside(connection, row, now_ms)
    if boundary > row.window_start_ms:
        connection.execute(
            delete(subwindow).where(subwindow.c.bucket_id == row.id, subwindow.c.start_ms < boundary)
        )
        connection.execute(
            update(bucket)
            .where(bucket.c.id == row.id)
            .values(used=bucket.c.used - used, overage=bucket.c.overage - overage, window_start_ms=boundary)
        )
    oldest = connection.execute(
        select(func.min(subwindow.c.start_ms)).where(subwindow.c.bucket_id == row.id, subwindow.c.used > 0)
    ).scalar()
    return (
        row.used - used,
        row.overage - overage,
        (now_ms if oldest is None else oldest + row.step_ms + row.length_ms),
    )


def _outside(connection: Connection, row: Row[tuple[object, ...]], now_ms: int) -> tuple[int, int]:
    boundary = (now_ms - row.length_ms) // row.step_ms * row.step_ms
    gone = connection.execute(
        select(func.sum(subwindow.c.used), func.sum(subwindow.c.overage)).where(
            subwindow.c.bucket_id == row.id, subwindow.c.start_ms < boundary
        )
    ).one()
    return int(gone[0] or 0), int(gone[1] or 0)


def _resets_at(row: Row[tuple[object, ...]], now_ms: int) -> int:
    return now_ms + row.step_ms if row.step_ms else row.window_end_ms
