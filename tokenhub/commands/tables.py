"""Audit rows and idempotency keys: one pair in each database, so that they commit with the effect."""

from sqlalchemy import BigInteger, Column, Index, MetaData, PrimaryKeyConstraint, String, Table, Text

from tokenhub.db.engine import Name
from tokenhub.db.metadata import hub_metadata, ledger_metadata


def _audit(metadata: MetaData) -> Table:
    return Table(
        "audit",
        metadata,
        Column("id", String, primary_key=True),
        Column("at_ms", BigInteger, nullable=False),
        Column("org_id", String, nullable=False),
        Column("actor", String, nullable=False),  # user, service account, or key of neither
        Column("key_id", String, nullable=False),
        Column("app", String, nullable=False),
        Column("command", String, nullable=False),
        Column("effect", String, nullable=False),
        Column("outcome", String, nullable=False),  # success | pending | partial_failure | denied
        Column("arguments", Text, nullable=False),  # JSON, secrets left out
        Column("request_id", String, nullable=False),
        Column("hash", String),  # chain over the rows before; written from the next schema on
        Index("ix_audit_org_id_id", "org_id", "id"),
    )


def _idempotency(metadata: MetaData) -> Table:
    return Table(
        "idempotency",
        metadata,
        Column("actor", String, nullable=False),
        Column("key", String, nullable=False),
        Column("command", String, nullable=False),
        Column("body_hash", String, nullable=False),
        Column("answer", Text, nullable=False),  # JSON envelope, secrets left out
        Column("created_at_ms", BigInteger, nullable=False, index=True),
        PrimaryKeyConstraint("actor", "key"),
    )


audit: dict[Name, Table] = {"hub": _audit(hub_metadata), "ledger": _audit(ledger_metadata)}
idempotency: dict[Name, Table] = {"hub": _idempotency(hub_metadata), "ledger": _idempotency(ledger_metadata)}
