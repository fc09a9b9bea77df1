"""`hub ledger verify`: every transfer, account, bucket and lease recomputed from what lies beneath it."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby

from sqlalchemy import Connection, select

from tokenhub.clearing.entries import entries_of
from tokenhub.clearing.settle import PathBucket, load_paths
from tokenhub.clearing.tables import correction
from tokenhub.ledger.store import RollingBucket, bucket_totals, settled_transfers
from tokenhub.ledger.types import Unit
from tokenhub.ledger.verify import check_accounts, check_chain, check_leases
from tokenhub.metering import store as metering
from tokenhub.metering.groups import groups_of
from tokenhub.metering.summary import path_sums


def verify(connection: Connection) -> list[str]:
    """Every difference found, one sentence each; empty = the books are whole. Reads one snapshot."""
    return [
        *check_chain(connection),
        *check_accounts(connection),
        *check_leases(connection),
        *_check_events(connection),
        *_check_buckets(connection),
    ]


def _check_events(connection: Connection) -> Iterator[str]:
    """The usage events of each transfer are unchanged and make exactly its entries."""
    expected = settled_transfers(connection)
    rows = metering.events_by_transfer(connection)
    for transfer_id, group in groupby(rows, key=lambda row: row[1]):
        events = [event for event, _ in group]
        digest, lines = expected.pop(transfer_id, ("", []))
        if not metering.has_digest(events, digest):
            yield f"transfer {transfer_id}: a usage event it settled was changed, added or removed"
        made = [(item.account.id, item.account.unit, item.amount) for item in entries_of(groups_of(events))]
        if made != lines:
            yield f"transfer {transfer_id}: its entries are not those of its usage events"
    for transfer_id in expected:
        yield f"transfer {transfer_id}: its usage events are gone"


def _check_buckets(connection: Connection) -> Iterator[str]:
    """Every bucket has used what the requests on its paths used, corrections taken out."""
    corrected = list(connection.execute(select(correction.c.request_id)).scalars())
    totals, rolling = bucket_totals(connection)
    expected: dict[str, int] = defaultdict(int)
    sums = path_sums(connection, without=corrected)
    paths = load_paths(connection, set(sums))
    for path_id, amounts in sums.items():
        if path_id not in paths:
            yield f"path {path_id}: there is no such path"
            continue
        for bucket_id, unit, step_ms in paths[path_id]:
            if not step_ms:
                expected[bucket_id] += _amount(unit, amounts)
    for bucket_id, item in rolling.items():
        expected[bucket_id] = _rolling_total(connection, item, paths, corrected)
    for bucket_id, total in totals.items():
        if total != expected.get(bucket_id, 0):
            yield f"bucket {bucket_id}: counts {total}, its requests used {expected.get(bucket_id, 0)}"


def _rolling_total(
    connection: Connection, item: RollingBucket, paths: dict[str, list[PathBucket]], corrected: list[str]
) -> int:
    on_path = [path_id for path_id, path in paths.items() if any(line[0] == item.bucket_id for line in path)]
    if not on_path:
        return 0
    sums = path_sums(connection, without=corrected, path_ids=on_path, since_ms=item.since_ms)
    return sum(_amount(item.unit, amounts) for amounts in sums.values())


def _amount(unit: int, amounts: tuple[int, int, int]) -> int:
    return 0 if unit == Unit.CONCURRENCY else amounts[unit]
