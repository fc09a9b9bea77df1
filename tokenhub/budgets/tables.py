"""Tables of budgets."""

from sqlalchemy import BigInteger, Column, Index, String, Table

from tokenhub.db.metadata import ledger_metadata

budget_limit = Table(
    "budget_limit",
    ledger_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, nullable=False),  # the organisation that set it
    Column("name", String, nullable=False),
    Column("scope_type", String, nullable=False),
    Column("scope_id", String, nullable=False),
    Column("unit", BigInteger, nullable=False),
    Column("cap", BigInteger, nullable=False),
    Column("hard", BigInteger, nullable=False),
    Column("window_kind", String, nullable=False),
    Column("window_length", String, nullable=False),
    Column("length_ms", BigInteger, nullable=False),
    Column("tz", String, nullable=False),
    Column("anchor_ms", BigInteger, nullable=False),
    Column("model", String, nullable=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("removed_at_ms", BigInteger, nullable=True),
    Index("ix_budget_limit_scope", "scope_type", "scope_id"),
)

window_anchor = Table(
    "window_anchor",
    ledger_metadata,
    Column("limit_id", String, primary_key=True),
    Column("start_ms", BigInteger, nullable=False),
)
