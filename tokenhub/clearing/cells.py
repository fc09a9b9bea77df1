"""What a gateway holds in memory: cells (a leased part of one bucket), paths (the cells of a request), holds.

At any time, for each cell: free + what open holds were granted + captured but not settled = the lease in the
database. Only the event loop's thread touches these objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenhub.budgets.types import Limit
from tokenhub.ledger.buckets import BucketState
from tokenhub.ledger.types import Amounts, BucketSpec, Need

NEVER_MS = 2**62


class Cell:
    """This process's part of one hard bucket."""

    __slots__ = ("asked", "bucket_id", "free", "limit", "low", "near", "state", "touched_ms", "unit")

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
        self.state = BucketState(spec.bucket_id, spec.cap, 0, 0, 0, spec.window_end_ms)


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


def take(cells: tuple[Cell, ...], need: Need) -> bool:
    """Take `need` from every cell, or from none."""
    for cell in cells:
        if cell.free < need[cell.unit]:
            return False
    for cell in cells:
        cell.free -= need[cell.unit]
    return True


def give_back(cells: tuple[Cell, ...], last: Cell, need: Amounts) -> None:
    """What was taken of these cells up to the last one that was asked."""
    for cell in cells:
        cell.free += need[cell.unit]
        if cell is last:
            return


def release(cells: tuple[Cell, ...], amounts: Amounts) -> None:
    """Give these amounts to every cell."""
    for cell in cells:
        cell.free += amounts[cell.unit]


def add_freed(freed: dict[Cell, int], hold: Hold, used: tuple[int, int, int, int]) -> None:
    """What each cell gets back (or loses, below 0) when this hold is captured."""
    for cell in hold.cells:
        freed[cell] = freed.get(cell, 0) + hold.granted[cell.unit] - used[cell.unit]
