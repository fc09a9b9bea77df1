"""A gateway without HTTP that is killed: it says what it delivered only after the clerk let it.

    python -m tests.clearing.victim HOME URL SEED

Appends `request_id tokens` to HOME/delivered after each checkpoint or capture returned, as bytes would leave.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from tests.clearing.conftest import a_plain_use, an_event
from tokenhub.budgets.store import load_limits
from tokenhub.clearing.clerk import Clerk
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError
from tokenhub.kernel.ids import new_id
from tokenhub.ledger.types import Need

STEP = 256


async def main(home: str, url: str, seed: int) -> None:
    chance = random.Random(seed)
    settings = Settings(home=Path(home), database_url=url)
    database = Database(settings)
    with database.read("ledger") as connection:
        limits = load_limits(connection)
    clerk = Clerk(database, settings, owner_name="victim", loop=asyncio.get_running_loop())
    await clerk.start()
    path = clerk.path(limits)
    fd = os.open(Path(home) / "delivered", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def deliver(request_id: str, tokens: int) -> None:
        os.write(fd, f"{request_id} {tokens}\n".encode())

    async def client() -> None:
        while True:
            request_id, size = new_id("req"), chance.choice([5, 40, 300, 900, 2000])
            need = Need(size + 10, 1, 0, 1)
            try:
                hold = clerk.try_authorize(path, need, request_id, now_ms()) or await clerk.authorize(
                    path, wanted=need, minimum=need, request_id=request_id, now_ms=now_ms()
                )
            except HubError:
                return
            sent = 0
            while size - sent > STEP:
                clerk.checkpoint(hold, an_event(request_id, sent + STEP))
                sent += STEP
                deliver(request_id, sent)
                await asyncio.sleep(chance.uniform(0, 0.01))
            if chance.random() < 0.05:
                clerk.void(hold) if sent == 0 else clerk.capture(hold, an_event(request_id, sent))
                continue
            if hold.draft is None and chance.random() < 0.5:
                clerk.capture_plain(
                    [(hold, a_plain_use(clerk, hold, size, finish=chance.choice("abc")), size)]
                )
            else:
                clerk.capture(hold, an_event(request_id, size))
            deliver(request_id, size)
            await asyncio.sleep(chance.uniform(0, 0.01))

    print("ready", flush=True)
    await asyncio.gather(*[client() for _ in range(32)])
    await clerk.close()
    database.close()


if __name__ == "__main__":
    home, url, seed = sys.argv[1:]
    asyncio.run(main(home, url, int(seed)))
