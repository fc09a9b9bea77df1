"""The race for the last token: several processes, many tasks each, one budget."""

import json
import subprocess
import sys

import pytest

from tests.clearing.conftest import Books
from tests.clearing.racer import USES

TASKS, REQUESTS = 64, 4


@pytest.mark.parametrize(
    ("processes", "style"),
    [(1, "exact"), (1, "open"), (4, "open"), pytest.param(4, "exact", marks=pytest.mark.slow)],
)
async def test_the_last_token(books: Books, processes: int, style: str) -> None:
    """A budget for half of the requests: none over it, nothing held afterwards, at least 97 % of it used."""
    tasks = TASKS if processes == 1 else TASKS // 4 if style == "open" else TASKS
    limit = books.limit(processes * tasks * REQUESTS * USES // 2 + 7)
    arguments = [
        str(books.settings.home),
        books.settings.database_url,
        limit.id,
        str(tasks),
        str(REQUESTS),
        style,
    ]
    running = [
        subprocess.Popen([sys.executable, "-m", "tests.clearing.racer", *arguments], stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    bucket = books.bucket(limit)
    print(told, bucket["used"], limit.cap)
    assert bucket["held"] == 0
    assert 0.97 * limit.cap <= bucket["used"] <= limit.cap
    assert sum(one["refused"] for one in told) > 0
    assert books.count("usage_event") == sum(one["done"] for one in told)
    books.check()
