"""Tables of metering.

A usage event is a line of its own (numbers) and a kind that it shares with others (whose, which model, at which price,
how it ended): a tenth of the bytes, and half of the work of writing them. `usage_event` is the view of both together;
whoever reads, reads that.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from tokenhub.db.metadata import ledger_metadata
from tokenhub.metering.types import EVENT_FIELDS, KIND_FIELDS, LINE_FIELDS, SELDOM_FIELDS

_TEXT = frozenset({"request_id", *KIND_FIELDS} - {"status", "stream"})
_NULLABLE = frozenset({"team_id", "project_id", "user_id"})


def _line_column(name: str) -> Column[str] | Column[int]:
    if name in SELDOM_FIELDS:
        return Column(name, BigInteger, nullable=False, server_default="0")
    return _column(name)


def _column(name: str) -> Column[str] | Column[int]:
    if name in _TEXT:
        return Column(name, String, primary_key=name == "request_id", nullable=name in _NULLABLE)
    return Column(name, BigInteger, nullable=False)


usage_kind = Table(
    "usage_kind",
    ledger_metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("hash", String, nullable=False, unique=True),  # of all the others
    *[_column(name) for name in KIND_FIELDS],
)

usage_line = Table(
    "usage_line",
    ledger_metadata,
    *[_line_column(name) for name in LINE_FIELDS],
    Column("kind_id", BigInteger, nullable=False),
    Column("transfer_id", String, nullable=False),
    Index("ix_usage_line_at_ms", "at_ms"),
    sqlite_with_rowid=False,
)

usage_event = Table(
    "usage_event",
    ledger_metadata,
    *[_column(name) for name in EVENT_FIELDS],
    Column("transfer_id", String, nullable=False),
    info={"view": True},
)

engine_count = Table(
    "engine_count",
    ledger_metadata,
    Column("engine_boot", String, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
)
