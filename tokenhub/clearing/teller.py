"""The clearing thread of a gateway: the only one that talks to the ledger's database.

It answers asks (open paths, lease more) at once, settles what was captured every BATCH_S, gives leases back,
and looks whether other gateways want something returned. When the database fails, what was captured stays in
memory (and in the journal) and is tried again.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from tokenhub.budgets.store import anchor_windows, current_caps
from tokenhub.budgets.types import Limit
from tokenhub.budgets.windows import bucket_spec
from tokenhub.clearing.settle import PathBucket, save_path, settle
from tokenhub.db.engine import Database
from tokenhub.kernel.clock import now_ms
from tokenhub.ledger import buckets, owners
from tokenhub.ledger.buckets import BucketState, Grant, Order
from tokenhub.ledger.types import BucketSpec
from tokenhub.metering.plain import Kinds
from tokenhub.metering.types import Kind, UsageEvent
from tokenhub.metering.uses import Uses

BATCH_S = 0.04
"""How long captured requests are gathered before they are settled."""
BUSY_BATCH_S = 0.4
BUSY_PER_S = 20
"""The same while at least this many come in a second: a batch costs about a millisecond whatever its size."""
BATCH_EVENTS = 4000
KINDS_MAX = 20_000
RECALL_POLL_S = 0.075
QUIET_POLL_S = 0.25
"""The same once nobody else has changed anything since the last look."""
IDLE_WAIT_S = 1.0
RETRY_S = 0.25
_log = structlog.get_logger()
_T = TypeVar("_T")


@dataclass(slots=True)
class Opening:
    """A path whose current buckets are wanted."""

    limits: Sequence[Limit]
    specs: list[BucketSpec] = field(default_factory=list[BucketSpec])
    path_id: str = ""


@dataclass(slots=True)
class Ask:
    """Work for the thread; `answer` runs on the loop when it is done."""

    openings: list[Opening]
    orders: list[Order]
    answer: Callable[["Ask"], None]
    settle_first: bool
    waiting: dict[str, int] = field(default_factory=dict[str, int])
    """Bucket id -> what answers that wait to grow hold of it; other processes see it."""
    grants: dict[str, Grant] = field(default_factory=dict[str, Grant])
    error: Exception | None = None


class Teller:
    """Owns the thread. `capture`, `give_back` and `ask` may be called from the loop's thread."""

    def __init__(
        self,
        database: Database,
        owner_id: str,
        *,
        kinds: Kinds,
        loop: asyncio.AbstractEventLoop,
        on_states: Callable[[list[BucketState]], None],
        on_recall: Callable[[list[str]], None],
        on_found: Callable[[dict[str, int]], None],
    ) -> None:
        self._books = database.keep("ledger")
        self._owner_id = owner_id
        self._kinds = kinds
        self._loop = loop
        self._on_states = on_states
        self._on_recall = on_recall
        self._on_found = on_found
        self._unsure: tuple[dict[str, int], dict[str, int]] | None = None
        """A grant whose commit was not acknowledged: its amounts, and its leases if it is in the books."""
        self.captures = 0
        """Uses captured since the start."""
        self._captured: deque[Sequence[UsageEvent] | bytes] = deque()  # as they came together
        self._taken = 0  # of `captures`, into a batch
        self.returns: deque[tuple[str, int]] = deque()
        self._asks: deque[Ask] = deque()
        self._paths: dict[str, list[PathBucket]] = {"": []}
        self._kind_ids: dict[Kind, int] = {}
        self._batch = Uses()
        self._batch_returns: dict[str, int] = {}
        self._again = False
        self._states: list[BucketState] = []  # after the last try of the batch: it may be in the books
        self._serial = 1
        self._batch_s = BATCH_S
        self._settled_at = 0.0
        self._retry_at = 0.0
        self._owners = 1
        self._counted_at = 0.0
        self._polled_at = 0.0
        self._poll_s = RECALL_POLL_S
        self._wake = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="clearing", daemon=True)
        self.sleeping = False
        """True while the thread waits with nothing to settle."""
        self.polls_recalls = False
        """Set while this process holds idle leases that others may want."""
        self.failing_since: float | None = None
        """Monotonic time since when the database fails; None while it works."""
        self.settled = 0
        """Events settled since the start, in order of capture."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Make the thread look at its queues now."""
        self.sleeping = False
        self._wake.set()

    def capture(self, some: Sequence[UsageEvent] | bytes, count: int) -> None:
        """Settle so many events, or lines of plain uses, within a batch window."""
        self._captured.append(some)
        self.captures += count
        if self.sleeping or (self.captures - self._taken >= BATCH_EVENTS and not self._wake.is_set()):
            self.wake()

    def ask(self, ask: Ask) -> None:
        """Queue work; it is answered before anything is settled, unless it says otherwise."""
        self._asks.append(ask)
        self.wake()

    def give_back(self, bucket_id: str, amount: int) -> None:
        """Return a part of a lease with the next settlement."""
        self.returns.append((bucket_id, amount))
        if self.sleeping:
            self.wake()

    @property
    def alone(self) -> bool:
        """No other process takes from the same buckets, as far as is known."""
        return self._owners <= 1

    @property
    def backlog(self) -> int:
        """Events captured and not settled."""
        return self.captures - self.settled

    def stop(self, *, timeout_s: float) -> bool:
        """Settle everything and end the thread; False if something could not be settled in time."""
        self._stop = True
        self.wake()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self.backlog

    # ---- the thread ----

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._books.close()

    def _work(self) -> None:
        gave_up_at = float("inf")
        while True:
            if not self._stop:
                self._sleep()
            elif gave_up_at == float("inf"):
                gave_up_at = time.monotonic() + 5
            self._wake.clear()
            self._answer_asks()
            self._settle_due()
            self._poll_recalls()
            if self._stop and not self._asks:
                if not self._has_work() or time.monotonic() > gave_up_at:
                    return
                time.sleep(0.02)

    def _has_work(self) -> bool:
        return bool(
            self._captured
            or self.returns
            or self._batch.count
            or self._batch_returns
            or self._unsure is not None
        )

    def _sleep(self) -> None:
        if self._asks:
            return
        if self._has_work():
            # Something to settle: gather for one batch window, unless an ask comes.
            self._wake.wait(max(self._batch_s, self._retry_at - time.monotonic()))
            return
        self.sleeping = True
        if not self._has_work() and not self._asks:
            self._wake.wait(self._poll_s if self.polls_recalls else IDLE_WAIT_S)
        self.sleeping = False
        self._wake.clear()  # before the look: an ask that comes after it wakes
        if self._has_work() and not self._asks:
            self._wake.wait(self._batch_s)

    def _answer_asks(self) -> None:
        while self._asks:
            ask = self._asks.popleft()
            try:
                if ask.settle_first:
                    self._settle_all()
                for opening in ask.openings:
                    self._open(opening)
                if ask.orders or ask.waiting:
                    self._grant(ask)
            except Exception as error:  # noqa: BLE001  # the thread's edge: the asking requests get the error
                ask.error = error
                _log.warning("ledger_ask_failed", error=str(error))
            self._post(ask.answer, ask)

    def _open(self, opening: Opening) -> None:
        at_ms = now_ms()
        with self._books.write() as connection:
            caps = current_caps(connection, [limit.id for limit in opening.limits])
            anchored = [limit for limit in opening.limits if limit.window.kind == "anchored"]
            starts = anchor_windows(connection, anchored, now_ms=at_ms)
            opening.specs = [
                _with_cap(
                    bucket_spec(limit, now_ms=at_ms, anchor_ms=starts.get(limit.id)), caps.get(limit.id)
                )
                for limit in opening.limits
            ]
            buckets.ensure_buckets(connection, opening.specs)
            opening.path_id = _path_id(opening.specs)
            path = save_path(connection, opening.path_id, opening.specs)
        self._paths[opening.path_id] = path

    def _grant(self, ask: Ask) -> None:
        self._look_for_unsure()
        at_ms = now_ms()
        with self._books.write() as connection:
            if time.monotonic() - self._counted_at > 1:
                self._owners = max(1, owners.count_open(connection))
                self._counted_at = time.monotonic()
            grants = buckets.grant(
                connection,
                self._owner_id,
                ask.orders,
                owners=self._owners,
                now_ms=at_ms,
                waiting=ask.waiting,
            )
            short = [
                bucket_id for bucket_id, given in grants.items() if given.amount <= 0 and given.state.held > 0
            ]
            if short and self._owners > 1:
                buckets.request_recall(connection, self._owner_id, short, now_ms=at_ms)
            amounts = {bucket_id: given.amount for bucket_id, given in grants.items() if given.amount}
            if amounts:
                self._unsure = amounts, buckets.leased(connection, self._owner_id, amounts)
        self._unsure = None
        ask.grants = grants

    def _look_for_unsure(self) -> None:
        """Whoever asked was told that it failed; if it is in the books after all, the leases are this process's."""
        if self._unsure is None:
            return
        amounts, leases = self._unsure
        with self._books.write() as connection:
            buckets.lock(connection, amounts)  # waits for a commit that is still under way
            found = buckets.leased(connection, self._owner_id, amounts) == leases
        if found:
            self._post(self._on_found, amounts)
        self._unsure = None

    def _settle_due(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        try:
            self._settle_all()
        except SQLAlchemyError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001  # the thread's edge: a fault must not end settlement for good
            self._failed(error)

    def _settle_all(self) -> None:
        """What was captured until now. What comes meanwhile is gathered for the next batch: many small ones cost more."""
        until = self.captures
        while self._has_work():
            self._settle_batch()
            if self.settled >= until:
                return

    def _settle_batch(self) -> None:
        self._look_for_unsure()
        again, self._again = self._again, True
        if not again:
            self._gather()
        if again or len(self._kind_ids) > KINDS_MAX:
            self._kind_ids.clear()  # what a failed settlement learnt is not in the books
        with self._books.write() as connection:
            if owners.stamp_batch(connection, self._owner_id, self._serial):
                self._states = settle(
                    connection,
                    self._owner_id,
                    self._batch,
                    kinds=self._kinds,
                    paths=self._paths,
                    returns=self._batch_returns,
                    now_ms=now_ms(),
                    again=again,
                    kind_ids=self._kind_ids,
                )
        self._serial += 1
        since, self._settled_at = self._settled_at, time.monotonic()
        count = self._batch.count
        busy = count > 1 and count >= BUSY_PER_S * (self._settled_at - since)
        self._batch_s = BUSY_BATCH_S if busy else BATCH_S
        self._again = False
        self.failing_since = None
        self.settled += count
        self._batch = Uses()
        self._batch_returns = {}
        states, self._states = self._states, []
        if states:
            self._post(self._on_states, states)

    def _gather(self) -> None:
        """Make a batch. Nothing is added to one that was tried: it may be in the books, known there by its serial."""
        while self._captured and self._batch.count < BATCH_EVENTS:
            self._batch.add(self._captured.popleft())
        self._taken = self.settled + self._batch.count
        while self.returns:
            bucket_id, amount = self.returns.popleft()
            self._batch_returns[bucket_id] = self._batch_returns.get(bucket_id, 0) + amount

    def _failed(self, error: Exception) -> None:
        if self.failing_since is None:
            self.failing_since = time.monotonic()
            _log.error("settlement_failing", error=str(error), backlog=self.backlog)
        self._retry_at = time.monotonic() + RETRY_S

    def _poll_recalls(self) -> None:
        at_s = time.monotonic()
        if not self.polls_recalls or at_s - self._polled_at < self._poll_s:
            return
        self._polled_at = at_s
        try:
            if not self._books.changed():
                self._poll_s = QUIET_POLL_S
                return
            self._poll_s = RECALL_POLL_S
            wanted = buckets.recalled(self._books, self._owner_id, since_ms=now_ms() - 300)
        except SQLAlchemyError as error:
            _log.warning("recall_poll_failed", error=str(error))
            return
        if wanted:
            self._post(self._on_recall, wanted)

    def _post(self, callback: Callable[[_T], None], argument: _T) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, argument)


def _with_cap(spec: BucketSpec, now: tuple[int, bool] | None) -> BucketSpec:
    """The limit's row knows a newer cap than this process's snapshot."""
    return spec if now is None else replace(spec, cap=now[0], hard=now[1])


def _path_id(specs: Sequence[BucketSpec]) -> str:
    """The same buckets have the same path id in every process."""
    names = "\n".join(sorted(spec.bucket_id for spec in specs))
    return "path_" + blake2b(names.encode(), digest_size=10).hexdigest()
