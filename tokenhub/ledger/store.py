"""Reads of the books that other packages need."""

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from tokenhub.ledger.tables import account, bucket, chain, entry, transfer


@dataclass(frozen=True, slots=True)
class RollingBucket:
    """A rolling window: it counts what was used since `since_ms`."""

    bucket_id: str
    unit: int
    since_ms: int


@dataclass(frozen=True, slots=True)
class PostedTransfer:
    """A transfer as it stands in the books; entries are (account id, unit, amount)."""

    id: str
    seq: int
    kind: str
    at_ms: int
    actor: str
    memo: str
    reverses: str
    hash: str
    entries: tuple[tuple[str, str, int], ...]


def get_transfer(connection: Connection, transfer_id: str) -> PostedTransfer | None:
    """One transfer with its entries."""
    row = connection.execute(select(transfer).where(transfer.c.id == transfer_id)).first()
    if row is None:
        return None
    lines = connection.execute(
        select(entry.c.account_id, entry.c.unit, entry.c.amount)
        .where(entry.c.transfer_id == transfer_id)
        .order_by(entry.c.seq)
    )
    return PostedTransfer(
        row.id,
        row.seq,
        row.kind,
        row.at_ms,
        row.actor,
        row.memo,
        row.reverses,
        row.hash,
        tuple((line.account_id, line.unit, line.amount) for line in lines),
    )


def settled_transfers(connection: Connection) -> dict[str, tuple[str, list[tuple[str, str, int]]]]:
    """Transfers that settle usage: id -> (digest of the usage events, entries in order)."""
    lines: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for row in connection.execute(select(entry).order_by(entry.c.transfer_id, entry.c.seq)):
        lines[row.transfer_id].append((row.account_id, row.unit, row.amount))
    rows = connection.execute(
        select(transfer.c.id, transfer.c.events_sha256).where(transfer.c.kind == "settle")
    )
    return {row.id: (row.events_sha256, lines.get(row.id, [])) for row in rows}


def bucket_totals(connection: Connection) -> tuple[dict[str, int], dict[str, RollingBucket]]:
    """(bucket id -> used + overage, the rolling ones among them)."""
    totals: dict[str, int] = {}
    rolling: dict[str, RollingBucket] = {}
    for row in connection.execute(select(bucket).order_by(bucket.c.id)):
        totals[row.id] = row.used + row.overage
        if row.step_ms:
            rolling[row.id] = RollingBucket(row.id, row.unit, row.window_start_ms)
    return totals, rolling


def chain_length(connection: Connection) -> int:
    """How many transfers there are."""
    return int(connection.execute(select(chain.c.seq).where(chain.c.name == "books")).scalar() or 0)


def balance(connection: Connection, account_id: str) -> int:
    """Balance of an account, 0 if it was never used."""
    return int(connection.execute(select(account.c.balance).where(account.c.id == account_id)).scalar() or 0)


def balances(connection: Connection) -> list[tuple[str, int]]:
    """(kind/unit, sum of balances) of the whole books: the trial balance."""
    query = (
        select(account.c.kind, account.c.unit, func.sum(account.c.balance))
        .group_by(account.c.kind, account.c.unit)
        .order_by(account.c.unit, account.c.kind)
    )
    return [(f"{row[0]}/{row[1]}", int(row[2])) for row in connection.execute(query)]
