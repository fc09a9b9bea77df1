"""The person's own words of a run, and the values that they chose by lookups."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("grants", sa.Column("request", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "origins",
        sa.Column("grant_id", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("command", sa.String, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("grant_id", "kind", "value", "name", "source"),
    )
