"""The line before a cap: who waits, who goes on, which answer ends when all of them wait for each other."""

import asyncio
from dataclasses import replace

import pytest

from tests.clearing.conftest import Books, an_event, hold, settled, tokens
from tokenhub.budgets.types import Window
from tokenhub.clearing.cells import Hold
from tokenhub.clearing.clerk import Clerk
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import PaymentRequired
from tokenhub.kernel.ids import new_id
from tokenhub.ledger.types import Need

SOON_S = 1.5
"""Long enough for a few asks of the database, far shorter than anything waits by the clock."""


@pytest.fixture
def patient(books: Books) -> Books:
    """Waits of a minute: what ends sooner ends for a reason."""
    books.settings = replace(books.settings, hold_wait_s=60.0)
    return books


def more(amount: int) -> Need:
    return Need(amount, 0, 0, 0)


def grow(clerk: Clerk, held: Hold, amount: int = 10) -> "asyncio.Task[bool]":
    """An answer that stands still until it may go on."""
    return asyncio.ensure_future(clerk.grow(held, more(amount), minimum=more(1)))


def join(
    clerk: Clerk, path: object, wanted: int, minimum: int | None = None, request_id: str = ""
) -> "asyncio.Task[Hold]":
    return asyncio.ensure_future(hold(clerk, path, wanted, minimum, request_id))


