"""MCP: pinned commands, outside servers, their tools and the calls to them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "mcp_pins",
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("command", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("org_id", "actor", "command"),
    )
    op.create_table(
        "mcp_servers",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("timeout_ms", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("problem", sa.String, nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger),
        sa.Column("creator_id", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "mcp_tools",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("server_id", sa.String, sa.ForeignKey("mcp_servers.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("schema", sa.Text, nullable=False),
        sa.Column("hints", sa.Text, nullable=False),
        sa.Column("problem", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("allowed_digest", sa.String, nullable=False),
        sa.Column("effect", sa.String, nullable=False),
        sa.Column("sinks", sa.Text, nullable=False),
        sa.Column("present", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("server_id", "name"),
    )
    op.create_table(
        "mcp_calls",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("server_id", sa.String, nullable=False),
        sa.Column("tool", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("effect", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("grant_id", sa.String),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("error", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger),
        sa.Column("ended_at_ms", sa.BigInteger),
    )
    op.create_index("ix_mcp_calls_org_id_id", "mcp_calls", ["org_id", "id"])
    op.create_index("ix_mcp_calls_state", "mcp_calls", ["state"])
