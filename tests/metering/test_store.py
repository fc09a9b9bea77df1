"""Usage events: written in bulk, read back as they were."""

import hashlib

import msgspec
import pytest
from sqlalchemy import inspect, text

from tests.clearing.conftest import an_event
from tokenhub.db.engine import Database
from tokenhub.metering import store
from tokenhub.metering.groups import digest, groups_of
from tokenhub.metering.types import EVENT_FIELDS


@pytest.mark.parametrize("count", [1, 5, 16, 59])
@pytest.mark.parametrize("seldom", [{}, {"reasoning_tokens": 7, "overage_nano": 2}])
def test_what_is_written_is_read(database: Database, count: int, seldom: dict[str, int]) -> None:
    events = [
        an_event(
            f"req_{number:03d}",
            number,
            team_id=None if number % 2 else "team_1",
            finish="naïve 日本 \\ \"'",
            **seldom,
        )
        for number in range(count)
    ]
    with database.write("ledger") as connection:
        store.insert_events(connection, events, transfer_id="xfer_1")
    with database.read("ledger") as connection:
        read = [
            event for event, transfer_id in store.events_by_transfer(connection) if transfer_id == "xfer_1"
        ]
        assert [msgspec.structs.asdict(event) for event in read] == [
            msgspec.structs.asdict(event) for event in events
        ]
        assert digest(groups_of(read)) == digest(groups_of(events[::-1]))
        assert store.known_requests(connection, ["req_000", "req_none"]) == {"req_000"}


def test_the_table_has_the_fields_of_the_event(database: Database) -> None:
    schema = "ledger" if database.dialect == "postgresql" else None
    columns = [
        column["name"]
        for column in inspect(database.engine("ledger")).get_columns("usage_event", schema=schema)
    ]
    assert columns == [*EVENT_FIELDS, "transfer_id"]


@pytest.mark.parametrize("count", [1, 256, 257])
def test_a_digest_is_of_every_kind_and_its_lines(count: int) -> None:
    events = [an_event(f"req_{number:03d}", number, model="ab"[number % 2]) for number in range(count)]
    groups = groups_of(events[::-1])
    assert store.has_digest(events, digest(groups))
    for change in (("model", "c"), ("output_tokens", -1), ("request_id", "x"), ("team_id", "")):
        changed = [event.another() for event in events]
        setattr(changed[-1], *change)
        assert not store.has_digest(changed, digest(groups)), change
    assert not store.has_digest(events[1:], digest(groups))


@pytest.mark.parametrize("count", [1, 64, 65, 200])
def test_a_digest_of_older_versions_is_of_all_rows_as_one_json_array(count: int) -> None:
    events = [an_event(f"req_{number:03d}", number) for number in range(count)]
    rows: list[list[object]] = []
    for event in events:
        row: list[object] = [
            event.request_id,
            event.at_ms,
            "org_1",
            None,
            None,
            None,
            "key_1",
            "",
            "tiny",
            "",
        ]
        row += ["boot_1", "chat.completions", "default", ""]
        row += [0, 0, 0, 0, event.output_tokens, 0, 0, 0, 0, 0, event.output_tokens, 0, event.amount_nano]
        row += ["USD", "engine", "stop", 200, 0, 0, 0, "", 0, 0]
        rows.append(row)
    assert store.has_digest(events[::-1], hashlib.sha256(msgspec.json.encode(rows)).hexdigest())


def test_a_kind_is_kept_once(database: Database) -> None:
    for number in range(4):
        with database.write("ledger") as connection:
            events = [an_event(f"req_{number}_{each}", 1, model="ab"[each % 2]) for each in range(10)]
            store.insert_events(connection, events, transfer_id=f"xfer_{number}")
    with database.read("ledger") as connection:
        assert connection.execute(text("SELECT count(*) FROM usage_kind")).scalar_one() == 2
        assert (
            connection.execute(text("SELECT count(*) FROM usage_event WHERE model = 'a'")).scalar_one() == 20
        )


def test_sums_of_a_group_are_those_of_its_events() -> None:
    events = [
        an_event(
            f"req_{number}", number, at_ms=990 + number, input_tokens=3, undelivered_tokens=1, overage_nano=2
        )
        for number in range(20)
    ]
    [group] = groups_of(events)
    assert group.totals() == (
        sum(event.total_tokens for event in events),
        20,
        sum(e.amount_nano for e in events),
    )
    assert (group.undelivered, group.overage_nano, group.overage_tokens) == (20, 40, 0)
    assert group.totals_by_step(1000) == {0: (45 + 30, 10, 45 * 7), 1000: (145 + 30, 10, 145 * 7)}
    assert group.totals_by_step(10_000) == {0: group.totals()}
