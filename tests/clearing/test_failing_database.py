"""A database that fails before and after its commits, under uses of both forms: each is in the books once."""

import asyncio
import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from tests.clearing.conftest import Books, a_plain_use, an_event, hold, settled, until
from tests.clearing.test_properties import crash
from tokenhub.clearing import clerk as clerk_module
from tokenhub.clearing import journal as journal_module
from tokenhub.clearing import teller as teller_module
from tokenhub.clearing.cells import Hold, Path
from tokenhub.clearing.clerk import Clerk
from tokenhub.clearing.recovery import recover_dead_owners
from tokenhub.kernel.errors import Unavailable
from tokenhub.ledger import buckets, transfers
from tokenhub.metering.plain import PlainUse

SOON_IDLE = ((clerk_module, "TEND_S", 0.02), (clerk_module, "IDLE_MS", 50))


def gone() -> OperationalError:
    return OperationalError("COMMIT", {}, Exception("the connection is gone"))


def set_constants(patch: pytest.MonkeyPatch, *constants: tuple[Any, str, object]) -> None:
    for module, name, value in constants:
        patch.setattr(module, name, value)


class Trouble:
    """Breaks a clerk's settlements, some before their commit and some after it."""

    def __init__(self, clerk: Clerk, chance: random.Random, patch: pytest.MonkeyPatch) -> None:
        self.share = 0.0
        self._chance = chance
        self._post, self._write = transfers.post, clerk._teller._books.write
        patch.setattr(transfers, "post", self._posted)
        patch.setattr(clerk._teller._books, "write", self._written)

    def _posted(self, *args: Any, **options: Any) -> Any:
        self._maybe()
        return self._post(*args, **options)

    @contextmanager
    def _written(self) -> Iterator[Connection]:
        with self._write() as connection:
            yield connection
        self._maybe()

    def _maybe(self) -> None:
        if self._chance.random() < self.share:
            raise gone()


async def some_uses(clerk: Clerk, paths: list[Path], chance: random.Random) -> dict[str, int]:
    """A few requests end together: request id -> tokens."""
    used: dict[str, int] = {}
    charges: list[tuple[Hold, PlainUse, int]] = []
    for _ in range(chance.randrange(1, 12)):
        one = await hold(clerk, chance.choice(paths), 60)
        tokens = used[one.request_id] = 90 if chance.random() < 0.02 else chance.randrange(60)
        finish = chance.choice("abcdef")
        if chance.random() < 0.2:
            clerk.capture(one, an_event(one.request_id, tokens, finish=finish))
        else:
            use = a_plain_use(clerk, one, tokens, finish=finish, org_id=chance.choice(["org_1", "org_2"]))
            charges.append((one, use, tokens))
    clerk.capture_plain(charges)
    return used


