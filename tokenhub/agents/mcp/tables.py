"""Outside MCP servers of an organisation, their tools as they were last seen and as they were allowed, and calls."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table, Text, UniqueConstraint

from tokenhub.db.metadata import hub_metadata

servers = Table(
    "mcp_servers",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("url", String, nullable=False),  # empty = a command
    Column("command", Text, nullable=False),  # JSON list of words
    Column("token", String, nullable=False, info={"secret": True}),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("digest", String, nullable=False),  # of the tool list as last seen; empty = never
    Column("problem", String, nullable=False),  # why the last contact failed
    Column("seen_at_ms", BigInteger),
    Column("creator_id", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)

tools = Table(
    "mcp_tools",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("server_id", String, ForeignKey("mcp_servers.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("schema", Text, nullable=False),  # JSON, without references and patterns
    Column("hints", Text, nullable=False),  # JSON: the server's own annotations
    Column("problem", String, nullable=False),  # why it cannot be a command
    Column(
        "digest", String, nullable=False
    ),  # of name, description, schema, annotations as the server gave them
    Column("allowed_digest", String, nullable=False),  # what an admin said yes to; empty = nothing
    Column("effect", String, nullable=False),  # read | irreversible, as declared by an admin
    Column("sinks", Text, nullable=False),  # JSON list; `*` = every argument
    Column("present", BigInteger, nullable=False),  # 1 = on the list as last seen
    UniqueConstraint("server_id", "name"),
)

calls = Table(
    "mcp_calls",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, nullable=False),
    Column("server_id", String, nullable=False),
    Column("tool", String, nullable=False),
    Column("digest", String, nullable=False),  # of the tool as it was allowed when the call was made
    Column("effect", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("grant_id", String),
    Column("arguments", Text, nullable=False),  # JSON
    Column("state", String, nullable=False),  # queued | sent | done | failed | unknown | withdrawn
    Column("result", Text, nullable=False),  # JSON; what the server answered
    Column("error", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("sent_at_ms", BigInteger),
    Column("ended_at_ms", BigInteger),
    Index("ix_mcp_calls_org_id_id", "org_id", "id"),
    Index("ix_mcp_calls_state", "state"),
)
