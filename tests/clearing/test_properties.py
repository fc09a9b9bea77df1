"""Any sequence of authorize, grow, checkpoint, capture, void, correct, cap change and crash keeps the books whole."""

import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from sqlalchemy import text

from tests.clearing.conftest import a_plain_use, an_event
from tokenhub.budgets.store import create_limit, set_limit
from tokenhub.budgets.types import Limit, Window
from tokenhub.clearing.cells import Hold
from tokenhub.clearing.clerk import Clerk
from tokenhub.clearing.corrections import correct
from tokenhub.clearing.recovery import recover_dead_owners
from tokenhub.clearing.verify import verify
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError
from tokenhub.kernel.ids import new_id
from tokenhub.ledger.types import Need, Unit
from tokenhub.metering.plain import PlainUse
from tokenhub.metering.uses import Uses

CAP = 600


@dataclass
class Running:
    """A request in flight and what its last checkpoint said."""

    clerk: Clerk
    hold: Hold
    journaled: int = 0


def crash(clerk: Clerk) -> None:
    """What kill -9 leaves: nothing more is settled or returned, and the journal's lock is free."""
    teller = clerk._teller
    teller._settle_due = lambda: None  # type: ignore[method-assign]
    teller._captured.clear()
    teller.returns.clear()
    teller._batch, teller._batch_returns = Uses(), {}
    teller.stop(timeout_s=10)
    if clerk._tend_handle is not None:
        clerk._tend_handle.cancel()
    journal = clerk._journal
    assert journal is not None
    os.close(journal._fd)
    os.close(journal._lock_fd)


