"""The slow path: requests that wait for their turn, a bucket's next window, or tokens held by others.

One line for the whole process (`line.py`). It is served from memory whenever something comes back; when that does
not suffice the database is asked once for everybody. Near a cap a new request waits for what it wants while that
may come back from requests in flight, and takes less when it has waited a quarter of `hold_wait_s` or nothing will.
Nobody is refused while something that is held may still come back, for at most `hold_wait_s`. When all in flight,
in every process, wait to grow, nothing would ever come back: then the answer that came last ends, and what it held
and did not use lets the others go on.
"""

import asyncio
from dataclasses import dataclass, field

from tokenhub.clearing.cells import Cell, Hold, Path, release
from tokenhub.clearing.line import Standstill, Waiter, orders_of, place, standstills
from tokenhub.clearing.refusals import refusal
from tokenhub.clearing.teller import Ask, Opening, Teller
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError, Unavailable
from tokenhub.ledger.buckets import Grant, Order
from tokenhub.ledger.types import Need, Unit

POLL_S = 0.03
PATIENCE_SHARE = 4
"""The part of `hold_wait_s` for which a new request keeps its place and waits for all it wants: a quarter."""


@dataclass(slots=True)
class _Pending:
    """An ask that is with the database."""

    waiters: list[Waiter]
    openings: list[tuple[Path, Opening]]
    still: dict[str, Standstill]
    changes: int
    """Grants, releases and departures when it was asked."""
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
        self._changes = 0
        self._told: dict[str, int] = {}
        """What other processes know of the answers that wait here: bucket id -> held by them."""
        self._refills: dict[Cell, int] = {}
        self._pending: _Pending | None = None
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.waiters)

    async def join(self, path: Path, *, wanted: Need, minimum: Need, request_id: str) -> Hold:
        """Wait for a new hold. Raises: LimitReached, PaymentRequired, Unavailable."""
        waiter = self._waiter(path, wanted, minimum, request_id, None)
        place(self.waiters, waiter)
        hold = await self._result(waiter)
        assert hold is not None
        return hold

    async def join_growth(self, hold: Hold, extra: Need, minimum: Need | None) -> bool:
        """Wait for more of a hold; False if refused (`hold.refused_by` tells by which limit).

        minimum: what lets the answer go on; None = all of `extra`, or nothing at once.
        """
        waiter = self._waiter(hold.path, extra, minimum or extra, hold.request_id, hold)
        if minimum is None:
            waiter.deadline_ms = 0
        place(self.waiters, waiter)
        try:
            return await self._result(waiter) is not None
        except HubError:
            return False

    def refill(self, cell: Cell, single: int) -> None:
        """Lease more ahead of need; nobody waits for it."""
        if not cell.asked and single > 0:
            cell.asked = True
            cell.look_ahead()
            self._refills[cell] = single
            self._schedule()

    def released(self) -> None:
        """Something came back: serve whom it suffices."""
        if self.waiters:
            self._changes += 1
            self._schedule()

    def refuse_all(self, error: HubError) -> None:
        """End every wait (shutdown)."""
        for waiter in self.waiters:
            if not waiter.done.done():
                waiter.done.set_exception(error)
        self.waiters.clear()

    # ---- waiting ----

    def _waiter(self, path: Path, wanted: Need, minimum: Need, request_id: str, hold: Hold | None) -> Waiter:
        at_ms = now_ms()
        return Waiter(
            path=path,
            wanted=wanted,
            minimum=minimum,
            request_id=request_id,
            patient_until_ms=at_ms + self._wait_ms // PATIENCE_SHARE,
            deadline_ms=at_ms + self._wait_ms,
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
            self._changes += 1
            self._schedule()  # those behind it move up
        done = waiter.done
        if waiter.hold is None and done.done() and not done.cancelled() and done.exception() is None:
            hold = done.result()
            if hold is not None and not hold.closed:
                hold.closed = True
                release(hold.cells, hold.granted)
                self.released()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self, quiet: frozenset[Cell] = frozenset()) -> None:
        """Serve from memory, refuse what is hopeless or too late, ask the database for the rest.

        quiet: cells of which nothing comes back by itself; there the first in line takes what there is.
        """
        self._scheduled = False
        at_ms = now_ms()
        left = set(quiet)
        kept: set[Cell] = set()
        line = [waiter for waiter in self.waiters if not waiter.done.done()]
        self.waiters = [waiter for waiter in line if not self._serve(waiter, len(line), at_ms, left, kept)]
        if self._pending is not None:
            return
        if self._refills or any(waiter.answers == 0 for waiter in self.waiters) or self._must_tell():
            self._ask(at_ms)
        elif self.waiters:
            self._poll_later()

    def _must_tell(self) -> bool:
        """Other processes take an answer for waiting that goes on."""
        if not self._told:
            return False
        still = standstills(self.waiters)
        return any(
            bucket_id not in still or still[bucket_id].held < told
            for bucket_id, told in self._told.items()
            if told
        )

    def _poll_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(POLL_S, self._poll)

    def _poll(self) -> None:
        self._timer = None
        if self._pending is None and self.waiters:
            self._ask(now_ms())

    def _serve(self, waiter: Waiter, waiting: int, at_ms: int, quiet: set[Cell], kept: set[Cell]) -> bool:
        """True if the waiter is done: granted or refused. Adds to `kept` the cell it keeps for itself."""
        if waiter.hold is None and at_ms >= waiter.path.until_ms:
            return False
        cells = waiter.cells
        patient = waiter.patient(at_ms)
        need = list(waiter.wanted)
        for cell in cells:
            unit, free = cell.unit, cell.free
            if cell in kept or free < waiter.accepts(cell, patient=patient and cell not in quiet):
                if self._refuse_hopeless(waiter, cell, at_ms):
                    return True
                if patient and cell.near:
                    kept.add(cell)
                return False
            if free < need[unit]:
                share = free if patient else free // waiting
                need[unit] = min(need[unit], max(waiter.minimum[unit], share))
        self._grant(waiter, Need(*need), at_ms)
        quiet.difference_update(cells)
        return True

    def _grant(self, waiter: Waiter, need: Need, at_ms: int) -> None:
        self._changes += 1
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
        if hopeless and waiter.hold is not None and _time_gives_back(blocked, waiter):
            hopeless = False
        # What runs will count as a request: only what other processes lease and do not use may come back.
        late_ms = waiter.patient_until_ms if blocked.unit == Unit.REQUESTS else waiter.deadline_ms
        if not hopeless and at_ms < min(late_ms, waiter.deadline_ms):
            return False
        self._refuse(waiter, blocked, at_ms)
        return True

    def _refuse(self, waiter: Waiter, blocked: Cell, at_ms: int) -> None:
        self._changes += 1
        if waiter.hold is not None:
            waiter.hold.refused_by = blocked.limit
        waiter.done.set_exception(refusal(blocked, now_ms=at_ms))

    # ---- asking the database ----

    def _ask(self, at_ms: int) -> None:
        paths = {id(w.path): w.path for w in self.waiters if w.hold is None and at_ms >= w.path.until_ms}
        openings = [(path, Opening(path.limits)) for path in paths.values()]
        ready = [w for w in self.waiters if w.hold is not None or at_ms < w.path.until_ms]
        pending = _Pending(ready, openings, standstills(ready), self._changes)
        orders = self._orders(pending, at_ms)
        waiting = self._news(pending.still)
        if not openings and not orders and not waiting:
            for waiter in ready:
                waiter.answers += 1
            self._poll_later()
            return
        self._pending = pending
        settle_first = any(cell.near for cell in pending.cells.values())
        self._teller.ask(
            Ask([opening for _, opening in openings], orders, self._answered, settle_first, waiting)
        )

    def _orders(self, pending: _Pending, at_ms: int) -> list[Order]:
        orders: list[Order] = []
        for cell, order in orders_of(pending.waiters, pending.still, at_ms=at_ms):
            cell.free -= order.idle
            self._refills.pop(cell, None)
            pending.idle[cell.bucket_id] = order.idle
            pending.cells[cell.bucket_id] = cell
            orders.append(order)
        for cell, single in self._refills.items():
            pending.cells[cell.bucket_id] = cell
            orders.append(
                Order(
                    cell.bucket_id,
                    wanted=single,
                    minimum=0,
                    enough=1,
                    least=1,
                    single=single,
                    ahead=cell.ahead,
                )
            )
        self._refills.clear()
        return orders

    def _news(self, still: dict[str, Standstill]) -> dict[str, int]:
        """What other processes have to know: what stands still here, and what no longer does."""
        if self._teller.alone and not self._told:
            return {}
        now = {bucket_id: one.held for bucket_id, one in still.items()}
        news = dict.fromkeys(self._told, 0) | now
        self._told = now
        return news

    def _answered(self, ask: Ask) -> None:
        pending, self._pending = self._pending, None
        assert pending is not None
        quiet: set[Cell] = set()
        for bucket_id, cell in pending.cells.items():
            cell.asked = False
            cell.free += pending.idle.get(bucket_id, 0)
            given = ask.grants.get(bucket_id)
            if given is not None:
                self._receive(cell, given)
                if given.quiet:
                    quiet.add(cell)
        if ask.error is not None:
            self._told |= dict.fromkeys(ask.waiting, 0)  # to be told again with the next ask
            self._fail(pending)
        else:
            for path, opening in pending.openings:
                self._install(path, opening)
            for waiter in pending.waiters:
                waiter.answers += 1
        if pending.changes != self._changes:
            quiet.clear()  # somebody has gone on meanwhile
        elif any(self._end_one(cell, pending, ask) for cell in quiet):
            quiet.clear()  # what it gives back is on its way
        self._pump(frozenset(quiet))

    def _end_one(self, cell: Cell, pending: _Pending, ask: Ask) -> bool:
        """Every answer in flight waits to grow: the one that came last ends. False if this cell needs no such end."""
        still = pending.still.get(cell.bucket_id)
        if not ask.grants[cell.bucket_id].stuck or still is None or still.last is None:
            return False
        if still.last.done.done() or _time_gives_back(cell, still.last):
            return False
        self._refuse(still.last, cell, now_ms())
        return True

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


def _time_gives_back(cell: Cell, waiter: Waiter) -> bool:
    """A part of what is used leaves a rolling window before the waiter's time is over."""
    return cell.limit.window.kind == "rolling" and cell.state.resets_at_ms < waiter.deadline_ms
