"""Tables of the assistant, in the hub's database. Only `store.py` and its neighbours in this package read them."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table, Text

from tokenhub.db.metadata import hub_metadata

conversation = Table(
    "conversation",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, nullable=False),
    Column("owner", String, nullable=False),  # user id, or the key's id where a key belongs to no person
    Column("title", String, nullable=False),
    Column("model", String, nullable=False),
    Column("head_id", String),  # the newest message of the branch that is shown
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Index("ix_conversation_owner_updated_at_ms", "owner", "updated_at_ms"),
)

message = Table(
    "message",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("conversation_id", String, ForeignKey("conversation.id"), nullable=False),
    Column("parent_id", String),  # several messages with one parent are versions of the same turn
    Column("role", String, nullable=False),  # user | assistant
    Column("content", Text, nullable=False),
    Column("reasoning", Text, nullable=False),
    Column("status", String, nullable=False),  # complete | running | stopped | interrupted | error
    Column("model", String, nullable=False),
    Column("run_id", String),
    Column("created_at_ms", BigInteger, nullable=False),
    Index("ix_message_conversation_id_parent_id", "conversation_id", "parent_id"),
)

run = Table(
    "run",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("conversation_id", String, ForeignKey("conversation.id"), nullable=False),
    Column("message_id", String, nullable=False),
    Column("process", String, nullable=False),  # which app process advances it
    Column("model", String, nullable=False),
    Column("status", String, nullable=False),  # running | complete | stopped | interrupted | error
    Column("request_id", String, nullable=False),  # the gateway's, "" until it answered
    Column("finish_reason", String, nullable=False),
    Column("error_code", String, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Index("ix_run_conversation_id", "conversation_id"),
    Index("ix_run_status_process", "status", "process"),
    Index("ix_run_ended_at_ms", "ended_at_ms"),
)

run_event = Table(
    "run_event",
    hub_metadata,
    Column("run_id", String, ForeignKey("run.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),  # 1, 2, 3, … within the run
    Column("kind", String, nullable=False),  # start | text | reasoning | end | ledger
    Column("data", Text, nullable=False),  # JSON
)
