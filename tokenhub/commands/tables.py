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
        Column(
            "outcome", String, nullable=False
        ),  # success | pending | partial_failure | denied | asked | dry_run
        Column("arguments", Text, nullable=False),  # JSON, secrets left out
        Column("request_id", String, nullable=False),
        Column("seq", BigInteger),  # 1, 2, 3 … within the organisation; null = before there was a chain
        Column("hash", String),  # sha256 over the row and the hash before it
        Column("grant_id", String),  # set = an agent did it, within this grant
        Column("decision", Text),  # JSON: what was asked of the policies and what they said
        Column("changes", Text),  # JSON list: rows before and after
        Column("undo", Text),  # JSON: command and arguments that take it back; null = the rows do
        Column("undoes", String),  # the audit row that this one took back
        Index("ix_audit_org_id_id", "org_id", "id"),
        Index("ix_audit_org_id_seq", "org_id", "seq", unique=True),
        Index("ix_audit_undoes", "undoes", unique=True),
    )


def _head(metadata: MetaData) -> Table:
    return Table(
        "audit_head",
        metadata,
        Column("org_id", String, primary_key=True),
        Column("seq", BigInteger, nullable=False),
        Column("hash", String, nullable=False),
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
audit_head: dict[Name, Table] = {"hub": _head(hub_metadata), "ledger": _head(ledger_metadata)}

gates = Table(
    "gates",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, nullable=False),
    Column("actor", String, nullable=False),  # who asked
    Column("user_id", String),  # for whom
    Column("grant_id", String),
    Column("command", String, nullable=False),
    Column("arguments", Text, nullable=False),  # JSON, secrets left out
    Column("body_hash", String, nullable=False),  # of the whole arguments: only they may run
    Column("reasons", Text, nullable=False),  # JSON list
    Column("state", String, nullable=False),  # open | approved | denied | used
    Column("decided_by", String),
    Column("comment", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("decided_at_ms", BigInteger),
    Column("used_at_ms", BigInteger),
    Index("ix_gates_org_id_id", "org_id", "id"),
    Index("ix_gates_actor", "actor", "command", "body_hash"),
)

origins = Table(
    "origins",
    hub_metadata,
    Column("grant_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column(
        "value", String, nullable=False
    ),  # an id or an address that the person's words chose, or that was made
    Column("name", String, nullable=False),  # what the thing is called; empty = the run made it
    Column("source", String, nullable=False),  # id of the thing that bears the name
    Column("command", String, nullable=False),  # the lookup
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("grant_id", "kind", "value", "name", "source"),
)
