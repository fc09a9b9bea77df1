"""The revision counter of the hub's objects."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "revision",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("counter", sa.BigInteger, nullable=False),
    )
