"""Verbs of the catalogue: `hub model list|show|pull|add` (`remove` knows deployments: see `deployments/verbs.py`), and `hub job list|show|cancel`."""

from pathlib import Path

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.commands import Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.identity.types import Principal
from tokenhub.jobs import store as job_store
from tokenhub.jobs.types import Job
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.maas.catalog import store
from tokenhub.maas.catalog.adding import check_file, model_name
from tokenhub.maas.catalog.jobs import ADD, PULL
from tokenhub.maas.catalog.types import ModelEntry


class ModelView(Model):
    """One entry of the catalogue."""

    name: str
    title: str
    kinds: list[str]
    size_mb: int
    state: str = Field(description="`here` (verified on this machine), `fetching` or `absent`.")
    licence: str
    context_tokens: int
    sha256: str
    sources: list[str]
    template: str = Field(description="Chat template: `own` (in the file), or the name of the fallback.")
    note: str


class ModelList(Model):
    """The catalogue."""

    items: list[ModelView]


class JobView(Model):
    """Work that goes on in the background."""

    id: str
    kind: str
    subject: str
    state: str = Field(description="`queued`, `running`, `succeeded`, `failed` or `cancelled`.")
    step: str
    done: int
    total: int = Field(description="In the job's own unit (bytes for downloads); 0 = unknown.")
    error: str
    result: dict[str, str]
    created_at_ms: int
    finished_at_ms: int | None


class JobList(PageResult):
    """The newest jobs."""

    items: list[JobView]


class NoArgs(Model):
    """No arguments."""


class NameArgs(Model):
    name: str = Field(description="A model of the catalogue.")


class AddArgs(Model):
    path: str = Field(description="A GGUF file on the hub's machine.")
    name: str = Field(default="", description="Its public name; empty = the file's name.", max_length=128)


class JobListArgs(PageArgs):
    kind: str = Field(default="", description="Only this kind, such as `model.pull`.")


class JobArgs(Model):
    job: str = Field(description="The job's id.")


@command(
    "model.list",
    effect="read",
    resource="",
    permission="read",
    summary="List the catalogue of models.",
    columns=("name", "kinds", "size_mb", "state", "licence", "context_tokens"),
    examples=[Example("hub model list", "What can be deployed")],
)
def model_list(ctx: Context, args: NoArgs) -> ModelList:
    """Built-in entries first, then those that were added here."""
    live = {job.subject for job in job_store.list_jobs(ctx.hub, kind=PULL) if job.live}
    return ModelList(items=[_view(ctx, entry, live) for entry in store.list_entries(ctx.hub)])


@command(
    "model.show",
    effect="read",
    resource="model:name",
    permission="read",
    summary="Show one model of the catalogue.",
    positional=("name",),
    examples=[Example("hub model show smollm2-135m-instruct", "Licence, hash, sources")],
)
def model_show(ctx: Context, args: NameArgs) -> ModelView:
    """Everything the catalogue knows about it."""
    live = {job.subject for job in job_store.list_jobs(ctx.hub, kind=PULL) if job.live}
    return _view(ctx, store.get_entry(ctx.hub, args.name), live)


@command(
    "model.pull",
    effect="write",
    resource="model:name",
    sinks=("name",),
    undo="job.cancel",
    permission="admin",
    trust="untrusted",
    summary="Fetch a model from the first source that answers.",
    positional=("name",),
    examples=[Example("hub model pull smollm2-135m-instruct", "Fetch and verify the tiny model")],
)
def model_pull(ctx: Context, args: NameArgs) -> JobView:
    """The bytes are verified against the official sha256; a break is resumed by pulling again."""
    entry = store.get_entry(ctx.hub, args.name)
    job = job_store.enqueue(ctx.hub, PULL, subject=entry.name, arguments={"model": entry.name})
    ctx.pending(next=f"hub job show {job.id}")
    ctx.inverse("job.cancel", job=job.id)
    return job_view(job)


