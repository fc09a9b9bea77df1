"""`hub skill add|list|show|allow|deny|remove|verify`: which skills an organisation's agents may work by."""

import base64
import binascii
from dataclasses import replace

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.declare import Folder
from tokenhub.commands.paging import PageArgs
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import Conflict, InvalidRequest, PermissionDenied
from tokenhub.work.skills import store
from tokenhub.work.skills.bundle import ARCHIVE_MAX, read
from tokenhub.work.skills.scan import scan
from tokenhub.work.skills.store import Skill
from tokenhub.work.skills.views import SkillList, SkillView, brief, view

VERBS: list[Command] = []
DIGEST_SHOWN_MIN = 12


class SkillAdd(Model):
    """A skill."""

    folder: Folder = Field(
        max_length=ARCHIVE_MAX * 4 // 3 + 16,
        description="A zip of the skill's folder in base64; on the command line the path of the folder or the zip.",
    )


class SkillNamed(Model):
    """One skill."""

    skill: str = Field(max_length=200, description="Name or id of the skill.")


class SkillListArgs(PageArgs):
    """Which skills."""

    match: str = Field(
        default="", max_length=200, description="Only those whose name or description has this."
    )


class SkillAllow(SkillNamed):
    """Which bytes."""

    digest: str = Field(
        min_length=DIGEST_SHOWN_MIN,
        max_length=64,
        pattern=r"^[0-9a-f]+$",
        description="Digest of what you looked at, or its first 12 characters: `hub skill show` tells it.",
    )


class SkillDeny(SkillNamed):
    """Why not."""

    reason: str = Field(default="", max_length=500, description="What its owner should know.")


class SkillVerified(Model):
    """What a check of the stored bytes found."""

    name: str
    digest: str
    sound: bool = Field(description="Every byte is as it was added.")
    state: str
    problem: str


class SkillRemoved(Model):
    """What was put away."""

    id: str
    name: str


@command(
    "skill.add",
    effect="write",
    resource="",
    permission="work",
    cost=2,
    summary="Bring a skill into the organisation; an administrator then allows it.",
    positional=("folder",),
    examples=[
        Example("hub skill add ./weekly-report", "A folder with a SKILL.md; nothing of it is run"),
        Example("hub skill add weekly-report.zip", "The same as a zip"),
    ],
)
def skill_add(ctx: Context, args: SkillAdd) -> SkillView:
    """A skill of the same name gets these bytes, and is refused to agents until they are allowed."""
    bundle = read(_archive(args.folder))
    name = bundle.document.name
    row = store.named(ctx.hub, ctx.principal.org_id, name)
    mine = row is None or row.removed_at_ms is not None or row.owner_id == ctx.principal.actor
    if not mine and not ctx.principal.allows("admin"):
        raise PermissionDenied(
            f"Another person's skill is called {name!r}; only they or an administrator replace it.",
            param="folder",
        )
    store.keep_version(ctx.hub, ctx.principal.org_id, bundle, at_ms=ctx.now_ms)
    skill_id = store.propose(ctx.hub, ctx.principal, bundle, at_ms=ctx.now_ms)
    person = replace(ctx.principal, grant_id=None)  # an agent sees what it added itself in this answer only
    return _view(ctx, store.find(ctx.hub, person, skill_id))


@command(
    "skill.list",
    effect="read",
    resource="",
    permission="read",
    summary="List skills: what each is for.",
    columns=("name", "state", "description"),
    examples=[
        Example("hub skill list", "Those that are allowed; also your own and, for an administrator, all")
    ],
)
def skill_list(ctx: Context, args: SkillListArgs) -> SkillList:
    """By name. An agent is shown those that are allowed; `hub skill use` then gives the words of one."""
    found = store.list_skills(ctx.hub, ctx.principal, match=args.match, after=args.after, limit=args.limit)
    shown = page(found, limit=args.limit, key=lambda skill: skill.name)
    return SkillList(items=[brief(skill) for skill in shown.items], next_cursor=shown.next_cursor)


@command(
    "skill.show",
    effect="read",
    resource="skill",
    permission="read",
    summary="Show a skill, its files, and what to look at before it is allowed.",
    positional=("skill",),
    examples=[
        Example("hub skill show weekly-report", "Scripts, addresses, hidden characters, commands asked for")
    ],
)
def skill_show(ctx: Context, args: SkillNamed) -> SkillView:
    """The report is made by reading; nothing is run."""
    skill = store.find(ctx.hub, ctx.principal, args.skill)
    return _view(ctx, skill)


