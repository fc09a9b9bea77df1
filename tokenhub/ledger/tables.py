"""Tables of the books. Amounts are integers: tokens, requests, or nano-units of money."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, String, Table, Text

from tokenhub.db.metadata import ledger_metadata

account = Table(
    "account",
    ledger_metadata,
    Column("id", String, primary_key=True),  # <kind>/<unit>/<holder>
    Column("kind", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("holder", String, nullable=False),
    Column("balance", BigInteger, nullable=False),  # roll-up of entries; `verify` recomputes it
    Column("opened_at_ms", BigInteger, nullable=False),
)

transfer = Table(
    "transfer",
    ledger_metadata,
    Column("id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),  # place in the hash chain, from 1, no gaps
    Column("kind", String, nullable=False),  # settle | apply | correct
    Column("at_ms", BigInteger, nullable=False),
    Column("idempotency_key", String, nullable=False, unique=True),
    Column("request_id", String, nullable=False),  # "" for a batch
    Column("reverses", String, nullable=False),  # transfer id that this one corrects, or ""
    Column("actor", String, nullable=False),
    Column("memo", Text, nullable=False),
    Column("events_sha256", String, nullable=False),  # digest of the usage events it settles, or ""
    Column("previous_hash", String, nullable=False),
    Column("hash", String, nullable=False),
)

entry = Table(
    "entry",
    ledger_metadata,
    Column("transfer_id", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("account_id", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Index("ix_entry_account_id", "account_id"),
)

chain = Table(
    "chain",
    ledger_metadata,
    Column("name", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String, nullable=False),
)

bucket = Table(
    "bucket",
    ledger_metadata,
    Column("id", String, primary_key=True),  # <limit_id>:<window_start_ms>, rolling: <limit_id>:rolling
    Column("limit_id", String, nullable=False),
    Column("unit", BigInteger, nullable=False),
    Column(
        "window_start_ms", BigInteger, nullable=False
    ),  # rolling: everything before it has left the window
    Column("window_end_ms", BigInteger, nullable=False),
    Column("length_ms", BigInteger, nullable=False),  # rolling only, else 0
    Column("step_ms", BigInteger, nullable=False),  # rolling only, else 0
    Column("cap", BigInteger, nullable=False),
    Column("ceiling", BigInteger, nullable=False),  # max(cap, used + held when the cap was lowered)
    Column("hard", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("overage", BigInteger, nullable=False),
    CheckConstraint("used >= 0 AND held >= 0 AND (hard = 0 OR used + held <= ceiling)", name="cap"),
    Index("ix_bucket_limit_id", "limit_id"),
)

subwindow = Table(
    "subwindow",
    ledger_metadata,
    Column("bucket_id", String, primary_key=True),
    Column("start_ms", BigInteger, primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("overage", BigInteger, nullable=False),
)

lease = Table(
    "lease",
    ledger_metadata,
    Column("owner_id", String, primary_key=True),
    Column("bucket_id", String, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column(
        "waiting", BigInteger, nullable=False, server_default="0"
    ),  # held by answers that wait for more of it
    CheckConstraint("amount >= 0", name="amount"),
    Index("ix_lease_bucket_id", "bucket_id"),
)

owner = Table(
    "owner",
    ledger_metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("journal", String, nullable=False),  # <host>:<folder>, where its journal lies
    Column("pid", BigInteger, nullable=False),
    Column("opened_at_ms", BigInteger, nullable=False),
    Column("closed_at_ms", BigInteger, nullable=True),
    Column("batch", BigInteger, nullable=False),  # serial of its last committed settlement
)

recall = Table(
    "recall",
    ledger_metadata,
    Column("bucket_id", String, primary_key=True),
    Column("owner_id", String, primary_key=True),  # who wants it
    Column("at_ms", BigInteger, nullable=False),
)
