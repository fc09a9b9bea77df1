"""Table of the durable queue. Nobody else imports this module."""

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from tokenhub.db.metadata import hub_metadata

jobs = Table(
    "jobs",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column(
        "subject", String, nullable=False
    ),  # what it is about (a model's name); one live job per kind and subject
    Column("arguments", Text, nullable=False),  # JSON object
    Column("state", String, nullable=False),  # queued | running | succeeded | failed | cancelled
    Column("progress", Text, nullable=False),  # JSON object of `Progress`
    Column("result", Text, nullable=False),  # JSON object
    Column("error", Text, nullable=False),  # one sentence
    Column("attempts", BigInteger, nullable=False),
    Column("runner", String, nullable=False),  # who runs it
    Column("lease_until_ms", BigInteger, nullable=False),  # a running job past it is taken over
    Column("created_at_ms", BigInteger, nullable=False),
    Column("started_at_ms", BigInteger),
    Column("finished_at_ms", BigInteger),
    Index("ix_jobs_state", "state", "created_at_ms"),
)
