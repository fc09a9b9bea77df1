"""Usage events: written in bulk, read back as they were."""

import hashlib

import msgspec
import pytest
from sqlalchemy import inspect

from tests.clearing.conftest import an_event
from tokenhub.db.engine import Database
from tokenhub.metering import store
from tokenhub.metering.types import EVENT_FIELDS


@pytest.mark.parametrize("count", [1, 5, 16, 59])
def test_what_is_written_is_read(database: Database, count: int) -> None:
    events = [
        an_event(
            f"req_{number:03d}", number, team_id=None if number % 2 else "team_1", finish="naïve 日本 \\ \"'"
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
        assert store.digest(read) == store.digest(events[::-1])
        assert store.known_requests(connection, ["req_000", "req_none"]) == {"req_000"}


def test_the_table_has_the_fields_of_the_event(database: Database) -> None:
    schema = "ledger" if database.dialect == "postgresql" else None
    columns = [
        column["name"]
        for column in inspect(database.engine("ledger")).get_columns("usage_event", schema=schema)
    ]
    assert columns == [*EVENT_FIELDS, "transfer_id"]


@pytest.mark.parametrize("count", [1, 64, 65, 200])
def test_a_digest_is_of_all_rows_as_one_json_array(count: int) -> None:
    events = [an_event(f"req_{number:03d}", number) for number in range(count)]
    rows = [list(msgspec.structs.astuple(event)) for event in events]
    assert store.digest(events) == hashlib.sha256(msgspec.json.encode(rows)).hexdigest()
