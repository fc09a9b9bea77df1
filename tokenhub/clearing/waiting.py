"""The slow path: requests that wait for their turn, a bucket's next window, or tokens held by others.

One list for the whole process, growths of running streams first. It is served from memory whenever something
comes back; when that does not suffice the database is asked once for everybody. Near a cap every request gets
what it needs at least, or its share of what is free, so that a budget is usable to its last tokens.
"""

import asyncio
from dataclasses import dataclass, field

from tokenhub.budgets.windows import FOREVER_MS
from tokenhub.clearing.cells import Cell, Hold, Path
from tokenhub.clearing.refusals import refusal
from tokenhub.clearing.teller import Ask, Opening, Teller
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError, Unavailable
from tokenhub.ledger.buckets import Grant, Order
from tokenhub.ledger.types import Need

POLL_S = 0.03
GROWTH_SHARE = 4
"""A running stream waits a quarter as long as a new request: those that wait to grow hold what the others need."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One request on the slow path."""

    path: Path
    wanted: Need
    minimum: Need
    request_id: str
    deadline_ms: int
    done: asyncio.Future[Hold | None]
    hold: Hold | None = None
    """The hold that grows; None for a new one."""
    answers: int = 0
    """How often the database answered since it joined."""

    @property
    def cells(self) -> tuple[Cell, ...]:
        return self.path.cells if self.hold is None else self.hold.cells


@dataclass(slots=True)
class _Tally:
    """What the waiting requests want of one cell."""

    wanted: int = 0
    minimum: int = 0
    least: int = FOREVER_MS
    single: int = 0
    answered: bool = False


@dataclass(slots=True)
class _Pending:
    """An ask that is with the database."""

    waiters: list[Waiter]
    openings: list[tuple[Path, Opening]]
    idle: dict[str, int] = field(default_factory=dict[str, int])
    cells: dict[str, Cell] = field(default_factory=dict[str, Cell])


