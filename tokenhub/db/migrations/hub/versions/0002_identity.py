"""People, credentials, audit rows and idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _directory()
    _keys()
    _sessions()
    _door()


def _directory() -> None:
    op.create_table(
        "organizations",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "teams",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("team_id", sa.String, sa.ForeignKey("teams.id")),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("email", sa.String),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("team_id", sa.String, sa.ForeignKey("teams.id")),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("disabled_at_ms", sa.BigInteger),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "service_accounts",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("team_id", sa.String, sa.ForeignKey("teams.id")),
        sa.Column("project_id", sa.String, sa.ForeignKey("projects.id")),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("disabled_at_ms", sa.BigInteger),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "memberships",
        sa.Column("team_id", sa.String, sa.ForeignKey("teams.id"), primary_key=True),
        sa.Column("user_id", sa.String, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )


def _keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("team_id", sa.String, sa.ForeignKey("teams.id")),
        sa.Column("project_id", sa.String, sa.ForeignKey("projects.id")),
        sa.Column("user_id", sa.String, sa.ForeignKey("users.id")),
        sa.Column("service_account_id", sa.String, sa.ForeignKey("service_accounts.id")),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("models", sa.Text),
        sa.Column("app", sa.String, nullable=False),
        sa.Column("parent_key_id", sa.String, sa.ForeignKey("api_keys.id")),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("revoked_at_ms", sa.BigInteger),
    )
    op.create_index("ix_api_keys_org_id_id", "api_keys", ["org_id", "id"])
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])
    op.create_index("ix_api_keys_parent_key_id", "api_keys", ["parent_key_id"])
    op.create_table(
        "key_secrets",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("key_id", sa.String, sa.ForeignKey("api_keys.id"), nullable=False),
        sa.Column("prefix", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger),
    )
    op.create_index("ix_key_secrets_key_id", "key_secrets", ["key_id"])


def _sessions() -> None:
    op.create_table(
        "login_tokens",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("used_at_ms", sa.BigInteger),
    )
    op.create_table(
        "console_sessions",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("key_id", sa.String, sa.ForeignKey("api_keys.id"), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_console_sessions_key_id", "console_sessions", ["key_id"])


def _door() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("app", sa.String, nullable=False),
        sa.Column("command", sa.String, nullable=False),
        sa.Column("effect", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("hash", sa.String),
    )
    op.create_index("ix_audit_org_id_id", "audit", ["org_id", "id"])
    op.create_table(
        "idempotency",
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("command", sa.String, nullable=False),
        sa.Column("body_hash", sa.String, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("actor", "key"),
    )
    op.create_index("ix_idempotency_created_at_ms", "idempotency", ["created_at_ms"])
