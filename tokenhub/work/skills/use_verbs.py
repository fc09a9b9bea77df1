"""`hub skill use|read|run|result|cancel`: how an agent, or a person, works by a skill that is allowed.

First its name and description (`skill.list`), then its words (`use`), then single files (`read`), then a script (`run`).
Whoever is told any of this is bound by its `allowed-tools` from then on: an agent's grant covers nothing else.
"""

import base64
import json

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.authority import Ask
from tokenhub.commands.declare import Content
from tokenhub.commands.resources import Found, resolve, resolver
from tokenhub.identity import grants
from tokenhub.identity.types import Principal
from tokenhub.jobs import store as jobs
from tokenhub.kernel.errors import Conflict, InvalidRequest, PayloadTooLarge, PermissionDenied
from tokenhub.kernel.ids import new_id
from tokenhub.work.files import FileGetArgs, file_get
from tokenhub.work.skills import run_store, store
from tokenhub.work.skills.errors import SkillNotAllowed, SkillNotFound
from tokenhub.work.skills.jobs import RUN
from tokenhub.work.skills.store import Skill
from tokenhub.work.skills.tools import mapped
from tokenhub.work.skills.verbs import SkillNamed
from tokenhub.work.skills.views import SkillFile

VERBS: list[Command] = []
WAITING_MAX = 20
STDIN_MAX = 1024 * 1024
INPUTS_MAX_BYTES = 16 * 1024 * 1024
READ_MAX = 100_000


class SkillWords(Model):
    """What a skill says."""

    name: str
    digest: str
    body: str = Field(description="What to do, as its author wrote it and an administrator allowed it.")
    files: list[SkillFile] = Field(description="Read one with `skill.read`, run a script with `skill.run`.")
    commands: list[str] | None = Field(
        description="What a run that uses it may call from now on, within its grant; null = whatever its grant covers."
    )
    unknown_tools: list[str] = Field(description="Of `allowed-tools`, what this hub does not have.")


class SkillRead(SkillNamed):
    """Which file."""

    path: str = Field(max_length=200, description="Path of a file of the skill.")


class SkillContent(Model):
    """What is in a file: text, or base64 of what is no text."""

    path: str
    sha256: str
    text: str | None
    content_base64: str | None
    cut: bool = Field(description="There is more than is shown.")


class SkillRun(SkillNamed):
    """What to run."""

    script: str = Field(
        max_length=200, description="Path of the script in the skill, such as `scripts/sum.py`."
    )
    arguments: list[str] = Field(default=[], max_length=50, description="Its arguments.")
    stdin: Content = Field(default="", max_length=STDIN_MAX, description="Its standard input.")
    files: list[str] = Field(
        default=[], max_length=20, description="Files of the drive (names, ids) to lie in its work folder."
    )
    seconds: int = Field(default=30, ge=1, le=300, description="How long it may run.")


class SkillRunNamed(Model):
    """One run."""

    run: str = Field(max_length=64, description="Id of the run.")


class SkillRunStarted(Model):
    """A run that waits for a worker."""

    id: str
    skill: str
    script: str
    state: str


class SkillResultArgs(SkillRunNamed):
    """What of it."""

    file: str = Field(
        default="", max_length=200, description="Path of a file that it left, to get its content."
    )


class SkillOutput(Model):
    """A file that a script left."""

    path: str
    size_bytes: int


class SkillResult(Model):
    """What came of a run. All of it is the script's word."""

    id: str
    skill: str
    script: str
    state: str = Field(description="`queued`, `done`, `failed` (it could not run), `cancelled`.")
    exit_code: int | None
    stopped: str = Field(description="Which limit ended it, or why it could not run.")
    stdout: str
    stderr: str
    files: list[SkillOutput]
    notes: list[str]
    took_ms: int | None
    content_base64: str | None


@command(
    "skill.use",
    effect="read",
    resource="skill",
    permission="read",
    summary="Get the words of a skill, to work by them.",
    positional=("skill",),
    examples=[Example("hub skill use weekly-report", "An agent's grant is narrowed to the tools it lists")],
)
def skill_use(ctx: Context, args: SkillNamed) -> SkillWords:
    """Only of a skill that is allowed, byte for byte."""
    skill = _allowed(ctx, args.skill)
    bundle = store.bundle_of(ctx.hub, ctx.principal.org_id, skill.digest)
    patterns, unknown = _bind(ctx, skill)
    files = store.files_of(ctx.hub, ctx.principal.org_id, skill.digest)
    return SkillWords(
        name=skill.name,
        digest=skill.digest,
        body=bundle.document.body,
        files=[SkillFile(path=one.path, size_bytes=one.size_bytes, sha256=one.sha256) for one in files],
        commands=patterns,
        unknown_tools=unknown,
    )


