"""The clerk of one gateway process: the only way by which a token is paid for.

    hold = clerk.try_authorize(path, need, request_id, now_ms) or await clerk.authorize(path, ...)
    clerk.checkpoint(hold, draft)         # before those bytes are sent, at least every 256 tokens
    clerk.try_grow(hold, extra) or await clerk.grow(hold, extra)
    clerk.capture(hold, event)            # or clerk.void(hold)

Fast path: memory only, against leases on buckets. Slow path (`authorize`, `grow`): the request joins the
waiting list; the list is served from memory first, then the database is asked for all of them at once, again
every POLL_S while tokens are held by requests in flight, up to `settings.hold_wait_s`.
All methods run on the event loop's thread; the database is the teller's, in its own thread.
"""

import asyncio
import contextlib
import os
import weakref
from collections.abc import Sequence

import structlog

from tokenhub.budgets.types import Limit
from tokenhub.clearing import tally
from tokenhub.clearing.cells import Cell, ClerkStats, Hold, Path, add_freed, close, release, take, take_now
from tokenhub.clearing.journal import Journal, draft_of
from tokenhub.clearing.quota import quota_headers
from tokenhub.clearing.recovery import journal_place, recover_dead_owners
from tokenhub.clearing.teller import Teller
from tokenhub.clearing.waiting import WaitingList
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.clock import now_ms as clock_ms
from tokenhub.kernel.errors import Unavailable
from tokenhub.kernel.ids import new_id
from tokenhub.ledger import buckets, owners
from tokenhub.ledger.buckets import BucketState
from tokenhub.ledger.types import Amounts, Need, Unit
from tokenhub.metering.plain import Kinds, PlainUse
from tokenhub.metering.types import UsageDraft, UsageEvent

HEADERS_MS = 100
TEND_S = 0.5
IDLE_MS = 3000
KINDS_MAX = 20_000
"""Kinds of plain uses known by number; then they are forgotten, as soon as what bears their numbers is settled."""
BACKLOG_MAX = 50_000
"""Captured and unsettled requests beyond which new work is refused while the database fails."""
_log = structlog.get_logger()


