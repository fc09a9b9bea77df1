"""A process of the race: many tasks spend one budget through a clerk until they are refused.

python -m tests.clearing.racer HOME URL LIMIT_ID TASKS REQUESTS STYLE
"""

import asyncio
import json
import random
import sys
from pathlib import Path

from tests.clearing.conftest import an_event
from tokenhub.budgets.store import load_limits
from tokenhub.clearing.clerk import Clerk
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError
from tokenhub.kernel.ids import new_id
from tokenhub.ledger.types import Need

USES = 36


async def main(home: str, url: str, limit_id: str, tasks: int, requests: int, style: str) -> None:
    settings = Settings(home=Path(home), database_url=url)
    database = Database(settings)
    with database.read("ledger") as connection:
        limits = [limit for limit in load_limits(connection) if limit.id == limit_id]
    clerk = Clerk(database, settings, owner_name="racer", loop=asyncio.get_running_loop())
    await clerk.start()
    path = clerk.path(limits)
    done = refused = cut = 0

    async def client() -> None:
        nonlocal done, refused, cut
        for _ in range(requests):
            request_id, start_ms = new_id("req"), now_ms()
            wanted = Need(USES if style == "exact" else 8192, 1, 0, 1)
            minimum = Need(USES if style == "exact" else 20, 1, 0, 1)
            try:
                hold = clerk.try_authorize(path, wanted, request_id, start_ms) or await clerk.authorize(
                    path, wanted=wanted, minimum=minimum, request_id=request_id, now_ms=start_ms
                )
            except HubError:
                refused += 1
                continue
            made = 20
            await asyncio.sleep(random.uniform(0.001, 0.01))
            while made < USES:  # a stream that grows by steps of 8
                step = min(8, USES - made)
                more = Need(step, 0, 0, 0)
                if hold.granted.tokens < made + step and not await clerk.grow(hold, more, minimum=more):
                    cut += 1
                    break
                made += step
            clerk.capture(hold, an_event(request_id, made))
            done += 1

    await asyncio.gather(*[client() for _ in range(tasks)])
    await clerk.close()
    database.close()
    print(json.dumps({"done": done, "refused": refused, "cut": cut}))


if __name__ == "__main__":
    home, url, limit_id, tasks, requests, style = sys.argv[1:]
    asyncio.run(main(home, url, limit_id, int(tasks), int(requests), style))
