"""A usage event becomes a line of its own and a kind that it shares; `usage_event` is the view of both."""

import hashlib
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_KIND = (
    "org_id", "team_id", "project_id", "user_id", "key_id", "app", "model", "deployment_id", "engine_boot",
    "endpoint", "service_tier", "price_version_id", "currency", "source", "finish", "status", "stream", "path_id",
)  # fmt: skip
_LINE = (
    "request_id", "at_ms", "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_long_tokens",
    "output_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens",
    "image_output_tokens", "created_tokens", "undelivered_tokens", "amount_nano", "latency_ms", "ttft_ms",
    "overage_tokens", "overage_nano",
)  # fmt: skip
_SELDOM = (
    "cache_write_tokens", "cache_write_long_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens",
    "image_input_tokens", "image_output_tokens", "undelivered_tokens", "overage_tokens", "overage_nano",
)  # fmt: skip
_NUMBERS = ("status", "stream")
_NULLABLE = ("team_id", "project_id", "user_id")


def upgrade() -> None:
    connection = op.get_bind()
    op.create_table(
        "usage_kind",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("hash", sa.String, nullable=False),
        *[
            sa.Column(name, sa.BigInteger if name in _NUMBERS else sa.String, nullable=name in _NULLABLE)
            for name in _KIND
        ],
        sa.UniqueConstraint("hash", name="uq_usage_kind_hash"),
    )
    op.create_table(
        "usage_line",
        sa.Column("request_id", sa.String, primary_key=True),
        *[
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0" if name in _SELDOM else None)
            for name in _LINE[1:]
        ],
        sa.Column("kind_id", sa.BigInteger, nullable=False),
        sa.Column("transfer_id", sa.String, nullable=False),
        sqlite_with_rowid=False,
    )
    kinds = connection.execute(sa.text(f"SELECT DISTINCT {', '.join(_KIND)} FROM usage_event")).all()
    if kinds:
        _move(connection, [tuple(row) for row in kinds])
    op.drop_table("usage_event")
    op.create_index("ix_usage_line_at_ms", "usage_line", ["at_ms"])
    columns = ", ".join(
        [f"usage_line.{name}" for name in _LINE]
        + [f"usage_kind.{name}" for name in _KIND]
        + ["usage_line.transfer_id"]
    )
    # A cross join keeps SQLite from walking the kinds first: lines are found by request or by time.
    op.execute(
        f"CREATE VIEW usage_event AS SELECT {columns} FROM usage_line CROSS JOIN usage_kind"
        " WHERE usage_kind.id = usage_line.kind_id"
    )


def _move(connection: sa.Connection, kinds: list[tuple[str | int | None, ...]]) -> None:
    names = ("id", "hash", *_KIND)
    insert = sa.text(
        f"INSERT INTO usage_kind ({', '.join(names)}) VALUES ({', '.join(f':{n}' for n in names)})"
    )
    rows: list[dict[str, Any]] = [
        dict(
            zip(
                names,
                (number, hashlib.blake2b(msgspec.json.encode(kind), digest_size=16).hexdigest(), *kind),
                strict=True,
            )
        )
        for number, kind in enumerate(kinds, start=1)
    ]
    connection.execute(insert, rows)
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        connection.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('usage_kind', 'id'), {len(rows)})"))
    op.create_index("ix_usage_kind_move", "usage_kind", ["key_id", "model", "path_id"])
    same = "IS NOT DISTINCT FROM" if postgresql else "IS"
    columns = ", ".join(_LINE)
    connection.execute(
        sa.text(
            f"INSERT INTO usage_line ({columns}, kind_id, transfer_id)"
            f" SELECT {', '.join(f'e.{name}' for name in _LINE)}, k.id, e.transfer_id"
            " FROM usage_event AS e JOIN usage_kind AS k ON "
            + " AND ".join(f"k.{name} {same if name in _NULLABLE else '='} e.{name}" for name in _KIND)
        )
    )
    op.drop_index("ix_usage_kind_move", "usage_kind")