class Clerk:
    """Holds, checkpoints, captures; one per gateway process."""

    def __init__(
        self, database: Database, settings: Settings, *, owner_name: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.owner_id = new_id("owner")
        self._database = database
        self._settings = settings
        self._name = owner_name
        self._loop = loop
        self._cells: dict[str, Cell] = {}
        self._stale: set[Cell] = set()
        self._paths: weakref.WeakValueDictionary[tuple[str, ...], Path] = weakref.WeakValueDictionary()
        self._drafted: dict[str, Hold] = {}
        self._retiring: list[tuple[str, int]] = []
        self._owed: list[tuple[Hold, UsageEvent]] = []
        """Ended while the journal failed, and less than their drafts say: journaled once there is room."""
        self._blocked = True
        self._draining = False
        self._journal: Journal | None = None
        self.kinds = Kinds()
        """Of the plain uses that are captured here."""
        self._epoch_began = 0  # after so many captures
        self._teller = Teller(
            database,
            self.owner_id,
            kinds=self.kinds,
            loop=loop,
            on_states=self._on_states,
            on_recall=self._on_recall,
            on_found=self._on_found,
        )
        self._waiting = WaitingList(self._cells, self._teller, loop=loop, hold_wait_s=settings.hold_wait_s)
        self._tend_handle: asyncio.TimerHandle | None = None

    # ---- life ----

    async def start(self) -> None:
        """Recover what dead owners left, register, start the clearing thread. Raises: database errors."""
        await asyncio.to_thread(self._open)
        self._teller.start()
        self._blocked = False
        self._tend_handle = self._loop.call_later(TEND_S, self._tend)

    async def close(self) -> None:
        """Settle everything, return the leases, remove the journal. Open holds are captured at their last draft."""
        self._draining = self._blocked = True
        if self._tend_handle is not None:
            self._tend_handle.cancel()
        self._waiting.refuse_all(Unavailable("the hub is shutting down"))
        self._pay_owed()
        for cell in self._cells.values():
            self._return_idle(cell)
        settled = await asyncio.to_thread(self._teller.stop, timeout_s=10)
        clean = settled and not self._drafted
        if clean:
            await asyncio.to_thread(self._close_owner)
        assert self._journal is not None
        self._journal.close(delete=clean)
        if not clean:
            # What is journaled is posted by the next recovery, at the latest when a gateway starts.
            _log.warning(
                "clerk_closed_with_open_work", backlog=self._teller.backlog, drafts=len(self._drafted)
            )
            if settled:
                await asyncio.to_thread(recover_dead_owners, self._database, self._settings)

    def _open(self) -> None:
        recover_dead_owners(self._database, self._settings)
        self._journal = Journal(
            self._settings.journal_dir, self.owner_id, fsync=self._settings.durability == "full"
        )
        with self._database.write("ledger") as connection:
            owners.open_owner(
                connection,
                self.owner_id,
                name=self._name,
                journal=journal_place(self._settings),
                pid=os.getpid(),
                now_ms=clock_ms(),
            )

    def _close_owner(self) -> None:
        with self._database.write("ledger") as connection:
            buckets.release_owner(connection, self.owner_id)
            owners.close_owner(connection, self.owner_id, now_ms=clock_ms())

    # ---- one request ----

    def path(self, limits: Sequence[Limit]) -> Path:
        """The path of these limits; kept while somebody refers to it, brought up to date when limits changed."""
        key = tuple(limit.id for limit in limits)
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = Path(limits)
        elif path.limits != tuple(limits):
            path.limits = tuple(limits)
            path.until_ms = 0 if limits else path.until_ms
            self._stale.update(path.cells)
        return path

    def try_authorize(self, path: Path, need: Amounts, request_id: str, now_ms: int) -> Hold | None:
        """All of `need` on every limit of the path, from memory; None = ask `authorize`."""
        if now_ms >= path.until_ms or self._blocked:
            return None
        taken = tally.hold(path, need, request_id, now_ms)
        if isinstance(taken, Hold):
            return taken
        if taken < 0:
            taken = take_now(path.cells, need, now_ms)
        if not taken:
            return None
        if taken > 1:
            for cell in path.cells:
                if cell.free < cell.low:
                    self._waiting.refill(cell, need[cell.unit])
        return Hold(request_id, path, need)

    async def authorize(
        self, path: Path, *, wanted: Need, minimum: Need, request_id: str, now_ms: int
    ) -> Hold:
        """A hold of `wanted`, or near a cap of something between `minimum` and it.

        Raises: LimitReached (429) or PaymentRequired (402), naming the limit; Unavailable (503).
        """
        self._check_open()
        hold = self.try_authorize(path, wanted, request_id, now_ms)
        if hold is not None:
            return hold
        return await self._waiting.join(path, wanted=wanted, minimum=minimum, request_id=request_id)

    def try_grow(self, hold: Hold, extra: Need) -> bool:
        """Add `extra` to the hold, from memory; False = ask `grow`."""
        if self._blocked or not take(hold.cells, extra):
            return False
        granted = hold.granted
        hold.granted = Need(
            granted[0] + extra.tokens,
            granted[1] + extra.requests,
            granted[2] + extra.money,
            granted[3] + extra.concurrency,
        )
        return True

    async def grow(self, hold: Hold, extra: Need, *, minimum: Need | None = None) -> bool:
        """Add `extra` to the hold, or near a cap something between `minimum` and it (`hold.granted` tells).

        minimum: what lets a running answer go on, which waits for it; None = all of `extra` or nothing, at once.
        False = refused, `hold.refused_by` names the limit: end with `length`.
        """
        if self.try_grow(hold, extra):
            return True
        if self._draining or self._journal_broken():
            return False
        return await self._waiting.join_growth(hold, extra, minimum)

    def checkpoint(self, hold: Hold, draft: UsageDraft) -> None:
        """Journal what was used so far, before those bytes are sent. Raises: Unavailable: do not send them."""
        assert self._journal is not None and not hold.closed
        draft.path_id = hold.path_id
        hold.draft = self._write(draft)
        self._drafted[hold.request_id] = hold

    def capture(self, hold: Hold, event: UsageEvent) -> None:
        """Journal what was used, charge it, free the rest of the hold. A second call does nothing.

        Raises: Unavailable if it could not be journaled: nothing beyond the last checkpoint may be sent. What is
        charged then is the lesser of the two, and that checkpoint if this process ends before there is room.
        """
        if not hold.closed:
            self.capture_all([(hold, event, event.total_tokens)])

    def capture_all(self, charges: Sequence[tuple[Hold, UsageEvent, int]]) -> None:
        """`capture` of several open holds in one journal write; each with its event and the event's total tokens.

        Raises: Unavailable, then none of them was captured.
        """
        freed: dict[Cell, int] = {}  # by those of the group that come first
        for number, (hold, event, tokens) in enumerate(charges):
            event.path_id = hold.path_id
            granted = hold.granted
            if freed or tokens > granted[0] or event.amount_nano > granted[2]:
                if not freed:
                    for before, past, used in charges[:number]:
                        add_freed(freed, before, (used, 1, past.amount_nano, 0))
                self._note_overage(hold, event, (tokens, 1, event.amount_nano, 0), freed)
        journal = self._journal
        assert journal is not None
        try:
            journal.capture([event for _, event, _ in charges])
        except Unavailable:
            for hold, event, _ in charges:
                self._capture_draft(hold, event)
            raise
        for hold, event, tokens in charges:
            self._finish(hold, event, (tokens, 1, event.amount_nano, 0))

    def capture_plain(self, charges: Sequence[tuple[Hold, PlainUse, int]]) -> None:
        """`capture_all` of plain uses, each with its total tokens; none of the holds was checkpointed.

        Raises: Unavailable, then none of them was captured.
        """
        self.close_plain(charges, self.journal_plain(charges))

    def journal_plain(self, charges: Sequence[tuple[Hold, PlainUse, int]]) -> bytes:
        """The part of `capture_plain` before which nothing may be sent; what `close_plain` needs, which must come at once after.

        Raises: as `capture_plain`.
        """
        journal = self._journal
        assert journal is not None
        lines = tally.lines(charges, journal.told)
        if lines is None:
            for hold, use, tokens in charges:
                granted = hold.granted
                if tokens > granted[0] or use[6] > granted[2]:
                    self.capture_all([(one, self.kinds.event(its), used) for one, its, used in charges])
                    return b""
        try:
            if lines is None:
                lines = journal.capture_plain([use for _, use, _ in charges], self.kinds)
            else:
                journal.append(lines)
        except Unavailable:
            self._blocked = True
            for hold, _, _ in charges:
                self.void(hold)
            raise
        return lines

    def void(self, hold: Hold) -> None:
        """Nothing was used: free the whole hold."""
        if hold.closed:
            return
        if hold.draft is not None:
            assert self._journal is not None
            self._journal.void(hold.request_id)
            self._drafted.pop(hold.request_id, None)
        hold.closed = True
        release(hold.cells, hold.granted)
        self._after_release(hold)

    def quota_headers(self, path: Path, now_ms: int) -> list[tuple[bytes, bytes]]:
        """`x-ratelimit-*` and `x-ath-quota-*`; at most HEADERS_MS old."""
        if now_ms - path.headers_at_ms >= HEADERS_MS or now_ms < path.headers_at_ms:
            path.headers = quota_headers(path, now_ms=now_ms)
            path.headers_at_ms = now_ms
        return path.headers

    def stats(self) -> ClerkStats:
        """What this process holds now."""
        return ClerkStats(
            owner_id=self.owner_id,
            backlog=self._teller.backlog,
            settled=self._teller.settled,
            waiting=len(self._waiting),
            cells=len(self._cells),
            leased_idle=sum(1 for cell in self._cells.values() if cell.free > 0),
            blocked=self._blocked,
        )

    # ---- the end of a hold ----

    def _finish(self, hold: Hold, event: UsageEvent, used: tuple[int, int, int, int]) -> None:
        hold.closed = True
        granted = hold.granted
        for cell in hold.cells:
            unit = cell.unit
            cell.free += granted[unit] - used[unit]
        if hold.draft is not None:
            self._drafted.pop(hold.request_id, None)
        self._teller.capture((event,), 1)
        if self._waiting.waiters or event.at_ms >= hold.path.until_ms or hold.cells is not hold.path.cells:
            self._after_release(hold)

    def close_plain(self, charges: Sequence[tuple[Hold, PlainUse, int]], lines: bytes) -> None:
        """Charge what was journaled and free the rest of the holds; those of one path that come together in one go.

        lines: what `journal_plain` returned for these charges.
        """
        if not lines:
            return
        over = tally.close(charges)
        if over < 0:
            over = close(charges)
        if over:
            for hold, use, _ in charges:
                if hold.outlives(use[2]):
                    self._stale.update(hold.cells)
        self._teller.capture(lines, len(charges))
        if self._waiting.waiters:
            self._waiting.released()

    def _capture_draft(self, hold: Hold, event: UsageEvent) -> None:
        """The journal failed at the end of a request: charge what is journaled already, or nothing."""
        self._blocked = True
        if hold.draft is None:
            self.void(hold)
            return
        draft = draft_of(hold.draft)
        less = event.total_tokens < draft.total_tokens
        charge = event if less else draft
        charge.finish, charge.status = "error", 503
        charge.created_tokens = max(charge.created_tokens, event.created_tokens)
        charge.undelivered_tokens = charge.created_tokens - charge.completion_tokens
        if less:
            hold.closed = True
            self._owed.append((hold, charge))
        else:
            self._finish(hold, charge, (charge.total_tokens, 1, charge.amount_nano, 0))

    def _pay_owed(self) -> None:
        """Journal and charge what ended while the journal failed, if it works again."""
        if not self._owed or self._journal_broken():
            return
        assert self._journal is not None
        with contextlib.suppress(Unavailable):  # again full: the next call
            self._journal.capture([event for _, event in self._owed])
            owed, self._owed = self._owed, []
            for hold, event in owed:
                self._finish(hold, event, (event.total_tokens, 1, event.amount_nano, 0))

    def _note_overage(
        self, hold: Hold, event: UsageEvent, used: tuple[int, int, int, int], freed: dict[Cell, int]
    ) -> None:
        """What an outside provider booked beyond the hold, as far as no free lease covers it; then into `freed`."""
        over = [0, 0, 0, 0]
        for cell in hold.cells:
            excess = used[cell.unit] - hold.granted[cell.unit]
            free = cell.free + freed.get(cell, 0)
            over[cell.unit] = max(over[cell.unit], min(excess, excess - max(0, free)))
        add_freed(freed, hold, used)
        event.overage_tokens = over[Unit.TOKENS]
        event.overage_nano = over[Unit.MONEY]

    def _after_release(self, hold: Hold) -> None:
        if clock_ms() >= hold.path.until_ms or hold.cells is not hold.path.cells:
            self._stale.update(hold.cells)
        self._waiting.released()

    def _write(self, draft: UsageDraft) -> bytes:
        assert self._journal is not None
        try:
            return self._journal.checkpoint(draft)
        except Unavailable:
            self._blocked = True
            raise

    # ---- keeping house ----

    def _check_open(self) -> None:
        if self._draining:
            raise Unavailable("the hub is shutting down; try again in a moment")
        if self._journal_broken():
            raise Unavailable(
                "the journal of this gateway cannot be written (is the disk full?); nothing is accepted"
            )
        if self._teller.failing_since is not None and self._teller.backlog > BACKLOG_MAX:
            raise Unavailable("the ledger's database does not answer; no new work is accepted until it does")
        self._blocked = False

    def _journal_broken(self) -> bool:
        return self._journal is None or (self._journal.broken and not self._journal.probe())

    def _tend(self) -> None:
        """Twice a second: give idle leases back, forget ended windows, rotate the journal."""
        self._tend_handle = self._loop.call_later(TEND_S, self._tend)
        at_ms = clock_ms()
        ended: list[str] = []
        for cell in self._cells.values():
            if cell.state.resets_at_ms <= at_ms and cell.limit.window.kind != "rolling":
                ended.append(cell.bucket_id)
            elif cell.free > 0 and at_ms - cell.touched_ms > (TEND_S * 500 if cell.near else IDLE_MS):
                self._return_idle(cell)
        for bucket_id in ended:
            self._stale.add(self._cells.pop(bucket_id))
        for cell in self._stale:
            self._return_idle(cell)
        self._stale.clear()
        self._pay_owed()
        self._teller.polls_recalls = any(cell.free > 0 for cell in self._cells.values())
        if self._teller.failing_since is not None and self._teller.backlog > BACKLOG_MAX:
            self._blocked = True
        self._tend_journal()
        if len(self.kinds) > KINDS_MAX and self._teller.settled >= self._epoch_began:
            self.kinds.forget()
            self._epoch_began = self._teller.captures

    def _tend_journal(self) -> None:
        assert self._journal is not None
        if self._journal.full and not self._journal.broken:
            finished = self._journal.rotate([hold.draft for hold in self._drafted.values() if hold.draft])
            self._retiring.append((str(finished), self._teller.captures))
        while self._retiring and self._teller.settled >= self._retiring[0][1]:
            os.unlink(self._retiring.pop(0)[0])

    def _return_idle(self, cell: Cell) -> None:
        if cell.free > 0:
            self._teller.give_back(cell.bucket_id, cell.free)
            cell.free = 0
            cell.low = 0

    def _on_states(self, states: list[BucketState]) -> None:
        for state in states:
            cell = self._cells.get(state.bucket_id)
            if cell is not None:
                cell.state = state
                cell.free += state.missing

    def _on_recall(self, bucket_ids: list[str]) -> None:
        for bucket_id in bucket_ids:
            cell = self._cells.get(bucket_id)
            if cell is not None:
                self._return_idle(cell)

    def _on_found(self, amounts: dict[str, int]) -> None:
        """Leases that the database gave (below 0: took) although it failed to say so."""
        for bucket_id, amount in amounts.items():
            cell = self._cells.get(bucket_id)
            if cell is not None:
                cell.free += amount
            elif amount > 0:
                self._teller.give_back(bucket_id, amount)
