"""How much of a lease is held by answers that wait for more of the same bucket."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("lease", sa.Column("waiting", sa.BigInteger, nullable=False, server_default="0"))