@command(
    "model.add",
    effect="write",
    resource="",
    sinks=("path",),
    undo="job.cancel",
    permission="admin",
    trust="untrusted",
    summary="Add a GGUF file of this machine to the catalogue.",
    positional=("path",),
    examples=[Example("hub model add ./my-model.gguf --name my-model", "Then: hub deploy my-model")],
)
def model_add(ctx: Context, args: AddArgs) -> JobView:
    """The file is hashed and linked (or copied) into the store. One without a chat template gets ChatML."""
    try:
        path = Path(args.path).expanduser().absolute()
    except RuntimeError as error:  # `~nobody`
        raise InvalidRequest(f"There is no home folder for {args.path}.", param="path") from error
    check_file(path)
    name = args.name or model_name(path)
    job = job_store.enqueue(ctx.hub, ADD, subject=name, arguments={"path": str(path), "name": name})
    ctx.pending(next=f"hub job show {job.id}")
    ctx.inverse("job.cancel", job=job.id)
    return job_view(job)


@command(
    "job.list",
    effect="read",
    resource="",
    permission="admin",
    trust="untrusted",
    summary="List background work, newest first.",
    columns=("id", "kind", "subject", "state", "step", "error"),
    examples=[Example("hub job list", "What runs and what ran")],
)
def job_list(ctx: Context, args: JobListArgs) -> JobList:
    """Downloads, added files, provider checks."""
    return JobList(
        items=[job_view(job) for job in job_store.list_jobs(ctx.hub, kind=args.kind, limit=args.limit)]
    )


@command(
    "job.show",
    effect="read",
    resource="job",
    permission="admin",
    trust="untrusted",
    summary="Show one piece of background work.",
    positional=("job",),
    examples=[Example("hub job show job_01J9Z3", "Progress and outcome; ids stand in `hub job list`")],
)
def job_show(ctx: Context, args: JobArgs) -> JobView:
    """State, progress, and its result or error."""
    return job_view(job_store.get_shared(ctx.hub, args.job))


@command(
    "job.cancel",
    effect="irreversible",
    resource="job",
    sinks=("job",),
    permission="admin",
    trust="untrusted",
    summary="Cancel background work.",
    positional=("job",),
    examples=[Example("hub job cancel job_01J9Z3", "A download keeps what came, for the next try")],
)
def job_cancel(ctx: Context, args: JobArgs) -> JobView:
    """It stops at its next report, within about a second."""
    return job_view(job_store.cancel(ctx.hub, job_store.get_shared(ctx.hub, args.job).id))


@resolver("job")
def _job(connection: Connection, _principal: Principal, named: str) -> Found:
    return Found(job_store.get_job(connection, named).id)


@resolver("model")
def _model(_connection: Connection, _principal: Principal, named: str) -> Found:
    """A model has no id but its name, and a file or a provider's model that is not listed has one too."""
    return Found(named)


def job_view(job: Job) -> JobView:
    """A job as the commands show it."""
    return JobView(
        id=job.id,
        kind=job.kind,
        subject=job.subject,
        state=job.state,
        step=job.progress.step,
        done=job.progress.done,
        total=job.progress.total,
        error=job.error,
        result=dict(job.result),
        created_at_ms=job.created_at_ms,
        finished_at_ms=job.finished_at_ms,
    )


def _view(ctx: Context, entry: ModelEntry, fetching: set[str]) -> ModelView:
    here = entry.path(ctx.settings).exists()
    return ModelView(
        name=entry.name,
        title=entry.title,
        kinds=sorted(entry.kinds),
        size_mb=round(entry.size_bytes / 1e6),
        state="here" if here else ("fetching" if entry.name in fetching else "absent"),
        licence=entry.licence,
        context_tokens=entry.context_tokens,
        sha256=entry.sha256,
        sources=[f"{source.kind}: {source.address}" for source in entry.sources],
        template=entry.template or "own",
        note=entry.note,
    )
