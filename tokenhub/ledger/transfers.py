"""Transfers: what happened, as double entry in a hash chain.

The entries of a transfer sum to zero per unit. A transfer's hash covers its fields, its entries, the digest of
the usage events it settles and the hash before it, so that no row of the past changes unseen.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, insert, select, text

from tokenhub.kernel.ids import new_id
from tokenhub.ledger.tables import chain, entry, transfer

TOKENS = "TOK"
"""The unit of token entries; money entries carry the currency's code."""

_POST = text(
    "INSERT INTO account (id, kind, unit, holder, balance, opened_at_ms)"
    " VALUES (:id, :kind, :unit, :holder, :amount, :now_ms)"
    " ON CONFLICT (id) DO UPDATE SET balance = account.balance + excluded.balance"
)

_HEAD = select(chain).where(chain.c.name == "books").with_for_update()
_MOVE_HEAD = text("UPDATE chain SET seq = :seq, hash = :hash WHERE name = 'books'")
_TRANSFER = insert(transfer)
_ENTRY = insert(entry)


class Account(NamedTuple):
    """An account by its meaning: what it holds, in which unit, of whom."""

    kind: str
    """created, delivered, undelivered, overage, applied, discarded; receivable, revenue."""
    unit: str
    holder: str

    @property
    def id(self) -> str:
        """`<kind>/<unit>/<holder>`."""
        return f"{self.kind}/{self.unit}/{self.holder}"


class Entry(NamedTuple):
    """One side of a transfer; positive is debit."""

    account: Account
    amount: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer before it is posted."""

    kind: str
    """settle, apply or correct."""
    idempotency_key: str
    entries: Sequence[Entry]
    request_id: str = ""
    reverses: str = ""
    actor: str = ""
    memo: str = ""
    events_sha256: str = ""


def post(connection: Connection, item: Transfer, *, now_ms: int, transfer_id: str | None = None) -> str:
    """Append a transfer to the books; returns its id. Locks the chain head until the transaction ends.

    Raises: AssertionError if the entries of a unit do not sum to zero; IntegrityError if the idempotency key
    was posted before.
    """
    assert balanced(item.entries), item
    entries = sorted(item.entries)
    posted_id = transfer_id or new_id("xfer")
    if entries:
        connection.execute(
            _POST,
            [
                {
                    "id": account.id,
                    "kind": account.kind,
                    "unit": account.unit,
                    "holder": account.holder,
                    "amount": amount,
                    "now_ms": now_ms,
                }
                for account, amount in entries
            ],
        )
    head = connection.execute(_HEAD).one()
    fields = {
        "id": posted_id,
        "seq": head.seq + 1,
        "kind": item.kind,
        "at_ms": now_ms,
        "idempotency_key": item.idempotency_key,
        "request_id": item.request_id,
        "reverses": item.reverses,
        "actor": item.actor,
        "memo": item.memo,
        "events_sha256": item.events_sha256,
        "previous_hash": head.hash,
    }
    lines = [(account.id, account.unit, amount) for account, amount in entries]
    digest = transfer_hash(fields, lines)
    connection.execute(_TRANSFER, {**fields, "hash": digest})
    if lines:
        connection.execute(
            _ENTRY,
            [
                {
                    "transfer_id": posted_id,
                    "seq": seq,
                    "account_id": account_id,
                    "unit": unit,
                    "amount": amount,
                }
                for seq, (account_id, unit, amount) in enumerate(lines)
            ],
        )
    connection.execute(_MOVE_HEAD, {"seq": head.seq + 1, "hash": digest})
    return posted_id


def balanced(entries: Sequence[Entry]) -> bool:
    """True if the entries sum to zero per unit."""
    sums: dict[str, int] = defaultdict(int)
    for account, amount in entries:
        sums[account.unit] += amount
    return not any(sums.values())


def transfer_hash(fields: dict[str, str | int], lines: Sequence[tuple[str, str, int]]) -> str:
    """sha256 over the previous hash, every field and every entry (account, unit, amount), in order."""
    values = [(str(name), fields[name]) for name in sorted(fields)]
    return hashlib.sha256(msgspec.json.encode([values, lines])).hexdigest()
