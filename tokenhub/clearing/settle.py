"""Settlement: captured requests become rows, entries and used amounts, a batch in one transaction."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, select, text

from tokenhub.clearing.entries import entries_of
from tokenhub.clearing.tables import charge_path
from tokenhub.kernel.ids import new_id
from tokenhub.ledger import buckets, transfers
from tokenhub.ledger.buckets import BucketState, Charge
from tokenhub.ledger.types import BucketSpec, Unit
from tokenhub.metering import store as metering
from tokenhub.metering.types import UsageEvent

PathBucket = tuple[str, int, int]
"""(bucket id, unit, length of a sub-window in ms or 0)."""

_SAVE_PATH = text("INSERT INTO charge_path (id, buckets) VALUES (:id, :buckets) ON CONFLICT (id) DO NOTHING")
_decode_path = msgspec.json.Decoder(list[PathBucket]).decode


def save_path(connection: Connection, path_id: str, specs: Sequence[BucketSpec]) -> list[PathBucket]:
    """Write down which buckets a path charges, before its first use."""
    path: list[PathBucket] = [(spec.bucket_id, int(spec.unit), spec.step_ms) for spec in specs]
    connection.execute(_SAVE_PATH, {"id": path_id, "buckets": msgspec.json.encode(path).decode()})
    return path


def load_paths(connection: Connection, path_ids: set[str]) -> dict[str, list[PathBucket]]:
    """The buckets of each path."""
    ids = sorted(path_ids)
    paths: dict[str, list[PathBucket]] = {"": []}
    for start in range(0, len(ids), 500):
        query = select(charge_path).where(charge_path.c.id.in_(ids[start : start + 500]))
        paths.update({row.id: _decode_path(row.buckets) for row in connection.execute(query)})
    return paths


def settle(
    connection: Connection,
    owner_id: str,
    events: Sequence[UsageEvent],
    *,
    paths: Mapping[str, Sequence[PathBucket]],
    returns: Mapping[str, int],
    now_ms: int,
    again: bool,
) -> list[BucketState]:
    """Post a batch of events and give back `returns` (bucket id -> amount); returns the buckets after it.

    `again` says that some of the events may be in the books already (a retry, a recovery): those are left out.
    Lock order: buckets by id, accounts by id, the chain head.
    """
    if again:
        known = metering.known_requests(connection, {event.request_id for event in events})
        events = list({event.request_id: event for event in events if event.request_id not in known}.values())
    states = buckets.charge(connection, owner_id, charges_of(events, paths, returns), now_ms=now_ms)
    if events:
        transfer_id = new_id("xfer")
        metering.insert_events(connection, events, transfer_id=transfer_id)
        transfers.post(
            connection,
            transfers.Transfer(
                kind="settle",
                idempotency_key=transfer_id,
                entries=entries_of(events),
                events_sha256=metering.digest(events),
            ),
            now_ms=now_ms,
            transfer_id=transfer_id,
        )
    return states


def charges_of(
    events: Sequence[UsageEvent], paths: Mapping[str, Sequence[PathBucket]], returns: Mapping[str, int]
) -> dict[str, Charge]:
    """Sum what the events charge to each bucket."""
    totals: dict[tuple[str, int], list[int]] = {}
    for event in events:
        key = (event.path_id, event.at_ms)
        total = totals.get(key)
        if total is None:
            totals[key] = [event.total_tokens, 1, event.amount_nano, 0]
        else:
            total[0] += event.total_tokens
            total[1] += 1
            total[2] += event.amount_nano
    charges: dict[str, Charge] = {
        bucket_id: Charge(returned=amount) for bucket_id, amount in returns.items() if amount
    }
    for (path_id, at_ms), total in totals.items():
        for bucket_id, unit, step_ms in paths[path_id]:
            charge = charges.get(bucket_id)
            if charge is None:
                charge = charges[bucket_id] = Charge()
            charge.used += total[unit]
            if step_ms:
                step = charge.steps.setdefault(at_ms // step_ms * step_ms, [0, 0])
                step[0] += total[unit]
    return charges


def amount_of(event: UsageEvent, unit: int) -> int:
    """What one request uses of a unit."""
    match unit:
        case Unit.TOKENS:
            return event.total_tokens
        case Unit.REQUESTS:
            return 1
        case Unit.MONEY:
            return event.amount_nano
        case _:
            return 0