class WaitingList:
    """Waiters of one clerk; runs on the event loop's thread."""

    def __init__(
        self,
        cells: dict[str, Cell],
        teller: Teller,
        *,
        loop: asyncio.AbstractEventLoop,
        hold_wait_s: float,
    ) -> None:
        self.waiters: list[Waiter] = []
        self._cells = cells
        self._teller = teller
        self._loop = loop
        self._wait_ms = int(hold_wait_s * 1000)
        self._refills: dict[Cell, int] = {}
        self._pending: _Pending | None = None
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.waiters)

    async def join(self, path: Path, *, wanted: Need, minimum: Need, request_id: str) -> Hold:
        """Wait for a new hold. Raises: LimitReached, PaymentRequired, Unavailable."""
        waiter = self._waiter(path, wanted, minimum, request_id, None)
        self.waiters.append(waiter)
        hold = await self._result(waiter)
        assert hold is not None
        return hold

    async def join_growth(self, hold: Hold, extra: Need, minimum: Need) -> bool:
        """Wait for more of a hold; False if refused (`hold.refused_by` tells by which limit)."""
        waiter = self._waiter(hold.path, extra, minimum, hold.request_id, hold)
        self.waiters.insert(0, waiter)
        try:
            return await self._result(waiter) is not None
        except HubError:
            return False

    def refill(self, cell: Cell, single: int) -> None:
        """Lease more ahead of need; nobody waits for it."""
        if not cell.asked and single > 0:
            cell.asked = True
            self._refills[cell] = single
            self._schedule()

    def released(self) -> None:
        """Something came back: serve whom it suffices."""
        if self.waiters:
            self._schedule()

    def refuse_all(self, error: HubError) -> None:
        """End every wait (shutdown)."""
        for waiter in self.waiters:
            if not waiter.done.done():
                waiter.done.set_exception(error)
        self.waiters.clear()

    # ---- waiting ----

    def _waiter(self, path: Path, wanted: Need, minimum: Need, request_id: str, hold: Hold | None) -> Waiter:
        return Waiter(
            path=path,
            wanted=wanted,
            minimum=minimum,
            request_id=request_id,
            deadline_ms=now_ms() + (self._wait_ms if hold is None else self._wait_ms // GROWTH_SHARE),
            done=self._loop.create_future(),
            hold=hold,
        )

    async def _result(self, waiter: Waiter) -> Hold | None:
        self._schedule()
        try:
            return await waiter.done
        except asyncio.CancelledError:
            self._abandon(waiter)
            raise

    def _abandon(self, waiter: Waiter) -> None:
        """The caller went away; what it was granted in the same moment goes back."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)
        done = waiter.done
        if waiter.hold is None and done.done() and not done.cancelled() and done.exception() is None:
            hold = done.result()
            if hold is not None and not hold.closed:
                hold.closed = True
                for cell in hold.cells:
                    cell.free += hold.granted[cell.unit]
                self.released()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Serve from memory, refuse what is hopeless or too late, ask the database for the rest."""
        self._scheduled = False
        at_ms = now_ms()
        waiting = [waiter for waiter in self.waiters if not waiter.done.done()]
        self.waiters = [waiter for waiter in waiting if not self._serve(waiter, len(waiting), at_ms)]
        if self._pending is not None or not (self.waiters or self._refills):
            return
        if self._refills or any(waiter.answers == 0 for waiter in self.waiters):
            self._ask(at_ms)
        else:
            self._poll_later()

    def _poll_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(POLL_S, self._poll)

    def _poll(self) -> None:
        self._timer = None
        if self._pending is None and self.waiters:
            self._ask(now_ms())

    def _serve(self, waiter: Waiter, waiting: int, at_ms: int) -> bool:
        """True if the waiter is done: granted or refused."""
        if waiter.hold is None and at_ms >= waiter.path.until_ms:
            return False
        cells = waiter.cells
        need = list(waiter.wanted)
        blocked: Cell | None = None
        for cell in cells:
            unit = cell.unit
            least, free = waiter.minimum[unit], cell.free
            if free >= waiter.wanted[unit] and not cell.near:
                continue
            if free >= least and (cell.near or free >= waiter.wanted[unit]):
                need[unit] = min(need[unit], max(least, min(waiter.wanted[unit], free // waiting)))
            else:
                blocked = cell
                break
        if blocked is None:
            self._grant(waiter, Need(*need), at_ms)
            return True
        return self._refuse_hopeless(waiter, blocked, at_ms)

    def _grant(self, waiter: Waiter, need: Need, at_ms: int) -> None:
        for cell in waiter.cells:
            cell.free -= need[cell.unit]
            cell.touched_ms = at_ms
        hold = waiter.hold
        if hold is None:
            waiter.done.set_result(Hold(waiter.request_id, waiter.path, need))
            return
        hold.granted = Need(*[have + more for have, more in zip(hold.granted, need, strict=True)])
        waiter.done.set_result(hold)

    def _refuse_hopeless(self, waiter: Waiter, blocked: Cell, at_ms: int) -> bool:
        if waiter.answers == 0:
            return False
        state = blocked.state
        hopeless = state.cap - state.used - state.overage < waiter.minimum[blocked.unit]
        if not hopeless and at_ms < waiter.deadline_ms:
            return False
        if waiter.hold is not None:
            waiter.hold.refused_by = blocked.limit
        waiter.done.set_exception(refusal(blocked, now_ms=at_ms))
        return True

    # ---- asking the database ----

    def _ask(self, at_ms: int) -> None:
        paths = {id(w.path): w.path for w in self.waiters if w.hold is None and at_ms >= w.path.until_ms}
        openings = [(path, Opening(path.limits)) for path in paths.values()]
        ready = [w for w in self.waiters if w.hold is not None or at_ms < w.path.until_ms]
        pending = _Pending(ready, openings)
        orders = self._orders(ready, pending)
        if not openings and not orders:
            for waiter in ready:
                waiter.answers += 1
            self._poll_later()
            return
        self._pending = pending
        settle_first = any(cell.near for cell in pending.cells.values())
        self._teller.ask(Ask([opening for _, opening in openings], orders, self._answered, settle_first))

    def _orders(self, ready: list[Waiter], pending: _Pending) -> list[Order]:
        tallies: dict[Cell, _Tally] = {}
        for waiter in ready:
            for cell in waiter.cells:
                tally = tallies.setdefault(cell, _Tally())
                wanted, minimum = waiter.wanted[cell.unit], waiter.minimum[cell.unit]
                tally.wanted += wanted
                tally.minimum += minimum
                tally.least = min(tally.least, minimum)
                tally.single = max(tally.single, wanted)
                tally.answered |= waiter.answers > 0
        orders: list[Order] = []
        for cell, tally in tallies.items():
            free = cell.free
            if free >= (tally.least if cell.near else tally.wanted):
                continue
            idle = max(0, free) if cell.near and tally.answered else 0
            cell.free -= idle
            self._refills.pop(cell, None)
            pending.idle[cell.bucket_id] = idle
            pending.cells[cell.bucket_id] = cell
            orders.append(
                Order(
                    cell.bucket_id,
                    wanted=tally.wanted - free,
                    minimum=max(1, tally.minimum - free),
                    least=max(1, tally.least - free),
                    single=tally.single,
                    idle=idle,
                )
            )
        for cell, single in self._refills.items():
            pending.cells[cell.bucket_id] = cell
            orders.append(Order(cell.bucket_id, wanted=single, minimum=0, least=1, single=single))
        self._refills.clear()
        return orders

    def _answered(self, ask: Ask) -> None:
        pending, self._pending = self._pending, None
        assert pending is not None
        for bucket_id, cell in pending.cells.items():
            cell.asked = False
            cell.free += pending.idle.get(bucket_id, 0)
            given = ask.grants.get(bucket_id)
            if given is not None:
                self._receive(cell, given)
        if ask.error is not None:
            self._fail(pending)
        else:
            for path, opening in pending.openings:
                self._install(path, opening)
            for waiter in pending.waiters:
                waiter.answers += 1
        self._pump()

    def _receive(self, cell: Cell, given: Grant) -> None:
        cell.free += given.amount
        cell.near = given.near
        cell.state = given.state
        cell.low = 0 if given.near else max(0, given.amount) // 4
        if given.amount > 0:
            self._teller.polls_recalls = True

    def _install(self, path: Path, opening: Opening) -> None:
        limits = {limit.id: limit for limit in opening.limits}
        cells: list[Cell] = []
        for spec in opening.specs:
            if not spec.hard:
                continue
            cell = self._cells.get(spec.bucket_id)
            if cell is None:
                cell = self._cells[spec.bucket_id] = Cell(spec, limits[spec.limit_id])
            cell.limit = limits[spec.limit_id]
            cells.append(cell)
        path.cells = tuple(cells)
        path.specs = tuple(opening.specs)
        path.path_id = opening.path_id
        if path.limits == tuple(opening.limits):
            path.until_ms = min(spec.window_end_ms for spec in opening.specs)

    def _fail(self, pending: _Pending) -> None:
        failed = {id(waiter) for waiter in pending.waiters} | {
            id(waiter) for waiter in self.waiters if any(path is waiter.path for path, _ in pending.openings)
        }
        for waiter in self.waiters:
            if id(waiter) in failed and not waiter.done.done():
                waiter.done.set_exception(
                    Unavailable(
                        "the ledger's database does not answer, so nothing can be authorised; try again soon"
                    )
                )
        self.waiters = [waiter for waiter in self.waiters if not waiter.done.done()]
