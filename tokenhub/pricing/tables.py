"""The price book's one table. Rows are inserted and never updated."""

from sqlalchemy import BigInteger, Column, String, Table, Text, UniqueConstraint

from tokenhub.db.metadata import hub_metadata

price_version = Table(
    "price_version",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("book", String, nullable=False),
    Column("sku", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("effective_from_ms", BigInteger, nullable=False),
    Column("rules", Text, nullable=False),
    Column("sha256", String, nullable=False),
    Column("source", String, nullable=False),
    Column("memo", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("book", "sku", "effective_from_ms"),
)