@pytest.mark.parametrize("dies", [False, True])
async def test_each_use_is_in_the_books_once(
    books: Books, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    set_constants(
        monkeypatch,
        (clerk_module, "KINDS_MAX", 3),
        (clerk_module, "TEND_S", 0.02),
        (journal_module, "ROTATE_BYTES", 1500),
        (teller_module, "KINDS_MAX", 2),
        (teller_module, "BATCH_S", 0.002),
        (teller_module, "BUSY_BATCH_S", 0.005),
        (teller_module, "RETRY_S", 0.005),
        (teller_module, "BATCH_EVENTS", 7),
    )
    chance, clerk = random.Random(dies), await books.clerk()
    limits = [books.limit(10**9), books.limit(10**8)]
    paths = [clerk.path(limits), clerk.path(limits[1:]), clerk.path([])]
    for path in paths:
        clerk.void(await hold(clerk, path, 100_000))  # enough of each lease for all that comes
    trouble, used = Trouble(clerk, chance, monkeypatch), dict[str, int]()
    for _ in range(60):
        trouble.share = chance.choice([0, 0, 0.3, 0.6])
        used |= await some_uses(clerk, paths, chance)
        await asyncio.sleep(chance.choice([0, 0.001, 0.03]))
    if dies:
        books.clerks.clear()
        crash(clerk)
        trouble.share = 0
        recover_dead_owners(books.database, books.settings)
    else:
        trouble.share = 0
        await settled(clerk)
        await until(lambda: len(list(books.settings.journal_dir.glob("*.jsonl"))) == 1)
        assert clerk.kinds.epoch > 1
        await books.close()
    with books.database.read("ledger") as connection:
        rows = connection.execute(text("SELECT request_id, output_tokens FROM usage_event")).all()
    assert {row[0]: row[1] for row in rows} == used
    assert [books.bucket(limit)["held"] for limit in limits] == [0, 0]
    assert not list(books.settings.journal_dir.glob("*"))
    books.check()


class Doubt:
    """Makes some transactions of a clerk's thread fail, before their commit or after it, and the `next` ones after it."""

    def __init__(self, clerk: Clerk, patch: pytest.MonkeyPatch, chance: random.Random | None = None) -> None:
        self.share = 0.0
        self.next = 0
        self.hidden = 0
        chance = chance or random.Random(0)
        self._chance, self._write = chance, clerk._teller._books.write
        patch.setattr(clerk._teller._books, "write", self._written)

    @contextmanager
    def _written(self) -> Iterator[Connection]:
        fails = self._chance.random() < self.share
        hides = fails and self._chance.random() < 0.6
        with self._write() as connection:
            yield connection
            if fails and not hides:
                raise gone()
        if hides or self.next:
            self.next = max(self.next - 1, 0)
            self.hidden += 1
            raise gone()


@pytest.mark.parametrize("seed", range(3))
async def test_a_lease_whose_commit_was_not_acknowledged_is_used_or_returned(
    books: Books, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    set_constants(
        monkeypatch, *SOON_IDLE, (teller_module, "BATCH_S", 0.002), (teller_module, "RETRY_S", 0.005)
    )
    chance, clerk = random.Random(seed), await books.clerk()
    limits = [books.limit(20_000), books.limit(4_000)]
    path = clerk.path(limits)
    clerk.void(await hold(clerk, path, 10))
    doubt, used, refused = Doubt(clerk, monkeypatch, chance), 0, 0
    for _ in range(80):
        doubt.share = chance.choice([0, 0.5, 0.9])
        try:
            one = await hold(clerk, path, chance.choice([5, 300, 900]), 5)
        except Unavailable:
            refused += 1
            continue
        if chance.random() < 0.7:
            clerk.void(one)
        else:
            clerk.capture_plain([(one, a_plain_use(clerk, one, 5), 5)])
            used += 5
        await asyncio.sleep(chance.choice([0, 0.002, 0.08]))
    doubt.share = 0
    clerk.void(await hold(clerk, path, 5))
    await settled(clerk)
    await until(lambda: [books.bucket(limit)["held"] for limit in limits] == [0, 0])
    assert refused and doubt.hidden
    assert [(books.bucket(limit)["used"], books.bucket(limit)["overage"]) for limit in limits] == [
        (used, 0)
    ] * 2
    books.check()


async def test_a_doubtful_grant_is_looked_for_among_its_own_leases_alone(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner keeps a row for every window that it ever leased from: they are many, and none of them matters."""
    clerk = await books.clerk()
    first, second = books.limit(100_000), books.limit(100_000)
    clerk.void(await hold(clerk, clerk.path([first]), 10))
    path = clerk.path([second])
    clerk.void(await hold(clerk, path, 10))
    asked, leased = list[list[str]](), buckets.leased

    def noted(connection: Connection, owner_id: str, bucket_ids: Iterable[str]) -> dict[str, int]:
        asked.append(list(bucket_ids))
        return leased(connection, owner_id, bucket_ids)

    monkeypatch.setattr(buckets, "leased", noted)
    doubt = Doubt(clerk, monkeypatch)
    doubt.next = 1
    with pytest.raises(Unavailable):
        await hold(clerk, path, 30_000)
    one = await hold(clerk, path, 30_000)
    assert doubt.hidden and clerk._teller._unsure is None
    assert len(asked) > 1 and asked == [[books.bucket(second)["id"]]] * len(asked)
    clerk.void(one)
    cell = one.cells[0]
    await until(lambda: cell.free == books.bucket(second)["held"])


async def test_a_doubtful_grant_goes_back_although_nobody_comes_after_it(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_constants(monkeypatch, *SOON_IDLE)
    clerk, limit = await books.clerk(), books.limit(100_000)
    path = clerk.path([limit])
    clerk.void(await hold(clerk, path, 10))
    await until(lambda: books.bucket(limit)["held"] == 0)
    doubt = Doubt(clerk, monkeypatch)
    doubt.next = 1
    with pytest.raises(Unavailable):
        await hold(clerk, path, 10)
    assert not doubt.next
    await until(lambda: books.bucket(limit)["held"] == 0)


async def test_what_a_doubtful_settlement_could_not_take_from_a_lease_is_free_again(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_constants(monkeypatch, *SOON_IDLE)
    clerk, limit = await books.clerk(), books.limit(200)
    path = clerk.path([limit])
    one = await hold(clerk, path, 60)
    await until(lambda: books.bucket(limit)["held"] == 60)
    doubt = Doubt(clerk, monkeypatch)
    doubt.next = 1
    clerk.capture_plain([(one, a_plain_use(clerk, one, 90), 90)])
    await settled(clerk)
    assert not doubt.next and books.bucket(limit)["overage"] == 30
    clerk.void(await hold(clerk, path, 10))
    await until(lambda: books.bucket(limit)["held"] == 0)
    assert books.bucket(limit)["used"] == 60


async def test_a_grant_whose_commit_is_still_under_way_is_waited_for(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_constants(monkeypatch, *SOON_IDLE)
    clerk, limit = await books.clerk(), books.limit(100_000)
    path = clerk.path([limit])
    clerk.void(await hold(clerk, path, 10))
    await until(lambda: books.bucket(limit)["held"] == 0)
    write, slow = clerk._teller._books.write, books.database.keep("ledger")
    late: list[threading.Thread] = []

    @contextmanager
    def written() -> Iterator[Connection]:
        if late:
            with write() as connection:
                yield connection
            return
        whole = slow.write()
        yield whole.__enter__()

        def commit() -> None:
            time.sleep(0.3)
            whole.__exit__(None, None, None)
            slow.close()

        late.append(threading.Thread(target=commit))
        late[0].start()
        raise gone()

    monkeypatch.setattr(clerk._teller._books, "write", written)
    with pytest.raises(Unavailable):
        await hold(clerk, path, 10)
    late[0].join()
    await until(lambda: books.bucket(limit)["held"] == 0)
