"""Which grants a person opened: taint goes up to them and no further."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("grants", sa.Column("fresh", sa.Boolean, nullable=False, server_default=sa.false()))
    # Who made an older grant is not kept; one with nothing above it shares its memory with nobody.
    op.execute("UPDATE grants SET fresh = true WHERE parent_id IS NULL")
