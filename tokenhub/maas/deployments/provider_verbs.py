"""Verbs of outside providers: `hub provider add|list|remove|test`."""

import re
from urllib.parse import urlsplit

from pydantic import Field
from sqlalchemy import Connection

from tokenhub.commands import Context, Example, Model, Secret, command
from tokenhub.commands.resources import Found, resolver
from tokenhub.identity.types import Principal
from tokenhub.jobs import store as job_store
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.maas.catalog.verbs import JobView, job_view
from tokenhub.maas.deployments import provider_store, store
from tokenhub.maas.deployments.jobs import TEST_PROVIDER
from tokenhub.maas.deployments.provider_store import Provider

_VISIBLE = re.compile(r"[!-~]+")


class ProviderView(Model):
    """One outside provider."""

    id: str
    name: str
    base_url: str
    key: str = Field(description="The end of its key; never the key.")
    models: list[str] = Field(description="Public names that are routed to it.")
    connect_timeout_s: float
    first_token_timeout_s: float
    idle_timeout_s: float


class ProviderList(Model):
    """Every provider."""

    items: list[ProviderView]


class ProviderAdded(Model):
    """A provider just added."""

    provider: ProviderView
    job: str = Field(description="The check that asks it for its models; see `hub job show`.")


class ProviderRemoved(Model):
    """What was removed."""

    name: str
    models: list[str] = Field(description="Public names that are not served by it any more.")


class NoArgs(Model):
    """No arguments."""


class NameArgs(Model):
    name: str = Field(description="The provider's name.")


class AddArgs(Model):
    name: str = Field(
        description="A short name, part of its models' public names.", pattern="^[a-z0-9][a-z0-9._-]{0,62}$"
    )
    url: str = Field(description="Base URL, such as https://api.example.com/v1.")
    key: Secret = Field(default="", description="API key; empty where none is needed.")
    model: list[str] = Field(default=[], description="Models to route; none = every model it lists.")
    connect_timeout: float = Field(default=0, ge=0, le=600, description="Seconds; 0 = the setting.")
    first_token_timeout: float = Field(default=0, ge=0, le=3600, description="Seconds; 0 = the setting.")
    idle_timeout: float = Field(default=0, ge=0, le=3600, description="Seconds; 0 = the setting.")


@command(
    "provider.add",
    effect="write",
    resource="",
    sinks=("url",),
    undo="provider.remove",
    permission="admin",
    summary="Add an OpenAI-compatible provider.",
    positional=("name",),
    examples=[
        Example(
            "hub provider add lab --url http://10.0.0.5:8000/v1 --model qwen3-32b",
            "A vLLM server; call it as lab/qwen3-32b",
        )
    ],
)
def provider_add(ctx: Context, args: AddArgs) -> ProviderAdded:
    """Its models are called `<name>/<model>`. The key is stored for the hub's own use and never shown."""
    settings = ctx.settings
    if not ctx.dry_run and settings.home.exists():
        settings.home.chmod(
            0o700
        )  # its databases hold the key; on PostgreSQL the server's own rights guard it
    provider = provider_store.insert_provider(
        ctx.hub,
        args.name,
        base_url=base_url_of(args.url),
        api_key=_key_of(args.key),
        connect_timeout_ms=_ms(args.connect_timeout or settings.connect_timeout_s),
        first_token_timeout_ms=_ms(args.first_token_timeout or settings.first_token_timeout_s),
        idle_timeout_ms=_ms(args.idle_timeout or settings.upstream_idle_timeout_s),
    )
    for model in args.model:
        store.create_provider_deployment(
            ctx.hub,
            provider.id,
            model=f"{provider.name}/{model}",
            upstream_model=model,
            context_tokens=0,
            kinds=["chat", "completion", "embedding"],
        )
    job = _check(ctx, provider, take="" if args.model else "all")
    ctx.inverse("provider.remove", name=provider.name)
    return ProviderAdded(provider=_view(ctx, provider), job=job.id)


@command(
    "provider.list",
    effect="read",
    resource="",
    permission="admin",
    summary="List the providers.",
    columns=("name", "base_url", "key", "models"),
    examples=[Example("hub provider list", "Addresses, the end of each key, models")],
)
def provider_list(ctx: Context, args: NoArgs) -> ProviderList:
    """With the models that are routed to each."""
    return ProviderList(items=[_view(ctx, provider) for provider in provider_store.list_providers(ctx.hub)])


@command(
    "provider.remove",
    effect="irreversible",
    resource="provider:name",
    sinks=("name",),
    permission="admin",
    summary="Forget a provider, its key and its deployments.",
    positional=("name",),
    examples=[Example("hub provider remove lab", "Its models are gone within a second; the books stay")],
)
def provider_remove(ctx: Context, args: NameArgs) -> ProviderRemoved:
    """Gateways stop routing to it within a second."""
    provider = provider_store.get_provider(ctx.hub, args.name)
    job_store.cancel_live(ctx.hub, TEST_PROVIDER, provider.name)
    return ProviderRemoved(name=provider.name, models=provider_store.delete_provider(ctx.hub, provider.id))


@command(
    "provider.test",
    effect="write",
    resource="provider:name",
    sinks=("name",),
    undo="job.cancel",
    permission="admin",
    trust="untrusted",
    summary="Ask a provider for its models, to see that URL and key work.",
    positional=("name",),
    examples=[Example("hub provider test lab", "Then `hub job show` tells its models and latency")],
)
def provider_test(ctx: Context, args: NameArgs) -> JobView:
    """The job's result lists the models and the latency."""
    provider = provider_store.get_provider(ctx.hub, args.name)
    job = _check(ctx, provider, take="")
    ctx.inverse("job.cancel", job=job.id)
    ctx.pending(next=f"hub job show {job.id}")
    return job


@resolver("provider")
def _provider(connection: Connection, _principal: Principal, named: str) -> Found:
    provider = provider_store.get_provider(connection, named)
    return Found(provider.id, name=provider.name)


def base_url_of(url: str) -> str:
    """A provider's base URL: no slash at the end, `/v1` where only a host is given. Raises: InvalidRequest."""
    text = url.strip()
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, a port beyond 65535
        parts, usable = urlsplit(""), False
    if not usable or not _VISIBLE.fullmatch(text) or "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidRequest(
            "`url` must be http(s)://host[:port][/path], without user, query, fragment or spaces.",
            code="invalid_url",
            param="url",
        )
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _key_of(key: str) -> str:
    """A provider's key as its header carries it. Raises: InvalidRequest."""
    text = key.strip()
    if text and not _VISIBLE.fullmatch(text):
        raise InvalidRequest("`key` holds characters that no header carries.", param="key")
    return text


def _check(ctx: Context, provider: Provider, *, take: str) -> JobView:
    arguments = {"provider": provider.name, "take": take}
    return job_view(job_store.enqueue(ctx.hub, TEST_PROVIDER, subject=provider.name, arguments=arguments))


def _view(ctx: Context, provider: Provider) -> ProviderView:
    models = [row.model for row in store.list_deployments(ctx.hub) if row.provider_id == provider.id]
    return ProviderView(
        id=provider.id,
        name=provider.name,
        base_url=provider.base_url,
        key=provider.key_hint,
        models=models,
        connect_timeout_s=provider.connect_timeout_ms / 1000,
        first_token_timeout_s=provider.first_token_timeout_ms / 1000,
        idle_timeout_s=provider.idle_timeout_ms / 1000,
    )


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
