"""Tables of deployments and providers. Nobody else imports this module."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table, Text

from tokenhub.db.metadata import hub_metadata

providers = Table(
    "providers",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("base_url", String, nullable=False),
    Column("api_key", Text, nullable=False, info={"secret": True}),
    Column("connect_timeout_ms", BigInteger, nullable=False),
    Column("first_token_timeout_ms", BigInteger, nullable=False),
    Column("idle_timeout_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

deployments = Table(
    "deployments",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("model", String, nullable=False),  # public name
    Column("entry", String, nullable=False),  # catalogue entry of an own engine; "" for a provider's model
    Column("provider_id", String, ForeignKey("providers.id")),
    Column("upstream_model", String, nullable=False),
    Column("adapter", String, nullable=False),
    Column("kinds", Text, nullable=False),  # JSON list
    Column("context_tokens", BigInteger, nullable=False),
    Column("slots", BigInteger, nullable=False),
    Column("desired", String, nullable=False),  # running | stopped
    Column("status", String, nullable=False),  # pending | fetching | starting | running | failing | stopped
    Column("message", Text, nullable=False),
    Column("base_url", String, nullable=False),  # of the running engine; "" while there is none
    Column(
        "api_key", Text, nullable=False, info={"secret": True}
    ),  # of the running engine, fresh at each start
    Column("engine_boot", String, nullable=False),
    Column("engine_pid", BigInteger, nullable=False),
    Column("restarts", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    Index("ix_deployments_model", "model"),
)
