"""Statements of skills: versions by digest, the allow-list, and what of it a caller sees."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, or_, select, update

from tokenhub.db.upsert import insert_for
from tokenhub.identity.types import Principal
from tokenhub.kernel.ids import new_id
from tokenhub.work.skills.bundle import Bundle, digest_of, of
from tokenhub.work.skills.errors import BadSkill, SkillChanged, SkillNotFound
from tokenhub.work.skills.tables import skill_blobs, skill_files, skill_versions, skills


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill of an organisation, as it is now."""

    id: str
    name: str
    digest: str
    description: str
    owner_id: str
    state: str
    """allowed | proposed | denied | changed (the bytes are not those that were decided on)."""
    decided_by: str | None
    reason: str
    allowed_tools: tuple[str, ...] | None
    license: str
    compatibility: str
    size_bytes: int
    created_at_ms: int
    updated_at_ms: int

    @property
    def allowed(self) -> bool:
        """True if an administrator allowed exactly these bytes."""
        return self.state == "allowed"


class File(NamedTuple):
    """A file of a version."""

    path: str
    sha256: str
    size_bytes: int


def find(connection: Connection, principal: Principal, named: str) -> Skill:
    """By id or name, among those that the caller sees. Raises: SkillNotFound."""
    query = _visible(principal).where(or_(skills.c.id == named, skills.c.name == named))
    rows = connection.execute(query.order_by(skills.c.id != named)).all()
    if not rows:
        raise SkillNotFound(f"No skill {named!r}.", param="skill", hint="List them with `hub skill list`.")
    return _skill(rows[0])


def list_skills(
    connection: Connection, principal: Principal, *, match: str, after: str | None, limit: int
) -> list[Skill]:
    """At most `limit + 1` that the caller sees, by name."""
    query = _visible(principal).order_by(skills.c.name).limit(limit + 1)
    if match:
        words = skills.c.name.icontains(match, autoescape=True)
        query = query.where(or_(words, skill_versions.c.description.icontains(match, autoescape=True)))
    if after is not None:
        query = query.where(skills.c.name > after)
    return [_skill(row) for row in connection.execute(query)]


def keep_version(connection: Connection, org_id: str, bundle: Bundle, *, at_ms: int) -> None:
    """Write the bytes, by their digests; harmless if they are there."""
    document = bundle.document
    tools = None if document.allowed_tools is None else json.dumps(document.allowed_tools)
    version = {
        "org_id": org_id,
        "digest": bundle.digest,
        "name": document.name,
        "description": document.description,
        "license": document.license,
        "compatibility": document.compatibility,
        "allowed_tools": tools,
        "size_bytes": bundle.size_bytes,
        "created_at_ms": at_ms,
    }
    connection.execute(insert_for(connection, skill_versions).values(version).on_conflict_do_nothing())
    for path, data in sorted(bundle.files.items()):
        sha256 = hashlib.sha256(data).hexdigest()
        blob = {"org_id": org_id, "sha256": sha256, "data": data}
        connection.execute(insert_for(connection, skill_blobs).values(blob).on_conflict_do_nothing())
        line = {
            "org_id": org_id,
            "digest": bundle.digest,
            "path": path,
            "sha256": sha256,
            "size_bytes": len(data),
        }
        connection.execute(insert_for(connection, skill_files).values(line).on_conflict_do_nothing())


def named(connection: Connection, org_id: str, name: str) -> Row[Any] | None:
    """The row of this name, also one that was removed or that the caller does not see."""
    query = select(skills).where(skills.c.org_id == org_id, skills.c.name == name)
    return connection.execute(query).one_or_none()


