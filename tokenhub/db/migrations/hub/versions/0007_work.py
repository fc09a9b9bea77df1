"""The workspace: tasks, messages, notices, documents, drive, approvals."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    _tasks()
    _messages()
    _documents()
    _drive()
    _approvals()


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("project_id", sa.String, sa.ForeignKey("projects.id")),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("creator_id", sa.String, nullable=False),
        sa.Column("assignee_id", sa.String),
        sa.Column("priority", sa.BigInteger, nullable=False),
        sa.Column("due_at_ms", sa.BigInteger),
        sa.Column("done_at_ms", sa.BigInteger),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_tasks_assignee_id", "tasks", ["assignee_id", "state"])
    op.create_index("ix_tasks_creator_id", "tasks", ["creator_id"])
    op.create_index("ix_tasks_org_id_id", "tasks", ["org_id", "id"])
    op.create_index("ix_tasks_project_id", "tasks", ["project_id"])
    op.create_table(
        "task_comments",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("task_id", sa.String, sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("author_id", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_task_comments_task_id", "task_comments", ["task_id"])


def _messages() -> None:
    op.create_table(
        "channels",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("creator_id", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "channel_members",
        sa.Column("channel_id", sa.String, sa.ForeignKey("channels.id"), primary_key=True),
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_channel_members_user_id", "channel_members", ["user_id"])
    op.create_table(
        "messages",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("channel_id", sa.String, sa.ForeignKey("channels.id"), nullable=False),
        sa.Column("thread_id", sa.String, sa.ForeignKey("messages.id")),
        sa.Column("author_id", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("file_ids", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("edited_at_ms", sa.BigInteger),
        sa.Column("recalled_at_ms", sa.BigInteger),
    )
    op.create_index("ix_messages_channel_id_id", "messages", ["channel_id", "id"])
    op.create_index("ix_messages_thread_id", "messages", ["thread_id"])
    op.create_table(
        "notices",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("actor_id", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("read_at_ms", sa.BigInteger),
    )
    op.create_index("ix_notices_user_id_id", "notices", ["user_id", "id"])


def _documents() -> None:
    op.create_table(
        "docs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("owner_id", sa.String, nullable=False),
        sa.Column("everyone", sa.String, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("removed_at_ms", sa.BigInteger),
    )
    op.create_index("ix_docs_org_id_id", "docs", ["org_id", "id"])
    op.create_index("ix_docs_owner_id", "docs", ["owner_id"])
    op.create_table(
        "doc_versions",
        sa.Column("doc_id", sa.String, sa.ForeignKey("docs.id"), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("author_id", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "doc_comments",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("doc_id", sa.String, sa.ForeignKey("docs.id"), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("author_id", sa.String, nullable=False),
        sa.Column("quote", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_doc_comments_doc_id", "doc_comments", ["doc_id"])
    op.create_table(
        "shares",
        sa.Column("subject_id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("rights", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_shares_user_id", "shares", ["user_id"])


def _drive() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("folder", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("owner_id", sa.String, nullable=False),
        sa.Column("everyone", sa.String, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("removed_at_ms", sa.BigInteger),
    )
    op.create_index("ix_files_org_id_id", "files", ["org_id", "id"])
    op.create_index("ix_files_owner_id", "files", ["owner_id", "folder", "name"])
    op.create_table(
        "file_versions",
        sa.Column("file_id", sa.String, sa.ForeignKey("files.id"), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("author_id", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "blobs",
        sa.Column("org_id", sa.String, primary_key=True),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _approvals() -> None:
    op.create_table(
        "forms",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("hours", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger),
        sa.UniqueConstraint("org_id", "name"),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("org_id", sa.String, sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("form_id", sa.String, sa.ForeignKey("forms.id"), nullable=False),
        sa.Column("requester_id", sa.String, nullable=False),
        sa.Column("answers", sa.Text, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger),
    )
    op.create_index("ix_requests_org_id_id", "requests", ["org_id", "id"])
    op.create_index("ix_requests_requester_id", "requests", ["requester_id", "id"])
    op.create_table(
        "request_steps",
        sa.Column("request_id", sa.String, sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True),
        sa.Column("approver_id", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("decided_by", sa.String),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("deadline_at_ms", sa.BigInteger),
        sa.Column("decided_at_ms", sa.BigInteger),
    )
    op.create_index("ix_request_steps_approver_id", "request_steps", ["approver_id", "state"])