async def finished(tasks: "list[asyncio.Task[bool]]") -> "list[asyncio.Task[bool]]":
    """Those that end soon."""
    done, _ = await asyncio.wait(tasks, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
    return list(done)


async def started(clerk: Clerk, path: object, sizes: list[int]) -> list[Hold]:
    """Holds in the order of their requests."""
    made: list[Hold] = []
    for index, size in enumerate(sizes):
        made.append(await hold(clerk, path, size, request_id=f"req_{now_ms()}_{index:04}"))
    return made


async def test_of_answers_that_wait_for_each_other_one_ends_and_the_others_go_on(patient: Books) -> None:
    limit = patient.limit(100)
    clerk = await patient.clerk()
    held = await started(clerk, clerk.path([limit]), [20, 30, 20, 30])
    growing = [grow(clerk, one) for one in (held[2], held[0], held[3], held[1])]
    [ended] = await finished(growing)
    assert ended is growing[2] and not ended.result(), "the one that came last ends"
    assert held[3].refused_by is not None and held[3].refused_by.id == limit.id
    await asyncio.sleep(0.3)
    assert sum(task.done() for task in growing) == 1, "nobody else, while what it held is on its way back"
    clerk.capture(held[3], an_event(held[3].request_id, 5))
    assert await asyncio.wait_for(asyncio.gather(*growing), SOON_S) == [True, True, False, True]
    assert [one.granted.tokens for one in held[:3]] == [30, 40, 25], "first come, first served"
    for one in held[:3]:
        clerk.capture(one, an_event(one.request_id, one.granted.tokens))
    await patient.close()
    assert (patient.bucket(limit)["used"], patient.bucket(limit)["held"]) == (100, 0)
    patient.check()


async def test_an_answer_waits_while_another_one_may_give_back(books: Books) -> None:
    """It used to end after a quarter of the wait, whatever the others held."""
    books.settings = replace(books.settings, hold_wait_s=2.0)
    limit = books.limit(100)
    clerk = await books.clerk()
    running, stalled = await started(clerk, clerk.path([limit]), [60, 40])
    growing = grow(clerk, stalled)
    await asyncio.sleep(1.0)
    assert not growing.done()
    clerk.capture(running, an_event(running.request_id, 10))
    assert await asyncio.wait_for(growing, SOON_S)
    assert stalled.granted.tokens == 50
    clerk.void(stalled)


async def test_no_answer_waits_longer_than_the_setting(books: Books) -> None:
    books.settings = replace(books.settings, hold_wait_s=0.4)
    limit = books.limit(100)
    clerk = await books.clerk()
    path = clerk.path([limit])
    running, stalled = await started(clerk, path, [60, 40])
    began = now_ms()
    assert not await clerk.grow(stalled, more(10), minimum=more(1))
    with pytest.raises(PaymentRequired):
        await hold(clerk, path, 30)
    assert 700 <= now_ms() - began <= 2500
    clerk.void(running)
    clerk.void(stalled)


async def test_a_new_request_waits_for_all_it_wants_while_that_may_come_back(patient: Books) -> None:
    clerk = await patient.clerk()
    path = clerk.path([patient.limit(100)])
    [running] = await started(clerk, path, [80])
    waiting = join(clerk, path, 50, minimum=5)
    await asyncio.sleep(0.2)
    assert not waiting.done(), "20 are free, and 80 may come back"
    clerk.capture(running, an_event(running.request_id, 40))
    held = await asyncio.wait_for(waiting, SOON_S)
    assert held.granted.tokens == 50
    clerk.capture(held, an_event(held.request_id, 50))
    last = await asyncio.wait_for(join(clerk, path, 50, minimum=5), SOON_S)
    assert last.granted.tokens == 10, "nothing is in flight: it takes what is left"
    clerk.void(last)


async def test_first_come_first_served(patient: Books) -> None:
    clerk = await patient.clerk()
    path = clerk.path([patient.limit(100)])
    [running] = await started(clerk, path, [70])
    first = join(clerk, path, 60)
    await asyncio.sleep(0.1)
    second = join(clerk, path, 20)
    await asyncio.sleep(0.3)
    assert not first.done() and not second.done(), "30 are free, but the first in line wants more"
    clerk.void(running)
    held = await asyncio.wait_for(asyncio.gather(first, second), SOON_S)
    assert [one.granted.tokens for one in held] == [60, 20]
    for one in held:
        clerk.void(one)


async def test_who_goes_away_leaves_the_line_at_once(patient: Books) -> None:
    clerk = await patient.clerk()
    path = clerk.path([patient.limit(100)])
    running, stalled = await started(clerk, path, [50, 20])
    first, second = join(clerk, path, 90), join(clerk, path, 30)
    await asyncio.sleep(0.2)
    assert not first.done() and not second.done()
    first.cancel()
    held = await asyncio.wait_for(second, SOON_S)
    growing = grow(clerk, stalled)
    await asyncio.sleep(0.2)
    growing.cancel()
    await asyncio.gather(first, growing, return_exceptions=True)
    assert clerk.stats().waiting == 0
    for one in (running, stalled, held):
        clerk.void(one)
    again = await asyncio.wait_for(join(clerk, path, 100), SOON_S)
    clerk.void(again)
    await patient.close()
    patient.check()


async def test_a_client_gone_from_a_standstill_lets_the_others_go_on(patient: Books) -> None:
    clerk = await patient.clerk()
    held = await started(clerk, clerk.path([patient.limit(100)]), [40, 60])
    moving = grow(clerk, held[0])
    await asyncio.sleep(0.2)
    gone = grow(clerk, held[1])
    gone.cancel()
    clerk.capture(held[1], an_event(held[1].request_id, 30))
    assert await asyncio.wait_for(moving, SOON_S)
    clerk.void(held[0])


async def test_two_processes_that_wait_for_each_other_end_one_answer(patient: Books) -> None:
    limit = patient.limit(100)
    one, two = await patient.clerk("g1"), await patient.clerk("g2")
    left = await started(one, one.path([limit]), [25, 25])
    right = await started(two, two.path([limit]), [25, 25])
    growing = [*[grow(one, held) for held in left], *[grow(two, held) for held in right]]
    [ended] = await finished(growing)
    assert not ended.result()
    await asyncio.sleep(0.5)
    assert sum(task.done() for task in growing) == 1
    index = growing.index(ended)
    clerk, held = (one, two)[index // 2], [*left, *right][index]
    clerk.capture(held, an_event(held.request_id, 1))
    await settled(clerk)
    # The other 24 tokens serve those that still wait, in both processes.
    others = [task for task in growing if task is not ended]
    while sum(each.granted.tokens for each in [*left, *right] if each is not held) < 99:
        await asyncio.wait(others, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
        assert all(task.result() for task in others if task.done())
        others = [task for task in others if not task.done()]
        if not others:
            break
    assert not others
    for clerk, made in ((one, left), (two, right)):
        for each in made:
            clerk.void(each)
    await patient.close()
    assert (patient.bucket(limit)["used"], patient.bucket(limit)["held"]) == (1, 0)
    patient.check()


async def test_an_answer_of_another_process_that_runs_keeps_ours_waiting(patient: Books) -> None:
    limit = patient.limit(100)
    one, two = await patient.clerk("g1"), await patient.clerk("g2")
    [stalled] = await started(one, one.path([limit]), [50])
    [running] = await started(two, two.path([limit]), [50])
    growing = grow(one, stalled)
    await asyncio.sleep(1.0)
    assert not growing.done()
    two.capture(running, an_event(running.request_id, 20))
    assert await asyncio.wait_for(growing, SOON_S)
    one.void(stalled)


async def test_a_line_for_another_limit_ends_no_answer(patient: Books) -> None:
    """Who waits for a free place must not end answers that wait for tokens others will give back."""
    shared, own = patient.limit(100), patient.limit(60)
    clerk = await patient.clerk()
    [elsewhere] = await started(clerk, clerk.path([shared]), [60])
    [stalled] = await started(clerk, clerk.path([shared, own]), [40])
    growing = grow(clerk, stalled)
    waiting = join(clerk, clerk.path([own]), 50)
    await asyncio.sleep(0.5)
    assert not growing.done() and not waiting.done()
    clerk.void(elsewhere)
    assert await asyncio.wait_for(growing, SOON_S)
    clerk.void(stalled)
    clerk.void(await asyncio.wait_for(waiting, SOON_S))


async def test_an_answer_waits_for_what_leaves_a_rolling_window(books: Books) -> None:
    books.settings = replace(books.settings, hold_wait_s=3.0)
    limit = books.limit(100, window=Window("rolling", length_ms=900))
    clerk = await books.clerk()
    path = clerk.path([limit])
    first, stalled = await started(clerk, path, [60, 40])
    clerk.capture(first, an_event(first.request_id, 60))
    await settled(clerk)
    assert await asyncio.wait_for(grow(clerk, stalled), 2.0)
    assert stalled.granted.tokens > 40
    clerk.void(stalled)


async def test_many_growing_answers_use_the_budget_to_its_end(patient: Books) -> None:
    """64 answers that each start small and want more than there is: none lingers, every token is used."""
    limit = patient.limit(64 * 30)
    clerk = await patient.clerk()
    path = clerk.path([limit])
    whole = 0

    async def answer(number: int) -> None:
        nonlocal whole
        held = await hold(clerk, path, 20, request_id=f"{new_id('req')}_{number}")
        made = 10  # the prompt's bound was twice its size
        while made < 60:
            if held.granted.tokens < made + 11 and not await clerk.grow(held, more(8), minimum=more(1)):
                break
            made = min(60, held.granted.tokens - 10)
            await asyncio.sleep(0.001)
        whole += made == 60
        clerk.capture(held, an_event(held.request_id, made))

    await asyncio.wait_for(asyncio.gather(*[answer(number) for number in range(64)]), 20)
    await patient.close()
    bucket = patient.bucket(limit)
    assert 0.99 * limit.cap <= bucket["used"] <= limit.cap and bucket["held"] == 0
    assert whole >= 10, "ended one by one, not all at once"
    patient.check()


async def test_an_exhausted_budget_refuses_at_once(patient: Books) -> None:
    clerk = await patient.clerk()
    path = clerk.path([patient.limit(100)])
    [held] = await started(clerk, path, [100])
    clerk.capture(held, an_event(held.request_id, 95))
    with pytest.raises(PaymentRequired):
        await asyncio.wait_for(hold(clerk, path, 10, minimum=6), SOON_S)
    assert clerk.try_authorize(path, tokens(200), "req_x", now_ms()) is None