def propose(connection: Connection, principal: Principal, bundle: Bundle, *, at_ms: int) -> str:
    """Make these bytes the newest of the skill of their name; returns its id. What was allowed stays so only if it is
    the same bytes."""
    row = named(connection, principal.org_id, bundle.document.name)
    if row is not None:
        values = {"digest": bundle.digest, "updated_at_ms": at_ms, "removed_at_ms": None}
        if row.removed_at_ms is not None:
            values |= {"owner_id": principal.actor, "state": "proposed", "decided_digest": None, "reason": ""}
        connection.execute(update(skills).where(skills.c.id == row.id).values(**values))
        return str(row.id)
    skill_id = new_id("skill")
    connection.execute(
        insert(skills).values(
            id=skill_id,
            org_id=principal.org_id,
            name=bundle.document.name,
            digest=bundle.digest,
            owner_id=principal.actor,
            state="proposed",
            reason="",
            created_at_ms=at_ms,
            updated_at_ms=at_ms,
        )
    )
    return skill_id


def decide(connection: Connection, skill: Skill, values: dict[str, Any]) -> None:
    """Write what an administrator decided of the bytes that it has now."""
    connection.execute(
        update(skills).where(skills.c.id == skill.id).values(decided_digest=skill.digest, **values)
    )


def remove(connection: Connection, skill: Skill, *, at_ms: int) -> None:
    """Put it away; its bytes stay for runs that had it."""
    connection.execute(update(skills).where(skills.c.id == skill.id).values(removed_at_ms=at_ms))


def files_of(connection: Connection, org_id: str, digest: str) -> list[File]:
    """The files of a version by path. Raises: SkillChanged if they are not those of the digest."""
    query = (
        select(skill_files.c.path, skill_files.c.sha256, skill_files.c.size_bytes)
        .where(skill_files.c.org_id == org_id, skill_files.c.digest == digest)
        .order_by(skill_files.c.path)
    )
    found = [File(*row) for row in connection.execute(query)]
    if digest_of({one.path: (one.sha256, one.size_bytes) for one in found}) != digest:
        raise _changed()
    return found


def content(connection: Connection, org_id: str, file: File) -> bytes:
    """The bytes of one file. Raises: SkillChanged if they are not those that were added."""
    query = select(skill_blobs.c.data).where(
        skill_blobs.c.org_id == org_id, skill_blobs.c.sha256 == file.sha256
    )
    data = bytes(connection.execute(query).scalar_one_or_none() or b"")
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise _changed()
    return data


def bundle_of(connection: Connection, org_id: str, digest: str) -> Bundle:
    """All of a version, every byte checked. Raises: SkillChanged."""
    found = {file.path: content(connection, org_id, file) for file in files_of(connection, org_id, digest)}
    try:
        return of(found)
    except (BadSkill, KeyError) as error:
        raise _changed() from error


def _changed() -> SkillChanged:
    return SkillChanged(
        "What is stored of this skill is not what was added: a byte has changed.",
        hint="Add it again, and let an administrator allow it: `hub skill add`.",
    )


def _visible(principal: Principal) -> Any:
    """An agent sees what is allowed; a person also what they added; an administrator all of the organisation."""
    query = (
        select(
            skills,
            skill_versions.c.description,
            skill_versions.c.license,
            skill_versions.c.compatibility,
            skill_versions.c.allowed_tools,
            skill_versions.c.size_bytes,
        )
        .join(
            skill_versions,
            and_(skill_versions.c.org_id == skills.c.org_id, skill_versions.c.digest == skills.c.digest),
        )
        .where(skills.c.org_id == principal.org_id, skills.c.removed_at_ms.is_(None))
    )
    allowed: ColumnElement[bool] = and_(
        skills.c.state == "allowed", skills.c.decided_digest == skills.c.digest
    )
    if principal.grant_id is not None:
        return query.where(allowed)
    if principal.allows("admin"):
        return query
    return query.where(or_(allowed, skills.c.owner_id == principal.actor))


def _skill(row: Row[Any]) -> Skill:
    decided = row.decided_digest is not None
    return Skill(
        id=row.id,
        name=row.name,
        digest=row.digest,
        description=row.description,
        owner_id=row.owner_id,
        state=row.state if not decided or row.decided_digest == row.digest else "changed",
        decided_by=row.decided_by,
        reason=row.reason,
        allowed_tools=None if row.allowed_tools is None else tuple(json.loads(row.allowed_tools)),
        license=row.license,
        compatibility=row.compatibility,
        size_bytes=row.size_bytes,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
    )
