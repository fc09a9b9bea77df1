"""The audit chain; departments, agents, grants, stops, policies, gates."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _audit()
    _departments()
    _agents()
    _policies_and_gates()


def _audit() -> None:
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


def _departments() -> None:
    op.create_table(
        "departments",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("parent_id", sa.String, sa.ForeignKey("departments.id")),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("lead_id", sa.String, sa.ForeignKey("users.id")),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "department_members",
        sa.Column("department_id", sa.String, sa.ForeignKey("departments.id"), primary_key=True),
        sa.Column("user_id", sa.String, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_department_members_user_id", "department_members", ["user_id"])


def _agents() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("user_id", sa.String, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("user_id", "name"),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("agent_id", sa.String, sa.ForeignKey("agents.id"), nullable=False),
        sa.Column("user_id", sa.String, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("parent_id", sa.String, sa.ForeignKey("grants.id")),
        sa.Column("commands", sa.Text, nullable=False),
        sa.Column("effects", sa.Text, nullable=False),
        sa.Column("resources", sa.Text),
        sa.Column("vouched", sa.Text, nullable=False),
        sa.Column("cost_max", sa.BigInteger),
        sa.Column("cost_used", sa.BigInteger, nullable=False),
        sa.Column("note", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger),
        sa.Column("tainted_at_ms", sa.BigInteger),
    )
    op.create_index("ix_grants_org_id_id", "grants", ["org_id", "id"])
    op.create_index("ix_grants_parent_id", "grants", ["parent_id"])
    op.create_table(
        "stops",
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), primary_key=True),
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )


def _policies_and_gates() -> None:
    op.create_table(
        "policies",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("note", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("org_id", "version"),
    )
    op.create_table(
        "gates",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("user_id", sa.String),
        sa.Column("grant_id", sa.String),
        sa.Column("command", sa.String, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("body_hash", sa.String, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("decided_by", sa.String),
        sa.Column("comment", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("decided_at_ms", sa.BigInteger),
        sa.Column("used_at_ms", sa.BigInteger),
    )
    op.create_index("ix_gates_actor", "gates", ["actor", "command", "body_hash"])
    op.create_index("ix_gates_org_id_id", "gates", ["org_id", "id"])
    op.add_column("api_keys", sa.Column("grant_id", sa.String))
