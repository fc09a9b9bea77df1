"""Proof that the books are whole: recompute what can be recomputed, compare, name every difference."""

from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from tokenhub.ledger.tables import account, bucket, chain, entry, lease, subwindow, transfer
from tokenhub.ledger.transfers import transfer_hash

Lines = list[tuple[str, str, int]]
"""(account id, unit, amount) of one transfer, in order."""


def check_chain(connection: Connection) -> Iterator[str]:
    """Every transfer hashes to what it says, follows the one before, and its entries sum to zero per unit."""
    lines = _lines(connection)
    previous, seq = "", 0
    for row in connection.execution_options(yield_per=500).execute(select(transfer).order_by(transfer.c.seq)):
        fields = {column.name: row[index] for index, column in enumerate(transfer.columns)}
        digest = fields.pop("hash")
        seq += 1
        own = lines.pop(row.id, [])
        if row.seq != seq:
            yield f"transfer {row.id}: number {row.seq} where {seq} was expected"
            seq = row.seq
        if row.previous_hash != previous:
            yield f"transfer {row.id}: does not follow the transfer before it"
        if transfer_hash(fields, own) != digest:
            yield f"transfer {row.id}: its hash does not fit its fields and entries"
        for unit, total in _sums(own).items():
            if total:
                yield f"transfer {row.id}: entries in {unit} sum to {total}, not 0"
        previous = digest
    for orphan in lines:
        yield f"entries of {orphan}: there is no such transfer"
    head = connection.execute(select(chain).where(chain.c.name == "books")).one()
    if (head.seq, head.hash) != (seq, previous):
        yield f"chain head: says transfer {head.seq}, the last one is {seq}"


def check_accounts(connection: Connection) -> Iterator[str]:
    """Every account's balance is the sum of its entries, and all balances of a unit sum to zero."""
    sums = {
        row[0]: int(row[1])
        for row in connection.execute(
            select(entry.c.account_id, func.sum(entry.c.amount)).group_by(entry.c.account_id)
        )
    }
    units: dict[str, int] = defaultdict(int)
    for row in connection.execute(select(account).order_by(account.c.id)):
        units[row.unit] += row.balance
        if row.balance != sums.pop(row.id, 0):
            yield f"account {row.id}: balance {row.balance} is not the sum of its entries"
    for missing in sums:
        yield f"account {missing}: has entries and no row"
    for unit, total in units.items():
        if total:
            yield f"trial balance of {unit}: {total}, not 0"


def check_leases(connection: Connection) -> Iterator[str]:
    """Every bucket holds exactly what is leased, and is within its ceiling."""
    leased = {
        row[0]: int(row[1])
        for row in connection.execute(
            select(lease.c.bucket_id, func.sum(lease.c.amount)).group_by(lease.c.bucket_id)
        )
    }
    steps = {
        row[0]: (int(row[1]), int(row[2]))
        for row in connection.execute(
            select(subwindow.c.bucket_id, func.sum(subwindow.c.used), func.sum(subwindow.c.overage)).group_by(
                subwindow.c.bucket_id
            )
        )
    }
    for row in connection.execute(select(bucket).order_by(bucket.c.id)):
        if row.held != leased.pop(row.id, 0):
            yield f"bucket {row.id}: holds {row.held}, which is not the sum of its leases"
        if row.hard and row.used + row.held > row.ceiling:
            yield f"bucket {row.id}: used {row.used} + held {row.held} is over its ceiling {row.ceiling}"
        if row.step_ms and (row.used, row.overage) != steps.get(row.id, (0, 0)):
            yield f"bucket {row.id}: used {row.used} is not the sum of its sub-windows"
    for missing, amount in leased.items():
        if amount:
            yield f"lease on {missing}: there is no such bucket"


def _lines(connection: Connection) -> dict[str, Lines]:
    lines: dict[str, Lines] = defaultdict(list)
    for row in connection.execute(select(entry).order_by(entry.c.transfer_id, entry.c.seq)):
        lines[row.transfer_id].append((row.account_id, row.unit, row.amount))
    return lines


def _sums(lines: Lines) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for _, unit, amount in lines:
        sums[unit] += amount
    return sums
