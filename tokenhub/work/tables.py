"""Tables of the workspace, all in the hub database. Nobody else imports this module."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from tokenhub.db.metadata import hub_metadata

MARK = {"mark": True}
"""A column that notes that somebody came by; what a row says is in the others (`db/changes.py`)."""

tasks = Table(
    "tasks",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("project_id", String, ForeignKey("projects.id")),
    Column("title", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String, nullable=False),  # open | done | dropped
    Column("creator_id", String, nullable=False),
    Column("assignee_id", String),
    Column("priority", BigInteger, nullable=False),  # 1 = first … 4
    Column("due_at_ms", BigInteger),
    Column("done_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False, info=MARK),
    Index("ix_tasks_org_id_id", "org_id", "id"),
    Index("ix_tasks_assignee_id", "assignee_id", "state"),
    Index("ix_tasks_creator_id", "creator_id"),
    Index("ix_tasks_project_id", "project_id"),
)

task_comments = Table(
    "task_comments",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, nullable=False),
    Column("task_id", String, ForeignKey("tasks.id"), nullable=False, index=True),
    Column("author_id", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

channels = Table(
    "channels",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("kind", String, nullable=False),  # direct | group | open
    Column("name", String, nullable=False),  # of a direct one: the two ids, so that there is one of each pair
    Column("creator_id", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)

channel_members = Table(
    "channel_members",
    hub_metadata,
    Column("channel_id", String, ForeignKey("channels.id"), primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Index("ix_channel_members_user_id", "user_id"),
)

messages = Table(
    "messages",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, nullable=False),
    Column("channel_id", String, ForeignKey("channels.id"), nullable=False),
    Column("thread_id", String, ForeignKey("messages.id")),  # the message that it answers
    Column("author_id", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("file_ids", Text, nullable=False),  # JSON list
    Column("created_at_ms", BigInteger, nullable=False),
    Column("edited_at_ms", BigInteger),
    Column("recalled_at_ms", BigInteger),
    Index("ix_messages_channel_id_id", "channel_id", "id"),
    Index("ix_messages_thread_id", "thread_id"),
)

notices = Table(
    "notices",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column(
        "kind", String, nullable=False
    ),  # assigned | mentioned | message | invited | shared | to_decide | decided
    Column("subject", String, nullable=False),  # id of what it is about
    Column("text", Text, nullable=False),
    Column("actor_id", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("read_at_ms", BigInteger, info=MARK),
    Index("ix_notices_user_id_id", "user_id", "id"),
    info={"undo": "drop"},  # an undo takes it back although it was read
)

docs = Table(
    "docs",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("title", String, nullable=False),
    Column("owner_id", String, nullable=False),
    Column("everyone", String, nullable=False),  # what the whole organisation may: empty | read | write
    Column("version", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False, info=MARK),
    Column("removed_at_ms", BigInteger),
    Index("ix_docs_org_id_id", "org_id", "id"),
    Index("ix_docs_owner_id", "owner_id"),
)

doc_versions = Table(
    "doc_versions",
    hub_metadata,
    Column("doc_id", String, ForeignKey("docs.id"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("content", Text, nullable=False),
    Column("author_id", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

doc_comments = Table(
    "doc_comments",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("doc_id", String, ForeignKey("docs.id"), nullable=False, index=True),
    Column("version", BigInteger, nullable=False),
    Column("author_id", String, nullable=False),
    Column("quote", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

shares = Table(
    "shares",
    hub_metadata,
    Column("subject_id", String, primary_key=True),  # a document or a file
    Column("user_id", String, primary_key=True),
    Column("rights", String, nullable=False),  # read | write
    Column("created_at_ms", BigInteger, nullable=False),
    Index("ix_shares_user_id", "user_id"),
)

files = Table(
    "files",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("folder", String, nullable=False),  # path, empty = the root
    Column("name", String, nullable=False),
    Column("owner_id", String, nullable=False),
    Column("everyone", String, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False, info=MARK),
    Column("removed_at_ms", BigInteger),
    Index("ix_files_org_id_id", "org_id", "id"),
    Index("ix_files_owner_id", "owner_id", "folder", "name"),
)

file_versions = Table(
    "file_versions",
    hub_metadata,
    Column("file_id", String, ForeignKey("files.id"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("author_id", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

blobs = Table(
    "blobs",
    hub_metadata,
    Column("org_id", String, primary_key=True),  # never shared between organisations, not even by content
    Column("sha256", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    info={"used_by": ("file_versions", "sha256")},  # an undo leaves it while a version has this content
)

forms = Table(
    "forms",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("fields", Text, nullable=False),  # JSON object: name -> text | number | date | file
    Column(
        "route", Text, nullable=False
    ),  # JSON list of stages: `lead`, `role:admin`, a user, `any:A,B`, `all:A,B`
    Column("hours", BigInteger, nullable=False),  # for each step; 0 = no deadline
    Column("escalate", String, nullable=False),  # who gets a late step: `lead` or a user's id; empty = nobody
    Column("created_at_ms", BigInteger, nullable=False),
    Column("closed_at_ms", BigInteger),
    UniqueConstraint("org_id", "name"),
)

requests = Table(
    "requests",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("form_id", String, ForeignKey("forms.id"), nullable=False),
    Column("requester_id", String, nullable=False),
    Column("answers", Text, nullable=False),  # JSON object
    Column("state", String, nullable=False),  # open | approved | rejected | withdrawn | returned
    Column("step", BigInteger, nullable=False),  # the stage that is open
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Index("ix_requests_requester_id", "requester_id", "id"),
    Index("ix_requests_org_id_id", "org_id", "id"),
)

request_steps = Table(
    "request_steps",
    hub_metadata,
    Column("request_id", String, ForeignKey("requests.id"), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("stage", BigInteger, nullable=False),  # steps of one stage are open together
    Column("mode", String, nullable=False),  # all | any of its stage have to approve
    Column("approver_id", String, nullable=False),
    Column("added_by", String),  # who brought this approver in; null = the form's route
    Column("escalations", BigInteger, nullable=False),  # how often it was passed on because it was late
    Column(
        "state", String, nullable=False
    ),  # waiting | open | approved | rejected | passed: another one sufficed
    Column("decided_by", String),
    Column("comment", Text, nullable=False),
    Column("deadline_at_ms", BigInteger),  # null = none, or it was passed on for the last time
    Column("decided_at_ms", BigInteger),
    Index("ix_request_steps_approver_id", "approver_id", "state"),
    Index("ix_request_steps_deadline_at_ms", "deadline_at_ms"),
)

absences = Table(
    "absences",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("user_id", String, nullable=False),
    Column("deputy_id", String, nullable=False),  # decides meanwhile
    Column("from_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("note", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Index("ix_absences_user_id", "user_id", "until_ms"),
    Index("ix_absences_deputy_id", "deputy_id", "until_ms"),
)
