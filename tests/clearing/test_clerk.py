"""The clerk: what one request may use, what it used, and who is refused."""

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from tests.clearing.conftest import Books, an_event, hold, settled, tokens, until
from tokenhub.budgets.store import remove_limit, set_limit
from tokenhub.budgets.types import Window
from tokenhub.clearing.pages import Pages
from tokenhub.clearing.teller import Ask
from tokenhub.db.kept import Kept
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import LimitReached, PaymentRequired, Unavailable
from tokenhub.kernel.ids import new_id
from tokenhub.ledger.types import Need, Unit


async def test_capture_charges_and_frees_the_rest(books: Books) -> None:
    limit = books.limit(1000)
    clerk = await books.clerk()
    path = clerk.path([limit])
    held = await hold(clerk, path, 100)
    clerk.capture(held, an_event(held.request_id, 30))
    clerk.capture(held, an_event(held.request_id, 30))  # a second capture does nothing
    await settled(clerk)
    assert books.bucket(limit)["used"] == 30
    await books.close()
    assert (books.bucket(limit)["used"], books.bucket(limit)["held"]) == (30, 0)
    assert books.count("usage_event") == 1
    books.check()


async def test_void_uses_nothing(books: Books) -> None:
    limit = books.limit(1000)
    clerk = await books.clerk()
    held = await hold(clerk, clerk.path([limit]), 100)
    clerk.checkpoint(held, an_event(held.request_id, 5))
    clerk.void(held)
    await books.close()
    assert books.bucket(limit)["used"] == 0
    assert books.count("usage_event") == 0
    books.check()


async def test_fast_path_needs_no_database(books: Books) -> None:
    clerk = await books.clerk()
    path = clerk.path([books.limit(1_000_000)])
    held = await hold(clerk, path, 10)
    again = clerk.try_authorize(path, tokens(10), new_id("req"), now_ms())
    assert again is not None
    clerk.void(again)
    clerk.void(held)


async def test_no_limits_no_waiting(books: Books) -> None:
    clerk = await books.clerk()
    held = clerk.try_authorize(clerk.path([]), tokens(10**9), "req_1", now_ms())
    assert held is not None
    clerk.capture(held, an_event("req_1", 12))
    await books.close()
    assert books.count("usage_event") == 1
    books.check()


async def test_budget_is_usable_to_its_last_tokens(books: Books) -> None:
    """64 clients that ask for far more than they use, as callers without max_tokens do."""
    limit = books.limit(36 * 130)
    clerk = await books.clerk()
    path = clerk.path([limit])
    refused = 0

    async def client() -> None:
        nonlocal refused
        for _ in range(4):
            try:
                held = await hold(clerk, path, 8192, minimum=36)
            except PaymentRequired:
                refused += 1
                continue
            await asyncio.sleep(0.002)
            clerk.capture(held, an_event(held.request_id, 36))

    await asyncio.gather(*[client() for _ in range(64)])
    await books.close()
    bucket = books.bucket(limit)
    assert bucket["held"] == 0
    assert 0.97 * limit.cap <= bucket["used"] <= limit.cap
    assert refused == 256 - bucket["used"] // 36
    books.check()


async def test_growth_to_the_cap(books: Books) -> None:
    limit = books.limit(100)
    clerk = await books.clerk()
    held = await hold(clerk, clerk.path([limit]), 1000, minimum=10)
    have = held.granted.tokens
    assert 10 <= have < 1000
    while await clerk.grow(held, Need(16, 0, 0, 0)):
        have += 16
    assert 84 < have <= 100
    assert held.granted.tokens == have
    assert held.refused_by is not None and held.refused_by.id == limit.id
    clerk.capture(held, an_event(held.request_id, have))
    await books.close()
    assert books.bucket(limit)["used"] == have
    books.check()


