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
from sqlalchemy import Connection

from tokenhub.db.driver import Cursor, placeholders, sql
from tokenhub.kernel.ids import new_id

TOKENS = "TOK"
"""The unit of token entries; money entries carry the currency's code."""

_FIELDS = (
    "id", "seq", "kind", "at_ms", "idempotency_key", "request_id", "reverses", "actor", "memo", "events_sha256",
    "previous_hash",
)  # fmt: skip
_POST = sql(
    "INSERT INTO account (id, kind, unit, holder, balance, opened_at_ms) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET balance = account.balance + excluded.balance"
)
_HEAD = sql("SELECT seq, hash FROM chain WHERE name = 'books'", lock="FOR UPDATE")
_MOVE_HEAD = sql("UPDATE chain SET seq = ?, hash = ? WHERE name = 'books'")
_TRANSFER = sql(
    f"INSERT INTO transfer ({', '.join(_FIELDS)}, hash) VALUES {placeholders(len(_FIELDS) + 1, 1)}"
)
_ENTRY = sql("INSERT INTO entry (transfer_id, seq, account_id, unit, amount) VALUES (?, ?, ?, ?, ?)")


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
    cursor = Cursor(connection)
    cursor.many(
        _POST,
        [
            (account.id, account.kind, account.unit, account.holder, amount, now_ms)
            for account, amount in entries
        ],
    )
    [(last, last_hash)] = cursor.all(_HEAD)
    values = (
        posted_id,
        last + 1,
        item.kind,
        now_ms,
        item.idempotency_key,
        item.request_id,
        item.reverses,
        item.actor,
        item.memo,
        item.events_sha256,
        last_hash,
    )
    lines = [(account.id, account.unit, amount) for account, amount in entries]
    digest = transfer_hash(dict(zip(_FIELDS, values, strict=True)), lines)
    cursor.run(_TRANSFER, (*values, digest))
    cursor.many(_ENTRY, [(posted_id, seq, *line) for seq, line in enumerate(lines)])
    cursor.run(_MOVE_HEAD, (last + 1, digest))
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
