"""Tables of the database layer itself: the revision counters, one row in each database."""

from sqlalchemy import BigInteger, Column, String, Table

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
