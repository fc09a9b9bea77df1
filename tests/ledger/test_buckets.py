"""Buckets and leases: how much is given, and that the row never passes its cap."""

import pytest

from tokenhub.db.engine import Database
from tokenhub.ledger import buckets, owners
from tokenhub.ledger.buckets import Charge, Order
from tokenhub.ledger.types import BucketSpec, Unit
from tokenhub.ledger.verify import check_leases

DAY = 86_400_000


def spec(bucket_id: str = "b", cap: int = 1000, **fields: int) -> BucketSpec:
    values = {"window_start_ms": 0, "window_end_ms": DAY, **fields}
    return BucketSpec(bucket_id, f"lim_{bucket_id}", Unit.TOKENS, cap, True, **values)


def ask(wanted: int, least: int | None = None, idle: int = 0) -> Order:
    minimum = wanted if least is None else least
    return Order("b", wanted=wanted, minimum=minimum, enough=minimum, least=minimum, single=wanted, idle=idle)


@pytest.fixture
def ready(database: Database) -> Database:
    with database.write("ledger") as connection:
        buckets.ensure_buckets(connection, [spec()])
        for name in ("o1", "o2"):
            owners.open_owner(connection, name, name=name, journal="j", pid=1, now_ms=0)
    return database


def test_far_from_the_cap_a_share_near_it_the_least(ready: Database) -> None:
    with ready.write("ledger") as connection:
        first = buckets.grant(connection, "o1", [ask(10)], owners=2, now_ms=1)["b"]
        assert (first.amount, first.near) == (1000 // 8, False)
        near = buckets.grant(connection, "o1", [ask(500, least=20)], owners=2, now_ms=1)["b"]
        assert near.near and near.amount == (1000 - 125) // 8
        last = buckets.grant(connection, "o2", [ask(766)], owners=2, now_ms=1)["b"]
        assert last.amount == 766
        none = buckets.grant(connection, "o2", [ask(5, idle=4)], owners=2, now_ms=1)["b"]
        assert none.amount == -4 and none.state.held == 996
        assert list(check_leases(connection)) == []


def waits(wanted: int, *, waiting: int, victim: int = 0, least: int = 1, enough: int = 0) -> Order:
    """A process whose answers that wait for more hold `waiting`."""
    return Order(
        "b",
        wanted=wanted,
        minimum=wanted,
        enough=enough or least,
        least=least,
        single=wanted,
        waiting=waiting,
        victim=victim,
    )


def test_nothing_comes_back_when_all_in_flight_wait_for_more(ready: Database) -> None:
    with ready.write("ledger") as connection:
        for owner_id, amount in (("o1", 600), ("o2", 400)):
            assert (
                buckets.grant(connection, owner_id, [ask(amount)], owners=2, now_ms=1)["b"].amount == amount
            )
        first = waits(32, waiting=600, victim=200)
        moving = buckets.grant(connection, "o1", [first], owners=2, now_ms=1, waiting={"b": 600})["b"]
        assert (moving.amount, moving.quiet, moving.stuck) == (0, False, False), "o2 may give something back"
        second = waits(32, waiting=400, victim=100)
        stuck = buckets.grant(connection, "o2", [second], owners=2, now_ms=1, waiting={"b": 400})["b"]
        assert stuck.quiet and stuck.stuck, "one of o2's answers ends"
        again = buckets.grant(connection, "o1", [first], owners=2, now_ms=1, waiting={"b": 600})["b"]
        assert not again.quiet, "and none of o1's: what that one held is on its way back"
        buckets.charge(connection, "o2", {"b": Charge(used=70, returned=30)}, now_ms=1)
        served = buckets.grant(connection, "o1", [waits(32, waiting=600)], owners=2, now_ms=1)["b"]
        assert served.amount == 30
        assert list(check_leases(connection)) == []


def test_the_first_in_line_takes_less_when_nothing_comes_back(ready: Database) -> None:
    with ready.write("ledger") as connection:
        assert buckets.grant(connection, "o1", [ask(900)], owners=2, now_ms=1)["b"].amount == 900
        patient = waits(300, waiting=0, least=50, enough=300)
        assert buckets.grant(connection, "o2", [patient], owners=2, now_ms=1)["b"].amount == 0
        buckets.charge(connection, "o1", {"b": Charge(used=900)}, now_ms=1)
        last = buckets.grant(connection, "o2", [patient], owners=2, now_ms=1)["b"]
        assert (last.amount, last.quiet, last.stuck) == (100, True, False)


def test_a_charge_never_takes_more_than_the_lease(ready: Database) -> None:
    with ready.write("ledger") as connection:
        buckets.grant(connection, "o1", [ask(100)], owners=1, now_ms=1)
        leased = 250
        state = buckets.charge(connection, "o1", {"b": Charge(used=300)}, now_ms=1)[0]
        assert (state.used, state.overage, state.held, state.missing) == (leased, 50, 0, 50)
        assert list(check_leases(connection)) == []


def test_a_dead_owner_is_released(ready: Database) -> None:
    with ready.write("ledger") as connection:
        buckets.grant(connection, "o1", [ask(100)], owners=1, now_ms=1)
        buckets.grant(connection, "o2", [ask(100)], owners=1, now_ms=1)
        assert buckets.release_owner(connection, "o1") == 1
        assert buckets.states(connection, ["lim_b"], now_ms=1)["lim_b"].held == (1000 - 250) // 4
        assert list(check_leases(connection)) == []


def test_rolling_steps_leave_only_when_fully_outside(ready: Database) -> None:
    rolling = BucketSpec("r", "lim_r", Unit.TOKENS, 100, True, 0, 2**62, length_ms=600, step_ms=10)
    order = Order("r", wanted=100, minimum=100, enough=100, least=100, single=100)
    with ready.write("ledger") as connection:
        buckets.ensure_buckets(connection, [rolling])
        assert buckets.grant(connection, "o1", [order], owners=1, now_ms=1005)["r"].amount == 100
        used = Charge(used=100, steps={1000: [100, 0]})
        buckets.charge(connection, "o1", {"r": used}, now_ms=1005)
        for at_ms in (1400, 1609):
            assert buckets.grant(connection, "o1", [order], owners=1, now_ms=at_ms)["r"].amount == 0
        assert buckets.grant(connection, "o1", [order], owners=1, now_ms=1610)["r"].amount == 100


def test_a_lowered_cap_keeps_what_is_promised(ready: Database) -> None:
    with ready.write("ledger") as connection:
        buckets.grant(connection, "o1", [ask(800)], owners=1, now_ms=1)
        buckets.set_cap(connection, "lim_b", cap=10, hard=True, now_ms=1)
        assert buckets.grant(connection, "o2", [ask(1)], owners=1, now_ms=1)["b"].amount == 0
        buckets.charge(connection, "o1", {"b": Charge(used=700, returned=100)}, now_ms=1)
        assert buckets.states(connection, ["lim_b"], now_ms=1)["lim_b"].used == 700


def test_recalls_reach_the_others(ready: Database) -> None:
    with ready.write("ledger") as connection:
        buckets.request_recall(connection, "o1", ["b"], now_ms=100)
    kept = ready.keep("ledger")
    assert buckets.recalled(kept, "o2", since_ms=50) == ["b"]
    assert buckets.recalled(kept, "o1", since_ms=50) == []
    assert buckets.recalled(kept, "o2", since_ms=150) == []
    kept.close()


def test_short_windows_are_pruned(ready: Database) -> None:
    with ready.write("ledger") as connection:
        buckets.ensure_buckets(connection, [spec("minute", window_end_ms=60_000)])
        assert buckets.prune(connection, before_ms=2 * DAY) == 1
