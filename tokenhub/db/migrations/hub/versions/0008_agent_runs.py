"""Agent runs, their steps, schedules."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0013"


def upgrade() -> None:
    _runs()
    _steps()
    _schedules()


def _runs() -> None:
    op.create_table(
        "agent_runs",
        sa.Column("id", sa.String, sa.ForeignKey("grants.id"), primary_key=True),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("agent_id", sa.String, nullable=False),
        sa.Column("parent_id", sa.String),
        sa.Column("root_id", sa.String, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("tools", sa.Text, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("mind", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("waits_for", sa.String, nullable=False),
        sa.Column("wake_at_ms", sa.BigInteger),
        sa.Column("segment", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.String, nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("tokens_max", sa.BigInteger, nullable=False),
        sa.Column("steps_max", sa.BigInteger, nullable=False),
        sa.Column("work_ms_max", sa.BigInteger, nullable=False),
        sa.Column("worked_ms", sa.BigInteger, nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.Column("code", sa.String, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
    )
    op.create_index("ix_agent_runs_state", "agent_runs", ["state", "wake_at_ms"])
    op.create_index("ix_agent_runs_waits_for", "agent_runs", ["waits_for"])
    op.create_index("ix_agent_runs_org_id_id", "agent_runs", ["org_id", "id"])
    op.create_index("ix_agent_runs_root_id", "agent_runs", ["root_id"])
    op.create_index("ix_agent_runs_parent_id", "agent_runs", ["parent_id"])


def _steps() -> None:
    op.create_table(
        "agent_steps",
        sa.Column("run_id", sa.String, sa.ForeignKey("agent_runs.id"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("same", sa.String, nullable=False),
        sa.Column("call_id", sa.String, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("held_tokens", sa.BigInteger, nullable=False),
        sa.Column("audit_id", sa.String, nullable=False),
        sa.Column("gate_id", sa.String, nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("run_id", "seq"),
    )


def _schedules() -> None:
    op.create_table(
        "agent_schedules",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("agent_id", sa.String, sa.ForeignKey("agents.id"), nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("cron", sa.String, nullable=False),
        sa.Column("time_zone", sa.String, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("next_at_ms", sa.BigInteger),
        sa.Column("paused", sa.String, nullable=False),
        sa.Column("fired", sa.BigInteger, nullable=False),
        sa.Column("last_run_id", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_agent_schedules_next_at_ms", "agent_schedules", ["next_at_ms"])
    op.create_index("ix_agent_schedules_org_id_id", "agent_schedules", ["org_id", "id"])

    op.create_table(
        "agent_cursors",
        sa.Column("org_id", sa.String, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
