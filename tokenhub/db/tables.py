"""Tables of the database layer itself: the revision counters, one row in each database, and the outbox."""

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from tokenhub.db.metadata import hub_metadata, ledger_metadata

hub_revision = Table(
    "revision",
    hub_metadata,
    Column("name", String, primary_key=True),
    Column("counter", BigInteger, nullable=False),
)

ledger_revision = Table(
    "revision",
    ledger_metadata,
    Column("name", String, primary_key=True),
    Column("counter", BigInteger, nullable=False),
)

outbox = Table(
    "outbox",
    hub_metadata,
    Column("id", String, primary_key=True),  # also the idempotency key that the receiver gets
    Column("org_id", String, nullable=False),
    Column("actor_id", String, nullable=False),
    Column("channel", String, nullable=False),  # which adapter carries it: webhook
    Column("target", String, nullable=False),  # id of the hook
    Column("subject", String, nullable=False),  # id of what it is about; empty = nothing
    Column("payload", Text, nullable=False),  # JSON object
    Column("state", String, nullable=False),  # waiting | sending | delivered | failed | unknown | withdrawn
    Column("send_at_ms", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("unknowns", BigInteger, nullable=False),  # attempts of which nobody knows whether they arrived
    Column("error", Text, nullable=False),  # of the last attempt
    Column("runner", String, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Column("grant_id", String),  # set = an agent's command put it in: its stop counts for it
    Index("ix_outbox_state", "state", "send_at_ms"),
    Index("ix_outbox_actor_id", "actor_id", "id"),
    Index("ix_outbox_subject", "subject"),
    info={"undo": "keep"},  # what has left stays told
)
