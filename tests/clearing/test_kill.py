"""kill -9 at any moment: no delivered token is lost, nothing stays held, no bucket passes its cap."""

import random
import subprocess
import sys
import time

import pytest
from sqlalchemy import text

from tests.clearing.conftest import Books
from tests.clearing.victim import STEP
from tokenhub.clearing.recovery import recover_dead_owners


@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.slow)])
async def test_kill_under_load(books: Books, kills: int) -> None:
    limit = books.limit(kills * 4_000_000)
    chance = random.Random(kills)
    for seed in range(kills):
        arguments = [str(books.settings.home), books.settings.database_url, str(seed)]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.clearing.victim", *arguments], stdout=subprocess.PIPE
        ) as victim:
            assert victim.stdout is not None
            if seed % 3 == 1:  # while it starts and recovers the one before
                time.sleep(chance.uniform(0.6, 2.0))
            else:
                while (line := victim.stdout.readline()) != b"ready\n":
                    assert line, "the victim died by itself"
                time.sleep(chance.uniform(0.02, 0.8))
            victim.kill()
    report = recover_dead_owners(books.database, books.settings)
    assert report.owners >= 1
    assert recover_dead_owners(books.database, books.settings).owners == 0

    delivered: dict[str, int] = {}
    for line in (books.settings.home / "delivered").read_text().splitlines():
        request_id, amount = line.split()
        delivered[request_id] = max(int(amount), delivered.get(request_id, 0))
    with books.database.read("ledger") as connection:
        rows = connection.execute(text("SELECT request_id, output_tokens FROM usage_event"))
        booked = {row[0]: row[1] for row in rows}
    lost = {key: amount for key, amount in delivered.items() if booked.get(key, 0) < amount}
    assert not lost, f"{len(lost)} of {len(delivered)}"
    # A draft or capture may be written and not yet sent: never more than one step of each open stream.
    over = {
        key: amount - delivered.get(key, 0)
        for key, amount in booked.items()
        if amount > delivered.get(key, 0)
    }
    assert all(amount <= max(STEP, 300) for amount in over.values())
    assert len(over) <= 32 * kills
    bucket = books.bucket(limit)
    assert (bucket["held"], bucket["used"], bucket["overage"]) == (0, sum(booked.values()), 0)
    assert not list(books.settings.journal_dir.glob("*"))
    books.check()
