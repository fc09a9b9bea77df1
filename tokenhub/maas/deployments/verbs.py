"""Verbs of deployments: `hub deploy create|list|show|start|stop|remove`, and `hub model remove`."""

from pathlib import Path

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.commands import Context, Example, Model, command
from tokenhub.commands.resources import Found, resolver
from tokenhub.identity.types import Principal
from tokenhub.jobs import store as job_store
from tokenhub.kernel.errors import Conflict
from tokenhub.maas.catalog import store as catalog
from tokenhub.maas.catalog.adding import check_file, is_path, model_name
from tokenhub.maas.catalog.jobs import PULL
from tokenhub.maas.deployments import provider_store, store
from tokenhub.maas.deployments.jobs import ADD_AND_DEPLOY
from tokenhub.maas.deployments.store import DeploymentRow


class DeploymentView(Model):
    """One place where a model is served."""

    id: str
    model: str = Field(description="Public name: what `model` is in requests.")
    served_by: str = Field(description="`engine` (of our own) or the provider's name.")
    status: str = Field(description="`pending`, `fetching`, `starting`, `running`, `failing` or `stopped`.")
    message: str
    kinds: list[str]
    context_tokens: int
    slots: int = Field(description="Answers that it makes at the same time; 0 = unknown (a provider).")
    restarts: int


class DeploymentList(Model):
    """Every deployment."""

    items: list[DeploymentView]


class Deployed(Model):
    """What was asked for."""

    model: str
    deployment: str = Field(description="Its id; empty while a file is being added.")
    status: str
    job: str = Field(description="The download or the adding it waits for; empty if the model is here.")


class NoArgs(Model):
    """No arguments."""


class NameArgs(Model):
    name: str = Field(description="A deployment's id, or its model's public name.")


class ModelArgs(Model):
    name: str = Field(description="A model of the catalogue.")


class CreateArgs(Model):
    model: str = Field(
        max_length=4096, description="A model of the catalogue, a GGUF file, or with --provider its model."
    )
    name: str = Field(default="", description="Public name; empty = the model's own.", max_length=128)
    provider: str = Field(default="", description="Serve it by this provider instead of an engine of ours.")
    context: int = Field(default=0, ge=0, le=2**20, description="Tokens of each sequence; 0 = the setting.")
    slots: int = Field(default=0, ge=0, le=256, description="Parallel sequences; 0 = the setting.")


class ModelRemoved(Model):
    """What was removed."""

    name: str
    file_deleted: bool
    forgotten: bool = Field(description="The entry was one that had been added; built-in ones stay listed.")


@command(
    "deploy.create",
    effect="write",
    resource="model",
    sinks=("model", "provider"),
    undo="deploy.remove",
    permission="admin",
    summary="Serve a model.",
    positional=("model",),
    examples=[
        Example("hub deploy smollm2-135m-instruct", "Fetch it if needed, then serve it"),
        Example("hub deploy ./my-model.gguf", "Serve a file"),
    ],
)
def deploy_create(ctx: Context, args: CreateArgs) -> Deployed:
    """Fetches the model first if it is not here. Deploying what is served already changes nothing."""
    if args.provider:
        return _deploy_from_provider(ctx, args)
    context_tokens, slots = (
        args.context or ctx.settings.engine_context,
        args.slots or ctx.settings.engine_slots,
    )
    if is_path(args.model):
        path = Path(args.model).expanduser().absolute()
        check_file(path)
        name = args.name or model_name(path)
        arguments = {"path": str(path), "name": name, "context": str(context_tokens), "slots": str(slots)}
        job = job_store.enqueue(ctx.hub, ADD_AND_DEPLOY, subject=name, arguments=arguments)
        ctx.pending(next=f"hub job show {job.id}")
        ctx.inverse("job.cancel", job=job.id)
        return Deployed(model=name, deployment="", status="pending", job=job.id)
    entry = catalog.get_entry(ctx.hub, args.model)
    name = args.name or entry.name
    deployment_id = store.create_engine_deployment(
        ctx.hub, entry, model=name, context_tokens=context_tokens, slots=slots
    )
    job_id = ""
    if not entry.path(ctx.settings).exists():
        job_id = job_store.enqueue(ctx.hub, PULL, subject=entry.name, arguments={"model": entry.name}).id
    ctx.inverse("deploy.remove", name=deployment_id)
    status = store.get_deployment(ctx.hub, deployment_id).status
    if status != "running":
        ctx.pending(next=f"hub deploy show {name}")
    return Deployed(model=name, deployment=deployment_id, status=status, job=job_id)


@command(
    "deploy.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List what is served.",
    columns=("model", "served_by", "status", "kinds", "context_tokens", "slots", "restarts", "message"),
    examples=[Example("hub deploy list", "Models and their state")],
)
def deploy_list(ctx: Context, args: NoArgs) -> DeploymentList:
    """Engines of our own and providers' models."""
    return DeploymentList(items=[_view(row) for row in store.list_deployments(ctx.hub)])