@command(
    "skill.allow",
    effect="write",
    resource="skill",
    sinks=("skill", "digest"),
    permission="admin",
    summary="Let agents of the organisation work by a skill, exactly as it is.",
    positional=("skill",),
    examples=[
        Example("hub skill allow weekly-report --digest 0f3a9c51e2b7", "Of the bytes that you looked at")
    ],
)
def skill_allow(ctx: Context, args: SkillAllow) -> SkillView:
    """By an administrator. If a byte changes afterwards, it is refused until it is allowed again."""
    skill = store.find(ctx.hub, ctx.principal, args.skill)
    if not skill.digest.startswith(args.digest):
        raise Conflict(
            f"The skill {skill.name!r} has the digest {skill.digest[:DIGEST_SHOWN_MIN]}… now, not the one you name.",
            code="skill_changed",
            param="digest",
            hint=f"Look at it again: `hub skill show {skill.name}`.",
        )
    store.bundle_of(ctx.hub, ctx.principal.org_id, skill.digest)
    _decide(ctx, skill, "allowed", "")
    return _view(ctx, store.find(ctx.hub, ctx.principal, skill.id))


@command(
    "skill.deny",
    effect="write",
    resource="skill",
    sinks=("skill",),
    permission="admin",
    summary="Refuse a skill to agents, before their next command.",
    positional=("skill",),
    examples=[Example("hub skill deny weekly-report --reason 'asks for passwords'", "Its owner sees why")],
)
def skill_deny(ctx: Context, args: SkillDeny) -> SkillView:
    """By an administrator."""
    skill = store.find(ctx.hub, ctx.principal, args.skill)
    _decide(ctx, skill, "denied", args.reason)
    return _view(ctx, store.find(ctx.hub, ctx.principal, skill.id))


@command(
    "skill.remove",
    effect="write",
    resource="skill",
    sinks=("skill",),
    permission="work",
    summary="Put a skill away.",
    positional=("skill",),
    examples=[Example("hub skill remove weekly-report", "`hub audit undo` brings it back")],
)
def skill_remove(ctx: Context, args: SkillNamed) -> SkillRemoved:
    """By who added it, or an administrator."""
    skill = store.find(ctx.hub, ctx.principal, args.skill)
    if skill.owner_id != ctx.principal.actor and not ctx.principal.allows("admin"):
        raise PermissionDenied("Only who added it, or an administrator, puts it away.", param="skill")
    store.remove(ctx.hub, skill, at_ms=ctx.now_ms)
    return SkillRemoved(id=skill.id, name=skill.name)


@command(
    "skill.verify",
    effect="read",
    resource="skill",
    permission="read",
    summary="Check that every byte of a skill is as it was added.",
    positional=("skill",),
    examples=[Example("hub skill verify weekly-report", "Reads and hashes all of its files")],
)
def skill_verify(ctx: Context, args: SkillNamed) -> SkillVerified:
    """The same check runs whenever a skill is used."""
    skill = store.find(ctx.hub, ctx.principal, args.skill)
    problem = ""
    try:
        bundle = store.bundle_of(ctx.hub, ctx.principal.org_id, skill.digest)
        told = (bundle.document.name, bundle.document.description, bundle.document.allowed_tools)
        if told != (skill.name, skill.description, skill.allowed_tools):
            problem = "What lists tell of it is not what its SKILL.md says."
    except Conflict as error:
        problem = error.message
    return SkillVerified(
        name=skill.name, digest=skill.digest, sound=not problem, state=skill.state, problem=problem
    )


@resolver("skill")
def _skill(connection: Connection, principal: Principal, named: str) -> Found:
    skill = store.find(connection, principal, named)
    return Found(skill.id, skill.owner_id, skill.name)


def _decide(ctx: Context, skill: Skill, state: str, reason: str) -> None:
    store.decide(
        ctx.hub,
        skill,
        {"state": state, "decided_by": ctx.principal.actor, "reason": reason, "decided_at_ms": ctx.now_ms},
    )


def _view(ctx: Context, skill: Skill) -> SkillView:
    """With the report, and what comes next."""
    bundle = store.bundle_of(ctx.hub, ctx.principal.org_id, skill.digest)
    files = store.files_of(ctx.hub, ctx.principal.org_id, skill.digest)
    if skill.state in ("proposed", "changed"):
        ctx.next = f"hub skill allow {skill.name} --digest {skill.digest[:DIGEST_SHOWN_MIN]}"
    return view(ctx, skill, files, scan(bundle, [declared.name for declared in ctx.registry]))


def _archive(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest("`folder` is not base64.", param="folder") from error
