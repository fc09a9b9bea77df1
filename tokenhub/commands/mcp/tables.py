"""Which commands a caller sees as MCP tools of their own."""

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, String, Table

from tokenhub.db.metadata import hub_metadata

pins = Table(
    "mcp_pins",
    hub_metadata,
    Column("org_id", String, nullable=False),
    Column("actor", String, nullable=False),  # user, service account, or key of neither
    Column("command", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("org_id", "actor", "command"),
)
