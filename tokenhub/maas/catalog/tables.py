"""Table of the entries that were added here. Nobody else imports this module."""

from sqlalchemy import BigInteger, Column, String, Table, Text

from tokenhub.db.metadata import hub_metadata

models = Table(
    "models",
    hub_metadata,
    Column("name", String, primary_key=True),
    Column("title", String, nullable=False),
    Column("licence", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("kinds", Text, nullable=False),  # JSON list
    Column("context_tokens", BigInteger, nullable=False),
    Column("sources", Text, nullable=False),  # JSON list of [kind, address]
    Column("template", String, nullable=False),
    Column("pooling", String, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)
