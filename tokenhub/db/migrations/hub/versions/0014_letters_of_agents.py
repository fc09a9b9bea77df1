"""Which agent's grant put a letter into the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("outbox", sa.Column("grant_id", sa.String))