@command(
    "deploy.show",
    effect="read",
    resource="deploy:name",
    permission="read",
    trust="untrusted",
    summary="Show one deployment.",
    positional=("name",),
    examples=[Example("hub deploy show smollm2-135m-instruct", "Its state, and why it is in it")],
)
def deploy_show(ctx: Context, args: NameArgs) -> DeploymentView:
    """Its state, and why it is in it."""
    return _view(store.get_deployment(ctx.hub, args.name))


@command(
    "deploy.start",
    effect="write",
    resource="deploy:name",
    sinks=("name",),
    undo="deploy.stop",
    permission="admin",
    trust="untrusted",
    summary="Serve a stopped deployment again.",
    positional=("name",),
    examples=[Example("hub deploy start smollm2-135m-instruct", "After `hub deploy stop`")],
)
def deploy_start(ctx: Context, args: NameArgs) -> DeploymentView:
    """The engine is started by the worker."""
    return _set_desired(ctx, args.name, "running")


@command(
    "deploy.stop",
    effect="write",
    resource="deploy:name",
    sinks=("name",),
    undo="deploy.start",
    permission="admin",
    trust="untrusted",
    summary="Stop serving, but keep the deployment.",
    positional=("name",),
    examples=[
        Example(
            "hub deploy stop smollm2-135m-instruct", "Frees its memory; stays stopped at the next `hub up`"
        )
    ],
)
def deploy_stop(ctx: Context, args: NameArgs) -> DeploymentView:
    """Answers that run now are cut."""
    return _set_desired(ctx, args.name, "stopped")


@command(
    "deploy.remove",
    effect="irreversible",
    resource="deploy:name",
    sinks=("name",),
    permission="admin",
    trust="untrusted",
    summary="Stop serving and forget the deployment.",
    positional=("name",),
    examples=[
        Example("hub deploy remove smollm2-135m-instruct", "The file stays: `hub model remove` deletes it")
    ],
)
def deploy_remove(ctx: Context, args: NameArgs) -> DeploymentView:
    """The model's file stays; see `hub model remove`."""
    row = store.get_deployment(ctx.hub, args.name)
    store.delete_deployment(ctx.hub, row.id)
    return _view(row)


@command(
    "model.remove",
    effect="irreversible",
    resource="model:name",
    sinks=("name",),
    permission="admin",
    summary="Delete a model's file, and its entry if it was added here.",
    positional=("name",),
    examples=[Example("hub model remove my-model", "Frees its disk space")],
)
def model_remove(ctx: Context, args: ModelArgs) -> ModelRemoved:
    """Refused while a deployment uses it."""
    entry = catalog.get_entry(ctx.hub, args.name)
    users = store.users_of(ctx.hub, entry.name)
    if users:
        raise Conflict(
            f"{entry.name} is deployed as {', '.join(users)}. Remove that first: hub deploy remove {users[0]}.",
            code="model_in_use",
            param="name",
        )
    shared = [other.name for other in catalog.list_entries(ctx.hub) if other.sha256 == entry.sha256]
    deletable = not any(store.users_of(ctx.hub, name) for name in shared)
    path = entry.path(ctx.settings)
    found = path.exists() and deletable
    if not entry.builtin:
        catalog.delete_entry(ctx.hub, entry.name)
    if found and not ctx.dry_run:
        path.unlink()
    return ModelRemoved(name=entry.name, file_deleted=found, forgotten=not entry.builtin)


@resolver("deploy")
def _deployment(connection: Connection, _principal: Principal, named: str) -> Found:
    row = store.get_deployment(connection, named)
    return Found(row.id, name=row.model)


def _deploy_from_provider(ctx: Context, args: CreateArgs) -> Deployed:
    provider = provider_store.get_provider(ctx.hub, args.provider)
    name = args.name or f"{provider.name}/{args.model}"
    deployment_id = store.create_provider_deployment(
        ctx.hub,
        provider.id,
        model=name,
        upstream_model=args.model,
        context_tokens=args.context,
        kinds=["chat", "completion", "embedding"],
    )
    ctx.inverse("deploy.remove", name=deployment_id)
    return Deployed(model=name, deployment=deployment_id, status="running", job="")


def _set_desired(ctx: Context, name: str, desired: store.Desired) -> DeploymentView:
    row = store.get_deployment(ctx.hub, name)
    before = row.desired
    store.set_desired(ctx.hub, row.id, desired)
    ctx.inverse("deploy.start" if before == "running" else "deploy.stop", name=row.id)
    if row.provider_id is None:
        ctx.pending(next=f"hub deploy show {row.model}")
    return _view(store.get_deployment(ctx.hub, row.id))


def _view(row: DeploymentRow) -> DeploymentView:
    return DeploymentView(
        id=row.id,
        model=row.model,
        served_by=row.provider or "engine",
        status=row.status,
        message=row.message,
        kinds=sorted(row.kinds),
        context_tokens=row.context_tokens,
        slots=row.slots,
        restarts=row.restarts,
    )
