"""Tables of skills, all in the hub database. Nobody else imports this module."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from tokenhub.db.metadata import hub_metadata

skills = Table(
    "skills",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("digest", String(64), nullable=False),  # of the version that it is now
    Column("owner_id", String, nullable=False),  # who added it
    Column("state", String, nullable=False),  # proposed | allowed | denied, of `decided_digest`
    Column("decided_digest", String(64)),
    Column("decided_by", String),
    Column("reason", String, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("decided_at_ms", BigInteger),
    Column("removed_at_ms", BigInteger),
    UniqueConstraint("org_id", "name"),
)

skill_versions = Table(
    "skill_versions",
    hub_metadata,
    Column("org_id", String, primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("name", String, nullable=False),
    Column("description", String, nullable=False),
    Column("license", String, nullable=False),
    Column("compatibility", String, nullable=False),
    Column("allowed_tools", Text),  # JSON list as written; null = it says nothing of tools
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)

skill_files = Table(
    "skill_files",
    hub_metadata,
    Column("org_id", String, primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("path", String, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

skill_blobs = Table(
    "skill_blobs",
    hub_metadata,
    Column("org_id", String, primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    info={"used_by": ("skill_files", "sha256")},  # an undo leaves it while another version has this content
)

skill_runs = Table(
    "skill_runs",
    hub_metadata,
    Column("id", String, primary_key=True),
    Column("org_id", String, ForeignKey("organizations.id"), nullable=False),
    Column("skill_id", String, ForeignKey("skills.id"), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("user_id", String, nullable=False),  # for whom
    Column("grant_id", String),  # set = an agent asked
    Column("job_id", String, nullable=False),
    Column("script", String, nullable=False),
    Column("arguments", Text, nullable=False),  # JSON list
    Column("stdin", LargeBinary, nullable=False),
    Column("seconds", BigInteger, nullable=False),
    Column("state", String, nullable=False),  # queued | done | failed | cancelled
    Column("exit_code", BigInteger),
    Column("stopped", String, nullable=False),  # which limit ended it, or why it could not run
    Column("stdout", LargeBinary, nullable=False),
    Column("stderr", LargeBinary, nullable=False),
    Column("notes", Text, nullable=False),  # JSON list
    Column("took_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    Index("ix_skill_runs_user_id_id", "user_id", "id"),
)

skill_run_files = Table(
    "skill_run_files",
    hub_metadata,
    Column("run_id", String, ForeignKey("skill_runs.id"), primary_key=True),
    Column("kind", String, primary_key=True),  # in | out
    Column("path", String, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
