"""Tables of metering."""

from sqlalchemy import BigInteger, Column, Index, String, Table

from tokenhub.db.metadata import ledger_metadata
from tokenhub.metering.types import EVENT_FIELDS

_TEXT = {
    "request_id", "org_id", "team_id", "project_id", "user_id", "key_id", "app", "model", "deployment_id",
    "engine_boot", "endpoint", "service_tier", "price_version_id", "currency", "source", "finish", "path_id",
}  # fmt: skip
_NULLABLE = {"team_id", "project_id", "user_id"}


def _column(name: str) -> Column[str] | Column[int]:
    if name in _TEXT:
        return Column(name, String, primary_key=name == "request_id", nullable=name in _NULLABLE)
    return Column(name, BigInteger, nullable=False)


usage_event = Table(
    "usage_event",
    ledger_metadata,
    *[_column(name) for name in EVENT_FIELDS],
    Column("transfer_id", String, nullable=False),
    Index("ix_usage_event_at_ms", "at_ms"),
    sqlite_with_rowid=False,
)

engine_count = Table(
    "engine_count",
    ledger_metadata,
    Column("engine_boot", String, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
)
