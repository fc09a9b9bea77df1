"""Answers of token requests that carried an idempotency key."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "kept_answer",
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("idempotency_key", sa.String, nullable=False),
        sa.Column("body_hash", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("content_type", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("alive_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "idempotency_key"),
    )
    op.create_index("ix_kept_answer_alive_at_ms", "kept_answer", ["alive_at_ms"])
