"""Plain uses: the books, the journal and the buckets say of them what they say of events."""

from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from tests.clearing.conftest import Books, a_plain_use, an_event, hold, settled
from tokenhub.clearing import clerk as clerk_module
from tokenhub.clearing.journal import Journal, replay
from tokenhub.kernel.errors import Unavailable
from tokenhub.metering.groups import Group, digest, groups_of, groups_of_uses
from tokenhub.metering.plain import Kinds, PlainUse
from tokenhub.metering.types import UsageEvent
from tokenhub.metering.uses import Uses, lines_of


def some_uses(kinds: Kinds, count: int) -> list[PlainUse]:
    """Of three kinds, in no order."""
    numbers = [kinds.number(an_event("", 0, model=model)) for model in "abc"]
    ids = [f"req_{(number * 7) % count:04d}" for number in range(count)]
    return [
        (numbers[at % 3], name, 1000 + at, at % 5, at % 3, at, at * 11, at % 90)
        for at, name in enumerate(ids)
    ]


@pytest.mark.parametrize("count", [1, 2, 50, 151])
@pytest.mark.parametrize("mixed", [False, True])
def test_groups_of_plain_uses_are_those_of_their_events(count: int, mixed: bool) -> None:
    kinds = Kinds()
    plain = some_uses(kinds, count)
    events = [kinds.event(use) for use in plain]
    uses = Uses(events[::4] if mixed else ())
    uses.add(lines_of([use for at, use in enumerate(plain) if not (mixed and at % 4 == 0)]))
    found = sorted(groups_of_uses(uses, kinds), key=lambda group: group.model)
    expected = sorted(groups_of(events), key=lambda group: group.model)
    for one, other in zip(found, expected, strict=True):
        names = Group.__slots__
        assert {name: getattr(one, name) for name in names} == {name: getattr(other, name) for name in names}
        assert (one.columns(), one.span_ms()) == (other.columns(), other.span_ms())
        assert [*one.texts()] == [*other.texts()]
        assert one.totals_by_step(7) == other.totals_by_step(7)
    assert digest(found) == digest(expected)


def test_an_event_of_a_plain_use_has_all_its_words() -> None:
    kinds = Kinds()
    example = an_event("", 0, team_id=None, user_id="user_1", finish="le\0ngth", status=200, path_id="path_1")
    event = kinds.event((kinds.number(example), "req_1", 1000, 1, 2, 3, 4, 5))
    expected = UsageEvent(
        **{
            **msgspec.structs.asdict(example),
            "finish": "le\ufffdngth",
            **{
                "request_id": "req_1",
                "at_ms": 1000,
                "input_tokens": 1,
                "cache_read_tokens": 2,
                "output_tokens": 3,
            },
            **{"created_tokens": 3, "amount_nano": 4, "latency_ms": 5, "ttft_ms": 5},
        }
    )
    assert event == expected


def test_a_forgotten_number_never_stands_for_another_kind() -> None:
    kinds, told = Kinds(), list[int]()
    kinds.before_forgetting.append(lambda: told.append(len(kinds)))
    first = kinds.number(an_event("", 0, model="a"))
    assert kinds.number(an_event("", 0, model="a")) == first
    epoch = kinds.epoch
    kinds.forget()
    assert told == [1] and kinds.epoch != epoch
    assert kinds.number(an_event("", 0, model="b")) != first


def test_the_journal_reads_plain_uses_with_the_kinds_of_their_file(tmp_path: Path) -> None:
    kinds = Kinds()
    uses = some_uses(kinds, 9)
    journal = Journal(tmp_path, "owner_1", fsync=False)
    journal.capture_plain(uses[:4], kinds)
    journal.capture_plain(uses[4:6], kinds)
    finished = journal.rotate([])
    journal.capture_plain(uses[6:], kinds)
    found = replay(tmp_path, "owner_1")
    assert found.bad_lines == 0
    assert found.events == [kinds.event(use) for use in uses]
    finished.unlink()
    assert replay(tmp_path, "owner_1").events == [kinds.event(use) for use in uses[6:]]
    with journal.path.open("ab") as file:
        file.write(b'[99,"req_x",1,2,3,4,5,6]\n[1,"req_y",1')  # an unknown kind, a torn line
    assert replay(tmp_path, "owner_1").bad_lines == 2
    journal.close(delete=True)


