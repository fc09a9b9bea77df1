"""Tables of identity, all in the hub database. Nobody else imports this module."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, String, Table, Text, UniqueConstraint

from tokenhub.db.metadata import hub_metadata

organizations = Table(
    "organizations",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("created_at_ms", BigInteger, nullable=False),
)

teams = Table(
    "teams",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)

projects = Table(
    "projects",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("team_id", String, ForeignKey("teams.id")),
    Column("name", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)

users = Table(
    "users",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("email", String),
    Column("role", String, nullable=False),
    Column("team_id", String, ForeignKey("teams.id")),  # the team whose limits the user's own keys count on
    Column("created_at_ms", BigInteger, nullable=False),
    Column("disabled_at_ms", BigInteger),
    UniqueConstraint("org_id", "name"),
)

service_accounts = Table(
    "service_accounts",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("team_id", String, ForeignKey("teams.id")),
    Column("project_id", String, ForeignKey("projects.id")),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("disabled_at_ms", BigInteger),
    UniqueConstraint("org_id", "name"),
)

memberships = Table(
    "memberships",
    hub_metadata,
    Column("team_id", String, ForeignKey("teams.id"), primary_key=True),
    Column("user_id", String, ForeignKey("users.id"), primary_key=True),
    Column("created_at_ms", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("team_id", String, ForeignKey("teams.id")),
    Column("project_id", String, ForeignKey("projects.id")),
    Column("user_id", String, ForeignKey("users.id")),
    Column("service_account_id", String, ForeignKey("service_accounts.id")),
    Column("name", String, nullable=False),
    Column("scopes", Text, nullable=False),  # JSON list
    Column("models", Text),  # JSON list; null = every model
    Column("app", String, nullable=False),
    Column("parent_key_id", String, ForeignKey("api_keys.id")),
    Column("grant_id", String),  # set = an agent calls, within this grant
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("revoked_at_ms", BigInteger),
    Index("ix_api_keys_org_id_id", "org_id", "id"),
    Index("ix_api_keys_user_id", "user_id"),
    Index("ix_api_keys_parent_key_id", "parent_key_id"),
)

key_secrets = Table(
    "key_secrets",
    hub_metadata,
    Column("hash", String(64), primary_key=True, info={"secret": True}),  # sha256, hexadecimal
    Column("key_id", String, ForeignKey("api_keys.id"), nullable=False, index=True),
    Column("prefix", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),  # set on the old secret by a rotation
)

login_tokens = Table(
    "login_tokens",
    hub_metadata,
    Column("hash", String(64), primary_key=True),
    Column("user_id", String, ForeignKey("users.id"), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("used_at_ms", BigInteger),
)

console_sessions = Table(
    "console_sessions",
    hub_metadata,
    Column("hash", String(64), primary_key=True),  # sha256 of the cookie's token
    Column("id", String, nullable=False, unique=True),
    Column("key_id", String, ForeignKey("api_keys.id"), nullable=False, index=True),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
)

departments = Table(
    "departments",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("parent_id", String, ForeignKey("departments.id")),
    Column("name", String, nullable=False),
    Column("lead_id", String, ForeignKey("users.id")),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
)

department_members = Table(
    "department_members",
    hub_metadata,
    Column("department_id", String, ForeignKey("departments.id"), primary_key=True),
    Column("user_id", String, ForeignKey("users.id"), primary_key=True),
    Column("title", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Index("ix_department_members_user_id", "user_id"),
)

agents = Table(
    "agents",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("user_id", String, ForeignKey("users.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("user_id", "name"),
)

grants = Table(
    "grants",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("agent_id", String, ForeignKey("agents.id"), nullable=False),
    Column("user_id", String, ForeignKey("users.id"), nullable=False),
    Column("parent_id", String, ForeignKey("grants.id")),  # a run's scope lies within its agent's grant
    Column("fresh", Boolean, nullable=False),  # a person opened it: it knows nothing of the grant above
    Column("commands", Text, nullable=False),  # JSON list of names and patterns such as task.*
    Column("effects", Text, nullable=False),  # JSON list
    Column("resources", Text),  # JSON list of ids; null = every one
    Column("vouched", Text, nullable=False),  # JSON list of values that the person gave
    Column("request", Text, nullable=False, server_default=""),  # the person's own words
    Column("cost_max", BigInteger),  # null = without end
    Column("cost_used", BigInteger, nullable=False),
    Column("note", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    Column("tainted_at_ms", BigInteger),  # since then it has read what others wrote
    Column("narrowed", Text),  # JSON object: skill in use -> the commands that it leaves
    Index("ix_grants_org_id_id", "org_id", "id"),
    Index("ix_grants_parent_id", "parent_id"),
)

stops = Table(
    "stops",
    hub_metadata,
    Column("org_id", String, ForeignKey("organizations.id"), primary_key=True),
    Column("subject", String, primary_key=True),  # `agents` = every one, or an agent's, user's or grant's id
    Column("actor", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

policies = Table(
    "policies",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("text", Text, nullable=False),  # Cedar
    Column("note", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("org_id", "version"),
)
