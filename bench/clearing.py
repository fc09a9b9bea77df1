"""What clearing costs: the fast path per request, and the settle thread per request, on SQLite or PostgreSQL.

    python bench/clearing.py [--url postgresql://…] [--requests 100000]

Prints microseconds of CPU per request: `authorize + capture` as the event loop's thread sees it (journal line
written), and the CPU of the settle thread; the latter also at 100 requests a second, and in an idle second with leases
held.
"""

import argparse
import asyncio
import tempfile
import threading
import time
from pathlib import Path

from tokenhub.budgets.store import create_limit
from tokenhub.budgets.types import Limit, Window
from tokenhub.clearing.cells import Path as ClerkPath
from tokenhub.clearing.clerk import Clerk
from tokenhub.clearing.verify import verify
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.kernel.clock import now_ms
from tokenhub.ledger.types import Need, Unit
from tokenhub.metering.types import UsageEvent

FAR = 10**15


def limits() -> list[Limit]:
    """Four levels, as a request of a person in a team has."""
    return [
        Limit("lim_key", "key", "key_1", Unit.TOKENS, FAR),
        Limit("lim_user", "user", "user_1", Unit.TOKENS, FAR, window=Window("calendar", "year")),
        Limit("lim_rpm", "team", "team_1", Unit.REQUESTS, FAR, window=Window("rolling", "minute")),
        Limit("lim_money", "org", "org_1", Unit.MONEY, FAR, window=Window("calendar", "month")),
    ]


def event(number: int) -> UsageEvent:
    """A plain answer."""
    return UsageEvent(
        request_id=f"req_{number:026d}",
        at_ms=now_ms(),
        org_id="org_1",
        team_id="team_1",
        user_id="user_1",
        key_id="key_1",
        model="qwen2.5-coder-0.5b-instruct",
        deployment_id="dep_01M829EYH6G2FKQY42DZD80YEM",
        engine_boot="boot_01M829EYH6G2FKQY42DZD80YEM",
        price_version_id="price_01M829EYH6G2FKQY42DZD80YEM",
        input_tokens=120,
        output_tokens=80,
        created_tokens=80,
        amount_nano=12_345,
        latency_ms=200,
        ttft_ms=20,
    )


def settle_thread_s() -> float:
    """CPU seconds of the settle thread so far."""
    thread = next(thread for thread in threading.enumerate() if thread.name == "clearing")
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


async def quiet(clerk: Clerk, path: ClerkPath, need: Need) -> tuple[float, float]:
    """CPU of the settle thread: seconds per request at 100 a second, then per idle second."""
    seconds, settling = 3, settle_thread_s()
    for number in range(seconds * 100):
        item = event(10**9 + number)
        hold = clerk.try_authorize(path, need, item.request_id, item.at_ms)
        if hold is not None:
            clerk.capture(hold, item)
        await asyncio.sleep(0.01)
    while clerk.stats().backlog:
        await asyncio.sleep(0.01)
    between = settle_thread_s()
    await asyncio.sleep(2)
    return (between - settling) / (seconds * 100), (settle_thread_s() - between) / 2


async def main(url: str, requests: int) -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url=url)
        database = Database(settings)
        migrate(database, settings)
        made = limits()
        with database.write("ledger") as connection:
            for limit in made:
                create_limit(connection, limit, now_ms=now_ms())
        clerk = Clerk(database, settings, owner_name="bench", loop=asyncio.get_running_loop())
        await clerk.start()
        path = clerk.path(made)
        need = Need(8192, 1, 1_000_000, 0)
        clerk.void(
            await clerk.authorize(path, wanted=need, minimum=need, request_id="req_warm", now_ms=now_ms())
        )
        events = [event(number) for number in range(requests)]
        slow, loop_ns, started = 0, 0, time.perf_counter()
        settling = settle_thread_s()
        for number, item in enumerate(events):
            before = time.thread_time_ns()
            hold = clerk.try_authorize(path, need, item.request_id, item.at_ms)
            if hold is None:
                slow += 1
                hold = await clerk.authorize(
                    path, wanted=need, minimum=need, request_id=item.request_id, now_ms=item.at_ms
                )
            clerk.capture(hold, item)
            loop_ns += time.thread_time_ns() - before
            if number % 50 == 49:
                await asyncio.sleep(0.004)
        while clerk.stats().backlog:
            await asyncio.sleep(0.01)
        wall, settling = time.perf_counter() - started, settle_thread_s() - settling
        print(f"{database.dialect}: {requests} requests, {requests / wall:,.0f}/s, slow path {slow}")
        print(f"  authorize + capture   {loop_ns / requests / 1000:6.2f} us CPU a request")
        print(f"  settle thread         {settling / requests * 1e6:6.2f} us CPU a request")
        slow_s, idle_s = await quiet(clerk, path, need)
        print(f"  at 100 a second       {slow_s * 1e6:6.2f} us CPU a request, settle thread")
        print(f"  idle                  {idle_s * 1e3:6.2f} ms CPU a second, settle thread")
        await clerk.close()
        with database.read("ledger") as connection:
            findings = verify(connection)
        print(f"  books whole: {not findings}; threads left {threading.active_count() - 1}")
        database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="")
    parser.add_argument("--requests", type=int, default=50_000)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.url, arguments.requests))
