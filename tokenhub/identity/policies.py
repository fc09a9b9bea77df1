"""The policy texts of organisations: versions are inserted, never changed; the newest counts."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from tokenhub.db import revision
from tokenhub.identity.tables import policies
from tokenhub.kernel.ids import new_id


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One text in force from its creation to the next version's."""

    id: str
    version: int
    """0 = the default set, which stands in no table."""
    text: str
    note: str
    actor: str
    created_at_ms: int


def versions(connection: Connection, org_id: str, *, limit: int = 50) -> list[PolicyVersion]:
    """The newest texts first."""
    rows = connection.execute(
        select(policies).where(policies.c.org_id == org_id).order_by(policies.c.version.desc()).limit(limit)
    )
    return [
        PolicyVersion(row.id, row.version, row.text, row.note, row.actor, row.created_at_ms) for row in rows
    ]


def apply(
    connection: Connection, org_id: str, text: str, *, note: str, actor: str, at_ms: int
) -> PolicyVersion:
    """Put a text in force; two at the same time clash on the version's number (IntegrityError)."""
    last = connection.execute(
        select(func.coalesce(func.max(policies.c.version), 0)).where(policies.c.org_id == org_id)
    ).scalar_one()
    made = PolicyVersion(new_id("policy"), int(last) + 1, text, note, actor, at_ms)
    connection.execute(
        insert(policies).values(
            id=made.id,
            org_id=org_id,
            version=made.version,
            text=text,
            note=note,
            actor=actor,
            created_at_ms=at_ms,
        )
    )
    revision.bump_authority(connection)
    return made