@command(
    "skill.read",
    effect="read",
    resource="skill",
    permission="read",
    summary="Read one file of a skill.",
    positional=("skill", "path"),
    examples=[
        Example("hub skill read weekly-report references/format.md", "Text as it is, other bytes in base64")
    ],
)
def skill_read(ctx: Context, args: SkillRead) -> SkillContent:
    """Only of a skill that is allowed; a person may also read one of their own, an administrator any."""
    skill = store.find(ctx.hub, ctx.principal, args.skill)
    files = store.files_of(ctx.hub, ctx.principal.org_id, skill.digest)
    found = next((file for file in files if file.path == args.path), None)
    if found is None:
        raise SkillNotFound(
            f"The skill {skill.name!r} has no file {args.path!r}.",
            param="path",
            hint=f"`hub skill show {skill.name}` lists them.",
        )
    data = store.content(ctx.hub, ctx.principal.org_id, found)
    _bind(ctx, skill)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        shown = base64.b64encode(data).decode()
        return SkillContent(path=found.path, sha256=found.sha256, text=None, content_base64=shown, cut=False)
    return SkillContent(
        path=found.path,
        sha256=found.sha256,
        text=text[:READ_MAX].replace("\x00", "\ufffd"),
        content_base64=None,
        cut=len(text) > READ_MAX,
    )


@command(
    "skill.run",
    effect="write",
    resource="skill",
    sinks=("skill",),
    undo="skill.cancel",
    permission="work",
    cost=5,
    summary="Run a script of a skill in a sandbox without network.",
    positional=("skill", "script", "arguments"),
    examples=[
        Example("hub skill run weekly-report scripts/sum.py 2026", "Then `hub skill result RUN`"),
        Example(
            "hub skill run weekly-report scripts/sum.py --file tasks.csv",
            "A file of the drive lies beside it",
        ),
    ],
)
def skill_run(ctx: Context, args: SkillRun) -> SkillRunStarted:
    """A worker runs it after this command: read-only system, private folders, limits on time, memory and output."""
    skill = _allowed(ctx, args.skill)
    files = store.files_of(ctx.hub, ctx.principal.org_id, skill.digest)
    if all(file.path != args.script for file in files):
        raise SkillNotFound(
            f"The skill {skill.name!r} has no file {args.script!r}.",
            param="script",
            hint=f"`hub skill show {skill.name}` lists its scripts.",
        )
    if run_store.waiting(ctx.hub, ctx.principal) >= WAITING_MAX:
        raise Conflict(f"{WAITING_MAX} runs of yours wait already; let them end.", code="too_many_runs")
    if any(len(one) > 4000 for one in args.arguments):
        raise InvalidRequest("An argument may have 4000 characters.", param="arguments")
    run_id = new_id("run")
    job = jobs.enqueue(ctx.hub, RUN, subject=run_id, arguments={"run": run_id})
    run_store.create(
        ctx.hub,
        {
            "id": run_id,
            "org_id": ctx.principal.org_id,
            "skill_id": skill.id,
            "digest": skill.digest,
            "user_id": ctx.principal.actor,
            "grant_id": ctx.principal.grant_id,
            "job_id": job.id,
            "script": args.script,
            "arguments": json.dumps(args.arguments),
            "stdin": args.stdin.encode(),
            "seconds": args.seconds,
            "created_at_ms": ctx.now_ms,
        },
        _inputs(ctx, args.files),
    )
    _bind(ctx, skill)
    ctx.inverse("skill.cancel", run=run_id)
    ctx.pending(next=f"hub skill result {run_id}")
    return SkillRunStarted(id=run_id, skill=skill.name, script=args.script, state="queued")


@command(
    "skill.result",
    effect="read",
    resource="skill-run:run",
    permission="read",
    trust="untrusted",
    summary="Get what came of a script.",
    positional=("run",),
    examples=[Example("hub skill result run_01…", "Also a file that it left: `--file out.csv`")],
)
def skill_result(ctx: Context, args: SkillResultArgs) -> SkillResult:
    """Of a run of one's own."""
    row = run_store.find(ctx.hub, ctx.principal, args.run)
    content = None
    if args.file:
        content = base64.b64encode(run_store.output(ctx.hub, row.id, args.file)).decode()
    if row.state == "queued":
        ctx.next = f"hub skill result {row.id}"
    return SkillResult(
        id=row.id,
        skill=row.name,
        script=row.script,
        state=row.state,
        exit_code=row.exit_code,
        stopped=row.stopped,
        stdout=_shown(row.stdout),
        stderr=_shown(row.stderr),
        files=[
            SkillOutput(path=one.path, size_bytes=one.size_bytes)
            for one in run_store.outputs(ctx.hub, row.id)
        ],
        notes=json.loads(row.notes),
        took_ms=row.took_ms,
        content_base64=content,
    )