def test_a_kind_whose_line_was_not_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_lines: bytes) -> None:
        raise Unavailable("the disk is full")

    kinds = Kinds()
    uses = some_uses(kinds, 3)
    journal = Journal(tmp_path, "owner_1", fsync=False)
    with monkeypatch.context() as full, pytest.raises(Unavailable):
        full.setattr(journal, "append", refuse)
        journal.capture_plain(uses, kinds)
    journal.capture_plain(uses, kinds)
    found = replay(tmp_path, "owner_1")
    assert (found.events, found.bad_lines) == ([kinds.event(use) for use in uses], 0)
    journal.close(delete=True)


async def test_plain_uses_are_charged_and_booked(books: Books) -> None:
    limits = [books.limit(1000), books.limit(10_000)]
    clerk = await books.clerk()
    paths = [clerk.path(limits), clerk.path(limits[1:])]
    held = [await hold(clerk, paths[number % 2], 60) for number in range(6)]
    charges = [(one, a_plain_use(clerk, one, 10 + at), 10 + at) for at, one in enumerate(held)]
    event = await hold(clerk, paths[0], 60)
    clerk.capture(event, an_event(event.request_id, 7))  # of the same kind, in the same batch
    clerk.capture_plain(charges)
    await settled(clerk)
    assert books.bucket(limits[0])["used"] == 10 + 12 + 14 + 7
    assert books.bucket(limits[1])["used"] == sum(range(10, 16)) + 7
    assert books.count("usage_event") == 7
    books.check()
    await books.close()
    assert (books.bucket(limits[0])["held"], books.bucket(limits[1])["held"]) == (0, 0)


async def test_what_goes_beyond_its_hold_is_noted(books: Books) -> None:
    limit = books.limit(300)
    clerk = await books.clerk()
    path = clerk.path([limit])
    held = [await hold(clerk, path, 100) for _ in range(3)]
    clerk.void(held.pop())
    clerk.capture_plain([(one, a_plain_use(clerk, one, 200), 200) for one in held])
    await settled(clerk)
    bucket = books.bucket(limit)
    with books.database.read("ledger") as connection:
        noted = connection.execute(text("SELECT sum(overage_tokens) FROM usage_event")).scalar_one()
    assert (bucket["used"], bucket["overage"], noted) == (300, 100, 100)
    books.check()


async def test_kinds_are_forgotten_though_there_is_always_something_to_settle(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clerk_module, "KINDS_MAX", 2)
    clerk = await books.clerk()
    path = clerk.path([books.limit(1000)])

    async def use(*reasons: str) -> None:
        for finish in reasons:
            one = await hold(clerk, path, 10)
            clerk.capture_plain([(one, a_plain_use(clerk, one, 5, finish=finish), 5)])

    await use("a")
    await settled(clerk)
    with monkeypatch.context() as busy:
        busy.setattr(clerk._teller, "_settle_due", lambda: None)
        await use("b", "c", "d")
        clerk._tend()
        assert (len(clerk.kinds), clerk.stats().backlog) == (0, 3)
        await use("b", "e", "f")
        clerk._tend()
        assert (len(clerk.kinds), clerk.stats().backlog) == (
            3,
            6,
        )  # what b, c and d say is still to be settled
    await settled(clerk)
    clerk._tend()
    assert len(clerk.kinds) == 0
    await use("g")
    await settled(clerk)
    with books.database.read("ledger") as connection:
        found = connection.execute(text("SELECT finish FROM usage_event")).scalars()
        assert sorted(found) == ["a", "b", "b", "c", "d", "e", "f", "g"]
    books.check()


async def test_kinds_are_forgotten_when_nothing_is_to_be_settled(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clerk_module, "KINDS_MAX", 1)
    clerk = await books.clerk()
    path = clerk.path([books.limit(1000)])
    for finish in ("a", "b", "c"):
        one = await hold(clerk, path, 10)
        clerk.capture_plain([(one, a_plain_use(clerk, one, 5, finish=finish), 5)])
    await settled(clerk)
    clerk._tend()
    assert len(clerk.kinds) == 0
    one = await hold(clerk, path, 10)
    clerk.capture_plain([(one, a_plain_use(clerk, one, 5, finish="a"), 5)])
    await settled(clerk)
    assert books.count("usage_event") == 4
    books.check()
