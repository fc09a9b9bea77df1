"""Tables of clearing."""

from sqlalchemy import BigInteger, Column, String, Table, Text

from tokenhub.db.metadata import ledger_metadata

charge_path = Table(
    "charge_path",
    ledger_metadata,
    Column("id", String, primary_key=True),
    Column("buckets", Text, nullable=False),  # JSON: [[bucket_id, unit, step_ms], ...]
)

applied = Table(
    "applied",
    ledger_metadata,
    Column("request_id", String, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("engine_boot", String, nullable=False),
    Column("applied_tokens", BigInteger, nullable=False),
    Column("discarded_tokens", BigInteger, nullable=False),
    Column("transfer_id", String, nullable=False),
)

correction = Table(
    "correction",
    ledger_metadata,
    Column("request_id", String, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("transfer_id", String, nullable=False),
)
