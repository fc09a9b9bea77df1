"""The price book: immutable, dated, hashed versions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "price_version",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("book", sa.String, nullable=False),
        sa.Column("sku", sa.String, nullable=False),
        sa.Column("currency", sa.String, nullable=False),
        sa.Column("effective_from_ms", sa.BigInteger, nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("memo", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("book", "sku", "effective_from_ms"),
    )
