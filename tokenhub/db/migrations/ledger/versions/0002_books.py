"""The books: accounts, transfers, buckets, leases, limits, usage events."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _books()
    _buckets()
    _limits()
    _metering()
    _clearing()


def _text(name: str, *, key: bool = False, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String, primary_key=key, nullable=null)


def _int(name: str, *, key: bool = False, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=key, nullable=null, autoincrement=False)


def _books() -> None:
    op.create_table(
        "account",
        _text("id", key=True),
        *[_text(name) for name in ("kind", "unit", "holder")],
        *[_int(name) for name in ("balance", "opened_at_ms")],
    )
    op.create_table(
        "transfer",
        _text("id", key=True),
        _int("seq"),
        _text("kind"),
        _int("at_ms"),
        *[
            _text(name)
            for name in (
                "idempotency_key", "request_id", "reverses", "actor", "memo", "events_sha256", "previous_hash", "hash",
            )
        ],
        sa.UniqueConstraint("seq", name="uq_transfer_seq"),
        sa.UniqueConstraint("idempotency_key", name="uq_transfer_idempotency_key"),
    )  # fmt: skip
    op.create_table(
        "entry",
        _text("transfer_id", key=True),
        _int("seq", key=True),
        _text("account_id"),
        _text("unit"),
        _int("amount"),
    )
    op.create_index("ix_entry_account_id", "entry", ["account_id"])
    chain = op.create_table("chain", _text("name", key=True), _int("seq"), _text("hash"))
    op.bulk_insert(chain, [{"name": "books", "seq": 0, "hash": ""}])


def _buckets() -> None:
    op.create_table(
        "bucket",
        _text("id", key=True),
        _text("limit_id"),
        *[
            _int(name)
            for name in (
                "unit", "window_start_ms", "window_end_ms", "length_ms", "step_ms",
                "cap", "ceiling", "hard", "used", "held", "overage",
            )
        ],
        sa.CheckConstraint(
            "used >= 0 AND held >= 0 AND (hard = 0 OR used + held <= ceiling)", name="ck_bucket_cap"
        ),
    )  # fmt: skip
    op.create_index("ix_bucket_limit_id", "bucket", ["limit_id"])
    op.create_table(
        "subwindow", _text("bucket_id", key=True), _int("start_ms", key=True), _int("used"), _int("overage")
    )
    op.create_table(
        "lease",
        _text("owner_id", key=True),
        _text("bucket_id", key=True),
        _int("amount"),
        sa.CheckConstraint("amount >= 0", name="ck_lease_amount"),
    )
    op.create_index("ix_lease_bucket_id", "lease", ["bucket_id"])
    op.create_table(
        "owner",
        _text("id", key=True),
        _text("name"),
        _text("journal"),
        _int("pid"),
        _int("opened_at_ms"),
        _int("closed_at_ms", null=True),
        _int("batch"),
    )
    op.create_table("recall", _text("bucket_id", key=True), _text("owner_id", key=True), _int("at_ms"))


def _limits() -> None:
    op.create_table(
        "budget_limit",
        _text("id", key=True),
        *[_text(name) for name in ("org_id", "name", "scope_type", "scope_id")],
        *[_int(name) for name in ("unit", "cap", "hard")],
        *[_text(name) for name in ("window_kind", "window_length")],
        _int("length_ms"),
        _text("tz"),
        _int("anchor_ms"),
        _text("model", null=True),
        _int("created_at_ms"),
        _int("removed_at_ms", null=True),
    )
    op.create_index("ix_budget_limit_scope", "budget_limit", ["scope_type", "scope_id"])
    op.create_table("window_anchor", _text("limit_id", key=True), _int("start_ms"))


def _metering() -> None:
    op.create_table(
        "usage_event",
        _text("request_id", key=True),
        _int("at_ms"),
        _text("org_id"),
        *[_text(name, null=True) for name in ("team_id", "project_id", "user_id")],
        *[
            _text(name)
            for name in (
                "key_id", "app", "model", "deployment_id", "engine_boot", "endpoint", "service_tier",
                "price_version_id",
            )
        ],
        *[
            _int(name)
            for name in (
                "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_long_tokens",
                "output_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens",
                "image_input_tokens", "image_output_tokens", "created_tokens", "undelivered_tokens", "amount_nano",
            )
        ],
        *[_text(name) for name in ("currency", "source", "finish")],
        *[_int(name) for name in ("status", "stream", "latency_ms", "ttft_ms")],
        _text("path_id"),
        *[_int(name) for name in ("overage_tokens", "overage_nano")],
        _text("transfer_id"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_index("ix_usage_event_at_ms", "usage_event", ["at_ms"])
    op.create_table(
        "engine_count",
        _text("engine_boot", key=True),
        *[_int(name) for name in ("at_ms", "prompt_tokens", "output_tokens")],
    )


def _clearing() -> None:
    op.create_table("charge_path", _text("id", key=True), _text("buckets"))
    op.create_table(
        "applied",
        _text("request_id", key=True),
        _int("at_ms"),
        _text("engine_boot"),
        *[_int(name) for name in ("applied_tokens", "discarded_tokens")],
        _text("transfer_id"),
    )
    op.create_table(
        "correction",
        _text("request_id", key=True),
        _int("at_ms"),
        *[_text(name) for name in ("actor", "reason", "transfer_id")],
    )
