"""Requests captured together: the books and the buckets say of them what they say of each by itself."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import text

from tests.clearing.conftest import Books, a_plain_use, an_event, hold, settled
from tests.databases import migrated
from tokenhub.clearing.journal import replay
from tokenhub.config import Settings
from tokenhub.kernel.errors import Unavailable


@pytest.mark.parametrize("together", [False, True])
async def test_what_goes_beyond_the_holds_of_a_group_is_noted_once_and_whole(
    books: Books, together: bool
) -> None:
    """Two requests share what is free in the lease; what neither covers is overage, in the bucket and in the books."""
    limit = books.limit(300)
    clerk = await books.clerk()
    path = clerk.path([limit])
    held = [await hold(clerk, path, 100) for _ in range(3)]
    clerk.void(held.pop())  # 100 are free
    charges = [(one, an_event(one.request_id, 200), 200) for one in held]
    if together:
        clerk.capture_all(charges)
    else:
        for one, event, _ in charges:
            clerk.capture(one, event)
    await settled(clerk)
    bucket = books.bucket(limit)
    with books.database.read("ledger") as connection:
        noted = connection.execute(text("SELECT sum(overage_tokens) FROM usage_event")).scalar_one()
    assert (bucket["used"], bucket["overage"]) == (300, 100)
    assert noted == 100
    books.check()


@pytest.fixture
async def sqlite_books(sqlite_settings: Settings) -> AsyncIterator[Books]:
    """Its database does not grow while the limit is in force; PostgreSQL's is another process's."""
    database = migrated(sqlite_settings)
    made = Books(database, sqlite_settings)
    yield made
    await made.close()
    database.close()


@pytest.fixture
def file_limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("room", [0, 50, 150, 300, 500, 700, 850])
async def test_a_group_that_does_not_fit_the_disk_is_not_charged_at_all(
    sqlite_books: Books, file_limit: None, monkeypatch: pytest.MonkeyPatch, room: int, plain: bool
) -> None:
    """Where lines are written; what is mapped has its room before."""
    monkeypatch.setattr("tokenhub.clearing.journal.keeps_room", lambda folder: False)
    books = sqlite_books
    limit = books.limit(1_000_000)
    clerk = await books.clerk()
    path = clerk.path([limit])
    first = await hold(clerk, path, 10)
    clerk.capture(first, an_event(first.request_id, 5))
    await settled(clerk)
    journal = clerk._journal
    assert journal is not None
    free = {cell.bucket_id: cell.free for cell in path.cells}
    held = [await hold(clerk, path, 10) for _ in range(5)]
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = journal.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + (room // 4 if plain else room), hard))
    try:
        with pytest.raises(Unavailable):
            if plain:
                clerk.capture_plain([(one, a_plain_use(clerk, one, 5), 5) for one in held])
            else:
                clerk.capture_all([(one, an_event(one.request_id, 5), 5) for one in held])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert journal.path.stat().st_size == size
    assert all(one.closed for one in held)
    assert {cell.bucket_id: cell.free for cell in path.cells} == free
    found = replay(books.settings.journal_dir, clerk.owner_id)
    assert [event.request_id for event in found.events] == [first.request_id] and not found.bad_lines
    await asyncio.sleep(0.3)  # the probe
    again = await hold(clerk, path, 10)
    if plain:
        clerk.capture_plain([(again, a_plain_use(clerk, again, 5), 5)])
    else:
        clerk.capture(again, an_event(again.request_id, 5))
    await settled(clerk)
    assert books.count("usage_event") == 2
    assert len(replay(books.settings.journal_dir, clerk.owner_id).events) == 2
    books.check()
