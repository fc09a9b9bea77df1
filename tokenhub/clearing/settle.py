"""Settlement: captured requests become rows, entries and used amounts, a batch in one transaction."""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, select, text

from tokenhub.clearing.entries import entries_of
from tokenhub.clearing.tables import charge_path
from tokenhub.db.driver import Cursor
from tokenhub.kernel.ids import new_id
from tokenhub.ledger import buckets, transfers
from tokenhub.ledger.buckets import BucketState, Charge
from tokenhub.ledger.types import BucketSpec, Unit
from tokenhub.metering import store as metering
from tokenhub.metering.groups import Group, digest, groups_of_uses
from tokenhub.metering.plain import Kinds
from tokenhub.metering.types import Kind, UsageEvent
from tokenhub.metering.uses import Uses

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
    uses: Uses,
    *,
    kinds: Kinds,
    paths: Mapping[str, Sequence[PathBucket]],
    returns: Mapping[str, int],
    now_ms: int,
    again: bool,
    kind_ids: dict[Kind, int] | None = None,
) -> list[BucketState]:
    """Post a batch of uses and give back `returns` (bucket id -> amount); returns the buckets after it.

    `again` says that some of them may be in the books already (a retry, a recovery): those are left out.
    kinds: of the plain uses.
    kind_ids: what the caller knows of kinds in the books; it learns new ones, to be forgotten if this is not committed.
    Lock order: buckets by id, kinds by hash, accounts by id, the chain head.
    """
    if again:
        events = {event.request_id: event for event in uses.as_events(kinds)}
        known = metering.known_requests(connection, events)
        uses = Uses(event for request_id, event in events.items() if request_id not in known)
    groups = groups_of_uses(uses, kinds)
    states = buckets.charge(connection, owner_id, charges_of(groups, paths, returns), now_ms=now_ms)
    if groups:
        transfer_id = new_id("xfer")
        metering.insert_groups(
            Cursor(connection),
            groups,
            transfer_id=transfer_id,
            kind_ids={} if kind_ids is None else kind_ids,
        )
        transfers.post(
            connection,
            transfers.Transfer(
                kind="settle",
                idempotency_key=transfer_id,
                entries=entries_of(groups),
                events_sha256=digest(groups),
            ),
            now_ms=now_ms,
            transfer_id=transfer_id,
        )
    return states


def charges_of(
    groups: Sequence[Group], paths: Mapping[str, Sequence[PathBucket]], returns: Mapping[str, int]
) -> dict[str, Charge]:
    """Sum what the requests charge to each bucket."""
    charges: dict[str, Charge] = {
        bucket_id: Charge(returned=amount) for bucket_id, amount in returns.items() if amount
    }
    for group in groups:
        totals = (*group.totals(), 0)
        for bucket_id, unit, step_ms in paths[group.path_id]:
            charge = charges.get(bucket_id)
            if charge is None:
                charge = charges[bucket_id] = Charge()
            charge.used += totals[unit]
            if step_ms:
                for start, part in group.totals_by_step(step_ms).items():
                    step = charge.steps.setdefault(start, [0, 0])
                    step[0] += (*part, 0)[unit]
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