async def test_refusals_name_the_limit(books: Books) -> None:
    lifetime = books.limit(10, name="trial")
    clerk = await books.clerk()
    with pytest.raises(PaymentRequired) as refused:
        await hold(clerk, clerk.path([lifetime]), 11)
    assert "trial" in refused.value.message and refused.value.status == 402
    assert refused.value.headers["x-ath-quota-trial-limit"] == "10"
    yearly = books.limit(10, name="year", window=Window("calendar", "year"))
    with pytest.raises(LimitReached) as late:
        await hold(clerk, clerk.path([yearly]), 11)
    assert late.value.code == "insufficient_quota" and not late.value.retryable
    assert int(late.value.headers["retry-after"]) > 0
    rate = books.limit(10, name="tpm", window=Window("calendar", "minute"))
    with pytest.raises(LimitReached) as fast:
        await hold(clerk, clerk.path([rate]), 11)
    assert fast.value.code == "rate_limit_exceeded" and fast.value.retryable


async def test_all_limits_agree_or_none_is_touched(books: Books) -> None:
    wide, narrow = books.limit(1000), books.limit(10)
    clerk = await books.clerk()
    with pytest.raises(PaymentRequired):
        await hold(clerk, clerk.path([wide, narrow]), 11)
    await books.close()
    assert books.bucket(wide)["held"] == 0 and books.bucket(narrow)["held"] == 0
    books.check()


async def test_concurrency_is_held_and_never_used(books: Books) -> None:
    limit = books.limit(2, Unit.CONCURRENCY)
    clerk = await books.clerk()
    path = clerk.path([limit])
    running = peak = 0

    async def request() -> None:
        nonlocal running, peak
        held = await hold(clerk, path, 5)
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.005)
        running -= 1
        clerk.capture(held, an_event(held.request_id, 5))

    await asyncio.gather(*[request() for _ in range(20)])
    await books.close()
    assert peak == 2
    assert (books.bucket(limit)["used"], books.bucket(limit)["held"]) == (0, 0)
    books.check()


async def test_soft_limits_count_and_never_refuse(books: Books) -> None:
    soft = books.limit(10, hard=False)
    clerk = await books.clerk()
    held = await hold(clerk, clerk.path([soft]), 100)
    clerk.capture(held, an_event(held.request_id, 50))
    await books.close()
    assert books.bucket(soft)["used"] == 50
    books.check()


async def test_money_and_request_limits(books: Books) -> None:
    money, requests = books.limit(700, Unit.MONEY), books.limit(3, Unit.REQUESTS)
    clerk = await books.clerk()
    path = clerk.path([money, requests])
    for _ in range(3):
        held = await hold(clerk, path, 30)
        clerk.capture(held, an_event(held.request_id, 30))
    with pytest.raises(PaymentRequired):
        await hold(clerk, path, 30)
    await books.close()
    assert books.bucket(money)["used"] == 630 and books.bucket(requests)["used"] == 3
    books.check()


async def test_overage_of_an_outside_provider_is_visible(books: Books) -> None:
    limit = books.limit(100)
    clerk = await books.clerk()
    held = await hold(clerk, clerk.path([limit]), 100)
    clerk.capture(held, an_event(held.request_id, 140))
    await books.close()
    bucket = books.bucket(limit)
    assert (bucket["used"], bucket["overage"], bucket["held"]) == (100, 40, 0)
    books.check()


