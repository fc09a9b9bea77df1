"""The audit chain."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("audit", sa.Column("seq", sa.BigInteger))
    op.add_column("audit", sa.Column("grant_id", sa.String))
    op.add_column("audit", sa.Column("decision", sa.Text))
    op.add_column("audit", sa.Column("changes", sa.Text))
    op.add_column("audit", sa.Column("undo", sa.Text))
    op.add_column("audit", sa.Column("undoes", sa.String))
    op.create_index("ix_audit_org_id_seq", "audit", ["org_id", "seq"], unique=True)
    op.create_index("ix_audit_undoes", "audit", ["undoes"], unique=True)
    op.create_table(
        "audit_head",
        sa.Column("org_id", sa.String, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
    )
