"""Audit rows and idempotency keys of the commands that write the books."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("app", sa.String, nullable=False),
        sa.Column("command", sa.String, nullable=False),
        sa.Column("effect", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("hash", sa.String),
    )
    op.create_index("ix_audit_org_id_id", "audit", ["org_id", "id"])
    op.create_table(
        "idempotency",
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("command", sa.String, nullable=False),
        sa.Column("body_hash", sa.String, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("actor", "key"),
    )
    op.create_index("ix_idempotency_created_at_ms", "idempotency", ["created_at_ms"])
