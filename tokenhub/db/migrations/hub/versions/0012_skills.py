"""Skills: versions by digest, the allow-list, runs of scripts; what a skill in use leaves of a grant."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column and six tables."""
    op.add_column("grants", sa.Column("narrowed", sa.Text))
    op.create_table(
        "skills",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("owner_id", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("decided_digest", sa.String(64)),
        sa.Column("decided_by", sa.String),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("decided_at_ms", sa.BigInteger),
        sa.Column("removed_at_ms", sa.BigInteger),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "skill_versions",
        sa.Column("org_id", sa.String, primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("description", sa.String, nullable=False),
        sa.Column("license", sa.String, nullable=False),
        sa.Column("compatibility", sa.String, nullable=False),
        sa.Column("allowed_tools", sa.Text),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "skill_files",
        sa.Column("org_id", sa.String, primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("path", sa.String, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "skill_blobs",
        sa.Column("org_id", sa.String, primary_key=True),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    _runs()


def _runs() -> None:
    op.create_table(
        "skill_runs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("skill_id", sa.String, sa.ForeignKey("skills.id"), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("grant_id", sa.String),
        sa.Column("job_id", sa.String, nullable=False),
        sa.Column("script", sa.String, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("stdin", sa.LargeBinary, nullable=False),
        sa.Column("seconds", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("exit_code", sa.BigInteger),
        sa.Column("stopped", sa.String, nullable=False),
        sa.Column("stdout", sa.LargeBinary, nullable=False),
        sa.Column("stderr", sa.LargeBinary, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("took_ms", sa.BigInteger),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
    )
    op.create_index("ix_skill_runs_user_id_id", "skill_runs", ["user_id", "id"])
    op.create_table(
        "skill_run_files",
        sa.Column("run_id", sa.String, sa.ForeignKey("skill_runs.id"), primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("path", sa.String, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