@command(
    "skill.cancel",
    effect="write",
    resource="skill-run:run",
    sinks=("run",),
    permission="work",
    summary="Stop a script that has not ended.",
    positional=("run",),
    examples=[Example("hub skill cancel run_01…", "Harmless if it has ended")],
)
def skill_cancel(ctx: Context, args: SkillRunNamed) -> SkillRunStarted:
    """Of a run of one's own."""
    row = run_store.find(ctx.hub, ctx.principal, args.run)
    run_store.end(ctx.hub, row.id, "cancelled", why="Cancelled.", at_ms=ctx.now_ms)
    if jobs.get_job(ctx.hub, row.job_id).live:
        jobs.cancel(ctx.hub, row.job_id)
    state = run_store.find(ctx.hub, ctx.principal, args.run).state
    return SkillRunStarted(id=row.id, skill=row.name, script=row.script, state=state)


@resolver("skill-run")
def _run(connection: Connection, principal: Principal, named: str) -> Found:
    row = run_store.find(connection, principal, named)
    return Found(row.id, row.user_id)


def _allowed(ctx: Context, named: str) -> Skill:
    """The skill, if an administrator allowed what it is now. Raises: SkillNotFound, SkillNotAllowed."""
    skill = store.find(ctx.hub, ctx.principal, named)
    if not skill.allowed:
        words = {
            "denied": f"An administrator denied the skill {skill.name!r}",
            "changed": f"The skill {skill.name!r} was changed since it was decided on",
        }.get(skill.state, f"No administrator has allowed the skill {skill.name!r} yet")
        why = f" ({skill.reason})" if skill.reason and skill.state == "denied" else ""
        raise SkillNotAllowed(
            f"{words}{why}.",
            param="skill",
            hint=f"An administrator: `hub skill allow {skill.name} --digest {skill.digest[:12]}`.",
        )
    return skill


def _bind(ctx: Context, skill: Skill) -> tuple[list[str] | None, list[str]]:
    """Narrow the run to the skill's tools; the patterns (None = it names no tools), and the names nobody knows."""
    if skill.allowed_tools is None:
        return None, []
    tools = mapped(skill.allowed_tools, [declared.name for declared in ctx.registry])
    ctx.narrow(skill.name, tools.patterns)
    return list(tools.patterns), list(tools.unknown)


def _inputs(ctx: Context, named: list[str]) -> dict[str, bytes]:
    """Files of the drive by name, as they are now. Raises: FileNotFound, InvalidRequest, PayloadTooLarge, and
    PermissionDenied for one that the caller could not `file.get`."""
    found: dict[str, bytes] = {}
    for one in named:
        _check_readable(ctx, one)
        file = file_get(ctx, FileGetArgs(file=one))
        if file.name in found or file.name in (".", "..") or not file.name.isprintable():
            raise InvalidRequest(
                f"{file.name!r} cannot lie in the work folder: it is there already, or is no name of a file.",
                param="files",
            )
        found[file.name] = base64.b64decode(file.content_base64)
    if sum(map(len, found.values())) > INPUTS_MAX_BYTES:
        raise PayloadTooLarge(f"The files have more than {INPUTS_MAX_BYTES} bytes together.", param="files")
    return found


def _check_readable(ctx: Context, named: str) -> None:
    """What a script is given it may print, so whoever asks must be allowed to read it. Raises: PermissionDenied."""
    grant_id = ctx.principal.grant_id
    asked = Ask(
        ctx.registry.get("file.get"),
        ctx.principal,
        {"file": named},
        resolve(ctx.hub, ctx.principal, "file", named),
        lent=grants.chain(ctx.hub, grant_id) if grant_id is not None else (),
        vouched=True,
        at_ms=ctx.now_ms,
    )
    if ctx.view.decide(ctx.hub, asked).verdict != "allow":
        raise PermissionDenied(
            f"You may not `file.get` {named!r}, so no script gets it.",
            param="files",
            hint="See `hub policy why file.get`.",
        )


def _shown(data: bytes) -> str:
    return bytes(data).decode(errors="replace").replace("\x00", "\ufffd")
