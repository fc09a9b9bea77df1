"""The gateway's one table, in the ledger database: answers kept for idempotency keys."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table

from tokenhub.db.metadata import ledger_metadata

kept_answer = Table(
    "kept_answer",
    ledger_metadata,
    Column("key_id", String, primary_key=True),
    Column("idempotency_key", String, primary_key=True),
    Column("body_hash", String, nullable=False),
    Column("state", String, nullable=False),  # running | kept | too_large
    Column("owner", String, nullable=False),
    Column("request_id", String, nullable=False),
    Column("content_type", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("alive_at_ms", BigInteger, nullable=False),
    Index("ix_kept_answer_alive_at_ms", "alive_at_ms"),
)
