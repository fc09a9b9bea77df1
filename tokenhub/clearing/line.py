"""The line before a cap: who waits, in which order, and what they want of each bucket together. No clock, no I/O.

Growths of running answers stand first, in the order in which their requests came; new requests follow in theirs.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenhub.budgets.windows import FOREVER_MS
from tokenhub.clearing.cells import Cell, Hold, Path
from tokenhub.ledger.buckets import Order
from tokenhub.ledger.types import Need


@dataclass(slots=True, eq=False)
class Waiter:
    """One request on the slow path."""

    path: Path
    wanted: Need
    minimum: Need
    request_id: str
    patient_until_ms: int
    """Until then a new request keeps its place and waits for all it wants, as long as that may come."""
    deadline_ms: int
    """0: refused by the first answer that does not serve it."""
    done: asyncio.Future[Hold | None]
    hold: Hold | None = None
    """The hold that grows; None for a new one."""
    answers: int = 0
    """How often the database answered since it joined."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.path.cells if self.hold is None else self.hold.cells

    @property
    def grows(self) -> bool:
        """An answer that stands still until it may go on."""
        return self.hold is not None and self.deadline_ms > 0

    def patient(self, at_ms: int) -> bool:
        """It keeps its place: who comes later gets nothing of what it waits for."""
        return self.hold is not None or at_ms < self.patient_until_ms

    def accepts(self, cell: Cell, *, patient: bool) -> int:
        """The least of this cell's unit that it takes."""
        unit = cell.unit
        if not cell.near or (patient and self.hold is None):
            return self.wanted[unit]
        return self.minimum[unit]


@dataclass(slots=True)
class _Tally:
    """What the line wants of one cell."""

    wanted: int = 0
    minimum: int = 0
    enough: int = FOREVER_MS
    least: int = FOREVER_MS
    single: int = 0
    answered: bool = False
    front: bool = True
    """Nobody yet who keeps the others from being served."""

    def add(self, waiter: Waiter, cell: Cell, at_ms: int) -> None:
        unit, patient = cell.unit, waiter.patient(at_ms)
        wanted, accepts = waiter.wanted[unit], waiter.accepts(cell, patient=patient)
        self.wanted += wanted
        self.minimum += wanted if waiter.grows else accepts
        self.single = max(self.single, wanted)
        self.answered |= waiter.answers > 0
        if self.front:
            self.enough = min(self.enough, accepts)
            self.least = min(self.least, waiter.minimum[unit])
            self.front = not (patient and cell.near)


@dataclass(slots=True)
class Standstill:
    """What answers that wait for more of one bucket hold of it, and which of them came last."""

    held: int = 0
    last: Waiter | None = None


def place(line: list[Waiter], waiter: Waiter) -> None:
    """Put a waiter where it belongs."""
    if waiter.hold is None:
        line.append(waiter)
        return
    index = 0
    while index < len(line) and line[index].hold is not None and line[index].request_id < waiter.request_id:
        index += 1
    line.insert(index, waiter)


def standstills(line: Iterable[Waiter]) -> dict[str, Standstill]:
    """Bucket id -> what stands still for want of it. What waits for another bucket may go on by itself."""
    found: dict[str, Standstill] = {}
    for waiter in line:
        if waiter.grows and not waiter.done.done():
            hold = waiter.hold
            assert hold is not None
            for cell in [cell for cell in hold.cells if cell.free < waiter.minimum[cell.unit]]:
                one = found.setdefault(cell.bucket_id, Standstill())
                one.held += hold.granted[cell.unit]
                one.last = waiter
    return found


def orders_of(
    line: Sequence[Waiter], still: dict[str, Standstill], *, at_ms: int
) -> list[tuple[Cell, Order]]:
    """What the line lacks of each cell. `Order.idle` must be taken from `Cell.free` while the database is asked."""
    tallies: dict[Cell, _Tally] = {}
    for waiter in line:
        for cell in waiter.cells:
            tallies.setdefault(cell, _Tally()).add(waiter, cell, at_ms)
    orders: list[tuple[Cell, Order]] = []
    for cell, tally in tallies.items():
        free = cell.free
        if free >= (tally.enough if cell.near else tally.wanted):
            continue
        idle = max(0, free) if cell.near and tally.answered else 0
        kept = free - idle
        stands = still.get(cell.bucket_id, Standstill())
        last = stands.last.hold if stands.last is not None else None
        order = Order(
            cell.bucket_id,
            wanted=tally.wanted - free,
            minimum=max(1, tally.minimum - kept),
            enough=max(1, tally.enough - kept),
            least=max(1, tally.least - kept),
            single=tally.single,
            idle=idle,
            waiting=stands.held,
            victim=0 if last is None else last.granted[cell.unit],
        )
        orders.append((cell, order))
    return orders