async def test_overage_while_others_wait_is_not_taken_for_a_fault(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It uses up the whole lease, and with it what the line had offered to give back."""
    limit, clerk = books.limit(1000), await books.clerk()
    path = clerk.path([limit])
    first = await hold(clerk, path, 600)
    clerk.void(await hold(clerk, path, 300))
    ask = clerk._teller.ask

    def overrun_then_ask(order: Ask) -> None:
        if not first.closed and any(one.idle for one in order.orders):
            clerk.capture(first, an_event(first.request_id, 5000))
        ask(order)

    monkeypatch.setattr(clerk._teller, "ask", overrun_then_ask)
    with pytest.raises(PaymentRequired):
        await hold(clerk, path, 500)
    assert first.closed
    await settled(clerk)
    assert [cell.free for cell in path.cells] == [0]
    bucket = books.bucket(limit)
    assert (bucket["used"], bucket["overage"], bucket["held"]) == (900, 4100, 0)  # 900 were leased
    books.check()


async def test_a_lowered_cap_binds_and_a_raised_one_frees(books: Books) -> None:
    limit = books.limit(1000)
    clerk = await books.clerk()
    path = clerk.path([limit])
    held = await hold(clerk, path, 200)
    with books.database.write("ledger") as connection:
        set_limit(connection, limit.id, cap=50, hard=True, now_ms=now_ms())
    lowered = type(limit)(**{**{k: getattr(limit, k) for k in limit.__slots__}, "cap": 50})
    assert clerk.path([lowered]) is path
    clerk.capture(held, an_event(held.request_id, 150))  # was promised before
    await settled(clerk)
    await asyncio.sleep(0.6)
    with pytest.raises(PaymentRequired):
        await hold(clerk, path, 1)
    with books.database.write("ledger") as connection:
        set_limit(connection, limit.id, cap=500, hard=True, now_ms=now_ms())
    again = await hold(clerk, clerk.path([limit]), 100)
    clerk.void(again)
    await books.close()
    assert books.bucket(limit)["used"] == 150
    books.check()


async def test_a_removed_limit_gives_its_leases_back(books: Books) -> None:
    limit = books.limit(1000)
    clerk = await books.clerk()
    held = await hold(clerk, clerk.path([limit]), 100)
    clerk.capture(held, an_event(held.request_id, 10))
    with books.database.write("ledger") as connection:
        remove_limit(connection, limit.id, now_ms=now_ms())
    free = clerk.path([])
    assert clerk.try_authorize(free, tokens(10**6), "req_x", now_ms()) is not None
    await until(lambda: books.bucket(limit)["held"] == 0)
    books.check()


async def test_idle_leases_are_recalled_before_anybody_is_refused(books: Books) -> None:
    limit = books.limit(400)
    first, second = await books.clerk("g1"), await books.clerk("g2")
    held = await hold(first, first.path([limit]), 20)
    first.capture(held, an_event(held.request_id, 20))
    await settled(first)
    assert books.bucket(limit)["held"] > 0
    big = await hold(second, second.path([limit]), 380)
    second.capture(big, an_event(big.request_id, 380))
    await books.close()
    assert books.bucket(limit)["used"] == 400
    books.check()


async def test_idle_leases_go_back_after_a_few_seconds(books: Books) -> None:
    limit = books.limit(100_000)
    clerk = await books.clerk()
    clerk.void(await hold(clerk, clerk.path([limit]), 20))
    await until(lambda: books.bucket(limit)["held"] == 0, timeout_s=8)
    books.check()


async def test_a_window_ends_while_a_request_runs(books: Books) -> None:
    """What was promised in a window is charged to that window; the next one starts empty."""
    limit = books.limit(100, window=Window("anchored", length_ms=300))
    clerk = await books.clerk()
    path = clerk.path([limit])
    held = await hold(clerk, path, 100)
    old = books.bucket(limit)
    await asyncio.sleep(0.35)
    after = await hold(clerk, path, 100)
    clerk.capture(held, an_event(held.request_id, 90))
    clerk.capture(after, an_event(after.request_id, 80))
    await settled(clerk)
    new = books.bucket(limit)
    assert new["id"] != old["id"] and new["used"] == 80
    await until(lambda: _held(books) == 0)
    assert books.count("bucket") == 2
    books.check()


async def test_rolling_windows_let_go_step_by_step(books: Books) -> None:
    limit = books.limit(100, window=Window("rolling", length_ms=600))
    clerk = await books.clerk()
    path = clerk.path([limit])
    held = await hold(clerk, path, 100)
    clerk.capture(held, an_event(held.request_id, 100))
    await settled(clerk)
    with pytest.raises(LimitReached):
        await hold(clerk, path, 50)
    await asyncio.sleep(0.65)
    again = await hold(clerk, path, 100)
    clerk.capture(again, an_event(again.request_id, 60))
    await books.close()
    assert books.bucket(limit)["used"] == 60
    books.check()


async def test_a_cancelled_wait_leaks_nothing(books: Books) -> None:
    limit = books.limit(100)
    clerk = await books.clerk()
    path = clerk.path([limit])
    held = await hold(clerk, path, 100)
    waits = [asyncio.create_task(hold(clerk, path, 50)) for _ in range(5)]
    await asyncio.sleep(0.05)
    clerk.capture(held, an_event(held.request_id, 10))
    for wait in waits[:4]:
        wait.cancel()
    got = await asyncio.gather(*waits, return_exceptions=True)
    clerk.void(got[4])  # type: ignore[arg-type]
    await books.close()
    assert (books.bucket(limit)["used"], books.bucket(limit)["held"]) == (10, 0)
    books.check()


def _fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """No line of a journal can be written until what is returned is called."""

    def full(fd: int, data: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Pages, "put", lambda self, data, at: False)
    monkeypatch.setattr(os, "pwrite", full)
    return monkeypatch.undo


async def test_disk_full_refuses_and_comes_back(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = books.limit(1000)
    clerk = await books.clerk()
    path = clerk.path([limit])
    streaming, short = await hold(clerk, path, 100), await hold(clerk, path, 100)
    clerk.checkpoint(streaming, an_event(streaming.request_id, 7))
    make_room = _fill_the_disk(monkeypatch)
    for held in (streaming, short):
        with pytest.raises(Unavailable):
            clerk.capture(held, an_event(held.request_id, 30))
    assert clerk.try_authorize(path, tokens(1), "req_full", now_ms()) is None
    with pytest.raises(Unavailable, match="journal"):
        await hold(clerk, path, 1)
    make_room()
    await asyncio.sleep(0.3)
    held = await hold(clerk, path, 10)
    clerk.capture(held, an_event(held.request_id, 3))
    await books.close()
    assert books.bucket(limit)["used"] == 7 + 3
    books.check()


@pytest.mark.parametrize("room_comes_back", [True, False])
async def test_an_answer_cut_by_a_full_disk_is_charged_as_delivered_once_there_is_room(
    books: Books, monkeypatch: pytest.MonkeyPatch, room_comes_back: bool
) -> None:
    """A checkpoint runs ahead of what is sent. It is the charge only if the process never gets to write the truth."""
    limit = books.limit(1000)
    clerk = await books.clerk()
    path = clerk.path([limit])
    streaming = await hold(clerk, path, 300)
    clerk.checkpoint(streaming, an_event(streaming.request_id, 260))
    make_room = _fill_the_disk(monkeypatch)
    with pytest.raises(Unavailable):
        clerk.capture(streaming, an_event(streaming.request_id, 30))
    clerk.capture(streaming, an_event(streaming.request_id, 30))  # a second call does nothing
    if room_comes_back:
        make_room()
        await asyncio.sleep(1.0)
    await books.close()
    assert books.bucket(limit)["used"] == (30 if room_comes_back else 260)
    assert books.bucket(limit)["held"] == 0
    books.check()


def _held(books: Books) -> int:
    from sqlalchemy import text

    with books.database.read("ledger") as connection:
        return connection.execute(text("SELECT sum(held) FROM bucket")).scalar_one()


async def test_database_down_refuses_new_work_and_loses_nothing(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = books.limit(1000)
    clerk = await books.clerk()
    path = clerk.path([limit])
    held = await hold(clerk, path, 100)

    def down(kept: Kept) -> None:
        raise OperationalError("SELECT 1", {}, Exception("the database is down"))

    with monkeypatch.context() as broken:
        broken.setattr(Kept, "write", down)
        clerk.capture(held, an_event(held.request_id, 60))
        with pytest.raises(Unavailable, match="database"):
            await hold(clerk, path, 900)
        await asyncio.sleep(0.2)
        assert clerk.stats().backlog == 1
    await settled(clerk)
    assert books.bucket(limit)["used"] == 60
    await books.close()
    books.check()


async def test_a_commit_whose_answer_is_lost_loses_nothing_that_came_meanwhile(books: Books) -> None:
    limit, clerk = books.limit(1000), await books.clerk()
    path = clerk.path([limit])
    first, second, third = [await hold(clerk, path, 10) for _ in range(3)]
    write, lost = clerk._teller._books.write, list[bool]()

    @contextmanager
    def write_and_lose_the_answer() -> Iterator[Connection]:
        with write() as connection:
            yield connection
        if not lost:
            lost.append(True)
            raise OperationalError("COMMIT", {}, Exception("the connection is gone"))

    clerk._teller._books.write = write_and_lose_the_answer  # type: ignore[method-assign]
    clerk.capture(first, an_event(first.request_id, 5))
    await until(lambda: bool(lost))
    clerk.capture(second, an_event(second.request_id, 7))
    clerk.void(third)
    for cell in path.cells:
        clerk._return_idle(cell)
    await settled(clerk)
    assert books.count("usage_event") == 2
    await until(lambda: books.bucket(limit)["held"] == 0)
    assert books.bucket(limit)["used"] == 12
    books.check()


async def test_a_full_backlog_refuses(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenhub.clearing.clerk.BACKLOG_MAX", 3)
    clerk = await books.clerk()
    path = clerk.path([])

    def down(kept: Kept) -> None:
        raise OperationalError("SELECT 1", {}, Exception("the database is down"))

    with monkeypatch.context() as broken:
        broken.setattr(Kept, "write", down)
        for number in range(5):
            held = clerk.try_authorize(path, tokens(1), f"req_{number}", now_ms())
            assert held is not None
            clerk.capture(held, an_event(held.request_id, 1))
        await until(lambda: clerk.try_authorize(path, tokens(1), "req_x", now_ms()) is None)
        with pytest.raises(Unavailable, match="database"):
            await hold(clerk, path, 1)
    await settled(clerk)
    clerk.void(await hold(clerk, path, 1))
    await books.close()
    assert books.count("usage_event") == 5


async def test_quota_headers(books: Books) -> None:
    limits = [
        books.limit(1000, name="Ana's year", window=Window("calendar", "year")),
        books.limit(60, Unit.REQUESTS, name="rpm", window=Window("rolling", "minute")),
    ]
    clerk = await books.clerk()
    path = clerk.path(limits)
    held = await hold(clerk, path, 100)
    clerk.capture(held, an_event(held.request_id, 40))
    await settled(clerk)
    headers = dict(clerk.quota_headers(path, now_ms()))
    assert headers[b"x-ath-quota-ana-s-year-limit"] == b"1000"
    assert headers[b"x-ath-quota-ana-s-year-used"] == b"40"
    assert int(headers[b"x-ath-quota-ana-s-year-reset"]) > 0
    assert headers[b"x-ratelimit-remaining-tokens"] == b"960"
    assert headers[b"x-ratelimit-limit-requests"] == b"60"
    assert headers[b"x-ratelimit-remaining-requests"] == b"59"


async def test_shutdown_posts_the_last_checkpoint_of_an_open_stream(books: Books) -> None:
    limit = books.limit(1000)
    clerk = await books.clerk()
    held = await hold(clerk, clerk.path([limit]), 100)
    clerk.checkpoint(held, an_event(held.request_id, 33))
    await books.close()
    assert (books.bucket(limit)["used"], books.bucket(limit)["held"]) == (33, 0)
    books.check()
