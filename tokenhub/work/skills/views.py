"""What commands of skills answer."""

from pydantic import Field

from tokenhub.commands import Context, Model
from tokenhub.commands.paging import PageResult
from tokenhub.work.people import names_of
from tokenhub.work.skills.scan import Report
from tokenhub.work.skills.store import File, Skill


class SkillBrief(Model):
    """Enough to choose by."""

    name: str
    description: str
    state: str = Field(
        description="`allowed`, `proposed`, `denied`, or `changed`: the bytes are not those that were decided on."
    )
    id: str


class SkillList(PageResult):
    """A page of skills."""

    items: list[SkillBrief]


class SkillFile(Model):
    """A file of a skill."""

    path: str
    size_bytes: int
    sha256: str


class SkillReport(Model):
    """What a reading of the files found. It is no verdict: a skill without notes may still be a bad one."""

    scripts: list[str]
    binaries: list[str] = Field(description="Files that are no text.")
    urls: list[str]
    commands: list[str] | None = Field(
        description="Commands to which it narrows a run; null = it does not narrow, the grant alone bounds it."
    )
    unknown_tools: list[str] = Field(description="Of `allowed-tools`, what this hub does not have.")
    ignored: list[str] = Field(description="Keys of its frontmatter that have no effect here.")
    notes: list[str]


class SkillView(Model):
    """A skill with the report on it."""

    id: str
    name: str
    digest: str = Field(description="sha256 over all its files: what an administrator allows.")
    state: str
    description: str
    license: str
    compatibility: str
    allowed_tools: list[str] | None
    owner: str
    decided_by: str
    reason: str
    size_bytes: int
    files: list[SkillFile]
    report: SkillReport


def brief(skill: Skill) -> SkillBrief:
    """Name and description."""
    return SkillBrief(name=skill.name, description=skill.description, state=skill.state, id=skill.id)


def view(ctx: Context, skill: Skill, files: list[File], report: Report) -> SkillView:
    """All but the content."""
    people = names_of(ctx, [one for one in (skill.owner_id, skill.decided_by) if one])
    return SkillView(
        id=skill.id,
        name=skill.name,
        digest=skill.digest,
        state=skill.state,
        description=skill.description,
        license=skill.license,
        compatibility=skill.compatibility,
        allowed_tools=None if skill.allowed_tools is None else list(skill.allowed_tools),
        owner=people[skill.owner_id],
        decided_by=people[skill.decided_by] if skill.decided_by else "",
        reason=skill.reason,
        size_bytes=skill.size_bytes,
        files=[SkillFile(path=one.path, size_bytes=one.size_bytes, sha256=one.sha256) for one in files],
        report=SkillReport(
            scripts=list(report.scripts),
            binaries=list(report.binaries),
            urls=list(report.urls),
            commands=None if report.commands is None else list(report.commands),
            unknown_tools=list(report.unknown_tools),
            ignored=list(report.ignored),
            notes=list(report.notes),
        ),
    )