class BooksMachine(RuleBasedStateMachine):
    """Two clerks on one SQLite database, and the sum of what they were told."""

    holds = Bundle("holds")
    captured = Bundle("captured")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.settings = Settings(home=Path(self.folder.name), database_url="", hold_wait_s=0.05)
        self.database = Database(self.settings)
        self.expected: dict[str, int] = {}
        self.running: dict[str, Running] = {}
        self.caps = CAP

    @initialize()
    def begin(self) -> None:
        migrate(self.database, self.settings)
        self.limits = [
            Limit("lim_a", "key", "key_1", Unit.TOKENS, CAP),
            Limit("lim_b", "org", "org_1", Unit.TOKENS, CAP, window=Window("rolling", length_ms=3_600_000)),
            Limit("lim_c", "org", "org_1", Unit.REQUESTS, 12, window=Window("calendar", "year")),
            Limit("lim_d", "user", "user_1", Unit.CONCURRENCY, 3),
            Limit("lim_e", "team", "team_1", Unit.MONEY, 1000, hard=False),
        ]
        with self.database.write("ledger") as connection:
            for limit in self.limits:
                create_limit(connection, limit, now_ms=now_ms())
        self.clerks = [self.new_clerk(), self.new_clerk()]

    def new_clerk(self) -> Clerk:
        clerk = Clerk(self.database, self.settings, owner_name="test", loop=self.loop)
        self.loop.run_until_complete(clerk.start())
        return clerk

    @rule(target=holds, which=st.integers(0, 1), wanted=st.integers(1, 300), share=st.integers(1, 4))
    def authorize(self, which: int, wanted: int, share: int) -> str:
        clerk = self.clerks[which]
        request_id = new_id("req")
        try:
            hold = self.loop.run_until_complete(
                clerk.authorize(
                    clerk.path(self.limits),
                    wanted=Need(wanted, 1, wanted * 7, 1),
                    minimum=Need(-(-wanted // share), 1, -(-wanted // share) * 7, 1),
                    request_id=request_id,
                    now_ms=now_ms(),
                )
            )
        except HubError:
            return ""
        assert -(-wanted // share) <= hold.granted.tokens <= wanted
        self.running[request_id] = Running(clerk, hold)
        return request_id

    @rule(request_id=holds, extra=st.integers(1, 100), share=st.integers(1, 3))
    def grow(self, request_id: str, extra: int, share: int) -> None:
        one = self.running.get(request_id)
        if one is not None:
            before, least = one.hold.granted.tokens, -(-extra // share)
            grown = self.loop.run_until_complete(
                one.clerk.grow(one.hold, Need(extra, 0, extra * 7, 0), minimum=Need(least, 0, least * 7, 0))
            )
            more = one.hold.granted.tokens - before
            assert least <= more <= extra if grown else more == 0

    @rule(request_id=holds, part=st.integers(1, 100))
    def checkpoint(self, request_id: str, part: int) -> None:
        one = self.running.get(request_id)
        if one is not None:
            one.journaled = max(one.journaled, one.hold.granted.tokens * part // 100)
            one.clerk.checkpoint(one.hold, an_event(request_id, one.journaled))

    @rule(target=captured, request_id=consumes(holds), part=st.integers(0, 100))
    def capture(self, request_id: str, part: int) -> str:
        one = self.running.pop(request_id, None)
        if one is None:
            return ""
        used = max(one.journaled, one.hold.granted.tokens * part // 100)
        one.clerk.capture(one.hold, an_event(request_id, used))
        self.expected[request_id] = used
        return request_id

    @rule(which=st.integers(0, 1), parts=st.lists(st.integers(0, 100), min_size=1, max_size=4))
    def capture_plain(self, which: int, parts: list[int]) -> None:
        """Several of one clerk together, of those whose client has seen nothing yet."""
        clerk, charges = self.clerks[which], list[tuple[Hold, PlainUse, int]]()
        own = [name for name, one in self.running.items() if one.clerk is clerk and one.hold.draft is None]
        for request_id, part in zip(own, parts, strict=False):
            held = self.running.pop(request_id).hold
            used = held.granted[0] * part // 100
            charges.append((held, a_plain_use(clerk, held, used), used))
            self.expected[request_id] = used
        clerk.capture_plain(charges)

    @rule(request_id=consumes(holds))
    def void(self, request_id: str) -> None:
        one = self.running.pop(request_id, None)
        if one is not None:
            one.clerk.void(one.hold)

    @rule(which=st.integers(0, 1))
    def crash_and_recover(self, which: int) -> None:
        dead = self.clerks[which]
        crash(dead)
        for request_id, one in list(self.running.items()):
            if one.clerk is dead:
                del self.running[request_id]
                if one.hold.draft is not None:
                    self.expected[request_id] = one.journaled
        self.clerks[which] = self.new_clerk()

    @rule(request_id=captured)
    def take_back(self, request_id: str) -> None:
        self.settle()
        if request_id and self.expected.get(request_id) is not None:
            with self.database.write("ledger") as connection:
                correct(connection, request_id, reason="test", actor="test", now_ms=now_ms())
            del self.expected[request_id]

    @rule(cap=st.integers(0, 2 * CAP))
    def change_cap(self, cap: int) -> None:
        with self.database.write("ledger") as connection:
            set_limit(connection, "lim_a", cap=cap, hard=True, now_ms=now_ms())
        old = self.limits[0]
        self.limits[0] = Limit(old.id, old.scope_type, old.scope_id, old.unit, cap)

    @rule()
    def settle(self) -> None:
        async def wait() -> None:
            while any(clerk.stats().backlog for clerk in self.clerks):
                await asyncio.sleep(0.002)

        self.loop.run_until_complete(wait())

    @invariant()
    def nothing_is_negative(self) -> None:
        for clerk in getattr(self, "clerks", []):
            assert all(cell.free >= 0 for cell in clerk._cells.values())

    @invariant()
    def books_are_whole(self) -> None:
        if hasattr(self, "clerks"):
            with self.database.read("ledger") as connection:
                assert verify(connection) == []

    def teardown(self) -> None:
        try:
            if hasattr(self, "clerks"):
                self.end()
        finally:
            self.loop.close()
            self.database.close()
            self.folder.cleanup()

    def end(self) -> None:
        for request_id, one in self.running.items():
            if one.hold.draft is not None:
                self.expected[request_id] = one.journaled
        for clerk in self.clerks:
            self.loop.run_until_complete(clerk.close())
        recover_dead_owners(self.database, self.settings)
        with self.database.read("ledger") as connection:
            assert verify(connection) == []
            rows = connection.execute(text("SELECT id, used, held, overage, ceiling, hard FROM bucket")).all()
        used = sum(self.expected.values())
        standing = {row.id.split(":")[0]: row for row in rows}
        for row in rows:
            assert row.held == 0 and row.overage == 0
            assert not row.hard or row.used <= row.ceiling
        if standing:
            assert standing["lim_a"].used == standing["lim_b"].used == used
            assert standing["lim_c"].used == len(self.expected)
            assert standing["lim_d"].used == 0
            assert standing["lim_e"].used == used * 7


BooksMachine.TestCase.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBooks = BooksMachine.TestCase
