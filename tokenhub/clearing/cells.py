"""What a gateway holds in memory: cells (a leased part of one bucket), paths (the cells of a request), holds.

At any time, for each cell: free + what open holds were granted + captured but not settled = the lease in the
database. Only the event loop's thread touches these objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenhub.budgets.types import Limit
from tokenhub.ledger.buckets import BucketState
from tokenhub.ledger.types import Amounts, BucketSpec
from tokenhub.metering.plain import PlainUse

NEVER_MS = 2**62
LEASE_MS = 500
AHEAD_MAX = 64


class Cell:
    """This process's part of one hard bucket."""

    __slots__ = (
        *("ahead", "asked", "bucket_id", "free", "limit", "low", "near"),
        *("refilled_ms", "state", "touched_ms", "unit"),
    )

    def __init__(self, spec: BucketSpec, limit: Limit) -> None:
        self.bucket_id = spec.bucket_id
        self.limit = limit
        self.unit = int(spec.unit)
        self.free = 0
        """Leased and not promised to any request; negative after a request booked beyond its hold."""
        self.low = 0
        """Below this much `free`, more is leased ahead of need."""
        self.near = False
        """The cap is near: holds are granted small."""
        self.asked = False
        """A top-up is on its way."""
        self.touched_ms = 0
        self.refilled_ms = 0
        self.ahead = 1
        """How large a lease is asked for: twice the last one while one lasts for less than LEASE_MS."""
        self.state = BucketState(spec.bucket_id, spec.cap, 0, 0, 0, spec.window_end_ms)

    def look_ahead(self) -> None:
        """More is about to be leased: as much as lasts for about LEASE_MS."""
        lasted_ms, self.refilled_ms = self.touched_ms - self.refilled_ms, self.touched_ms
        if lasted_ms < LEASE_MS:
            self.ahead = min(2 * self.ahead, AHEAD_MAX)
        elif lasted_ms > 4 * LEASE_MS:
            self.ahead = max(self.ahead // 2, 1)


class Path:
    """The limits of one kind of request (one key, one model), and the buckets that are current for them."""

    __slots__ = ("__weakref__", "cells", "headers", "headers_at_ms", "limits", "path_id", "specs", "until_ms")

    def __init__(self, limits: Sequence[Limit]) -> None:
        self.limits = tuple(limits)
        self.cells: tuple[Cell, ...] = ()
        """Hard limits only: a soft one is counted at settlement and never asked."""
        self.specs: tuple[BucketSpec, ...] = ()
        self.path_id = ""
        self.until_ms = 0 if limits else NEVER_MS
        """Before this instant the cells are the current ones; 0 = not opened yet."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.headers_at_ms = 0


class Hold:
    """One request's promise: it may use what was granted, on every cell of its path."""

    __slots__ = ("cells", "closed", "draft", "granted", "path", "path_id", "refused_by", "request_id")

    def __init__(self, request_id: str, path: Path, granted: Amounts) -> None:
        self.request_id = request_id
        self.path = path
        self.path_id = path.path_id
        self.cells = path.cells
        self.granted = granted
        self.closed = False
        self.draft: bytes | None = None
        """The last journaled checkpoint."""
        self.refused_by: Limit | None = None
        """The limit that refused the last growth."""

    def outlives(self, at_ms: int) -> bool:
        """Its path is over by this instant, or has other cells by now."""
        return at_ms >= self.path.until_ms or self.cells is not self.path.cells


@dataclass(frozen=True, slots=True)
class ClerkStats:
    """For metrics: what this process holds in memory."""

    owner_id: str
    backlog: int
    """Events captured and not settled."""
    settled: int
    waiting: int
    """Requests on the slow path."""
    cells: int
    leased_idle: int
    """Cells with idle leases."""
    blocked: bool
    """New work is refused (journal or database)."""


def take(cells: tuple[Cell, ...], need: Amounts) -> bool:
    """Take `need` from every cell, or from none."""
    for cell in cells:
        if cell.free < need[cell.unit]:
            return False
    for cell in cells:
        cell.free -= need[cell.unit]
    return True


def take_now(cells: tuple[Cell, ...], need: Amounts, now_ms: int) -> int:
    """Take `need` from every cell: 1, or 2 if a cell is low now. 0: one has too little, and nothing was taken."""
    if not take(cells, need):
        return 0
    low = 1
    for cell in cells:
        cell.touched_ms = now_ms
        if cell.free < cell.low:
            low = 2
    return low


def close(charges: Sequence[tuple[Hold, PlainUse, int]]) -> bool:
    """Close these holds and give back what their uses leave. True: a path is over, or has other cells by now."""
    cells: tuple[Cell, ...] = ()
    tokens = requests = money = running = 0
    over = False
    for hold, use, used in charges:
        if hold.cells is not cells:
            release(cells, (tokens, requests, money, running))
            cells, tokens, requests, money, running = hold.cells, 0, 0, 0, 0
        granted = hold.granted
        tokens += granted[0] - used
        requests += granted[1] - 1
        money += granted[2] - use[6]
        running += granted[3]
        hold.closed = True
        over = over or hold.outlives(use[2])
    release(cells, (tokens, requests, money, running))
    return over


def release(cells: tuple[Cell, ...], amounts: Amounts) -> None:
    """Give these amounts to every cell."""
    for cell in cells:
        cell.free += amounts[cell.unit]


def add_freed(freed: dict[Cell, int], hold: Hold, used: tuple[int, int, int, int]) -> None:
    """What each cell gets back (or loses, below 0) when this hold is captured."""
    for cell in hold.cells:
        freed[cell] = freed.get(cell, 0) + hold.granted[cell.unit] - used[cell.unit]
