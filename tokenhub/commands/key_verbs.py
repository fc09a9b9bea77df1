"""`hub key …`: make, list, show, rotate and revoke API keys.

A person with `keys:write` manages their own keys; `admin` manages everyone's. Nobody hands out more than they hold.
"""

from pydantic import Field

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, Secret, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.http.pagination import page
from tokenhub.identity import directory
from tokenhub.identity.directory import Project, ServiceAccount, Team, User
from tokenhub.identity.key_listing import KeyEntry, KeyStatus, find_entry, list_keys
from tokenhub.identity.keys import KeySpec, create_key, revoke_key, rotate_key
from tokenhub.identity.scopes import SCOPES, may_grant
from tokenhub.kernel.clock import parse_duration_ms
from tokenhub.kernel.errors import InvalidRequest, PermissionDenied

VERBS: list[Command] = []
DEFAULT_SCOPES = ("inference", "read", "usage:read")


class KeyCreate(Model):
    """A new key."""

    name: str = Field(min_length=1, max_length=100, description="What the key is for.")
    user: str | None = Field(default=None, description="Its user, by name or id; yourself if left out.")
    service_account: str | None = Field(default=None, description="Its service account instead of a user.")
    team: str | None = Field(default=None, description="Team on whose limits it counts.")
    project: str | None = Field(default=None, description="Project on whose limits it counts.")
    scopes: list[str] = Field(
        default=list(DEFAULT_SCOPES), description=f"What it may do: {', '.join(SCOPES)}.", max_length=20
    )
    models: list[str] = Field(default=[], description="Models it may call; all if left out.", max_length=200)
    expires_in: str | None = Field(
        default=None, description="Life time, such as 90d or 12h; for ever if left out."
    )


class KeyCreated(Model):
    """The new secret, shown once."""

    id: str
    name: str
    key: Secret = Field(description="The secret. It is not stored: copy it now.")
    prefix: str
    expires_at_ms: int | None


class KeyView(Model):
    """A key without its secret."""

    id: str
    name: str
    prefix: str = Field(description="First characters of the secret.")
    owner: str
    user_id: str | None
    service_account_id: str | None
    team: str | None
    project: str | None
    scopes: list[str]
    models: list[str] | None = Field(description="Models it may call; null = all.")
    app: str
    parent_key_id: str | None
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    status: KeyStatus


class KeyList(PageResult):
    """A page of keys."""

    items: list[KeyView]


class KeyListArgs(PageArgs):
    """Which keys."""

    apps: bool = Field(default=False, description="Also the short-lived keys of the hub's own apps.")


class KeyNamed(Model):
    """One key."""

    key: str = Field(description="Id, shown prefix or name of the key.")


class KeyRotate(KeyNamed):
    """A new secret for a key."""

    overlap: str = Field(
        default="24h", description="How long the old secret still works; 0s ends it at once."
    )


class KeyRevoked(Model):
    """What became of the key."""

    id: str
    name: str
    was_live: bool


@command(
    "key.create",
    effect="write",
    resource="",
    sinks=("user", "service_account", "team", "project", "scopes"),
    undo="key.revoke",
    permission="keys:write",
    summary="Make an API key and show its secret once.",
    positional=("name",),
    examples=[
        Example("hub key create laptop", "A key for yourself"),
        Example("hub key create ci --service-account builder --model tiny --expires-in 90d", "A bounded key"),
    ],
)
def key_create(ctx: Context, args: KeyCreate) -> KeyCreated:
    """The key acts for its user or service account and never has more scopes than whoever made it."""
    spec = _spec(ctx, args)
    created = create_key(ctx.hub, spec, at_ms=ctx.now_ms)
    ctx.inverse("key.revoke", key=created.key_id)
    return KeyCreated(
        id=created.key_id,
        name=spec.name,
        key=created.secret,
        prefix=created.prefix,
        expires_at_ms=created.expires_at_ms,
    )


@command(
    "key.list",
    effect="read",
    resource="",
    permission="",
    summary="List API keys.",
    columns=("id", "name", "prefix", "owner", "scopes", "status"),
    examples=[Example("hub key list", "Your keys; with the scope admin everyone's")],
)
def key_list(ctx: Context, args: KeyListArgs) -> KeyList:
    """Newest first."""
    rows = list_keys(
        ctx.hub,
        ctx.principal.org_id,
        user_id=None if ctx.principal.allows("admin") else ctx.principal.user_id or "",
        apps=args.apps,
        after=args.after,
        limit=args.limit,
        at_ms=ctx.now_ms,
    )
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return KeyList(items=[_view(row) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "key.show",
    effect="read",
    resource="key",
    permission="",
    summary="Show one API key.",
    positional=("key",),
    examples=[Example("hub key show laptop", "Whose it is, what it may do, whether it counts")],
)
def key_show(ctx: Context, args: KeyNamed) -> KeyView:
    """Never shows the secret: it is stored as a hash only."""
    return _view(_mine(ctx, args.key))


@command(
    "key.rotate",
    effect="irreversible",
    resource="key",
    sinks=("key",),
    permission="keys:write",
    summary="Give a key a new secret; the old one works for a while longer.",
    positional=("key",),
    examples=[Example("hub key rotate laptop --overlap 1h", "One hour to replace it everywhere")],
)
def key_rotate(ctx: Context, args: KeyRotate) -> KeyCreated:
    """Id, limits and usage stay with the key."""
    entry = _mine(ctx, args.key)
    _may_mint(ctx, frozenset(entry.scopes))
    _may_take_over(ctx, entry)
    overlap_ms = _duration(args.overlap, param="overlap")
    made = rotate_key(ctx.hub, entry.id, org_id=ctx.principal.org_id, overlap_ms=overlap_ms, at_ms=ctx.now_ms)
    return KeyCreated(
        id=entry.id, name=entry.name, key=made.secret, prefix=made.prefix, expires_at_ms=made.expires_at_ms
    )


@command(
    "key.revoke",
    effect="irreversible",
    resource="key",
    sinks=("key",),
    permission="keys:write",
    summary="End a key for good, within a second on every gateway.",
    positional=("key",),
    examples=[Example("hub key revoke laptop", "Requests with it are refused from now on")],
)
def key_revoke(ctx: Context, args: KeyNamed) -> KeyRevoked:
    """Also ends the sessions and app keys that hang on it."""
    entry = _mine(ctx, args.key)
    was_live = revoke_key(ctx.hub, entry.id, org_id=ctx.principal.org_id, at_ms=ctx.now_ms)
    return KeyRevoked(id=entry.id, name=entry.name, was_live=was_live)


def _spec(ctx: Context, args: KeyCreate) -> KeySpec:
    org_id = ctx.principal.org_id
    unknown = [scope for scope in args.scopes if scope not in SCOPES]
    if unknown:
        raise InvalidRequest(f"No scope {unknown[0]!r}; choose from {', '.join(SCOPES)}.", param="scopes")
    _may_mint(ctx, frozenset(args.scopes))
    user_id, service_account_id = _owner(ctx, args)
    team = directory.find(ctx.hub, Team, org_id, args.team) if args.team else None
    project = directory.find(ctx.hub, Project, org_id, args.project) if args.project else None
    if (team or project) and not ctx.principal.allows("admin"):
        raise PermissionDenied("Only an administrator may put a key on a team or project.", param="team")
    life_ms = _duration(args.expires_in, param="expires_in") if args.expires_in else None
    return KeySpec(
        org_id=org_id,
        name=args.name,
        scopes=frozenset(args.scopes),
        user_id=user_id,
        service_account_id=service_account_id,
        team_id=team.id if team else None,
        project_id=project.id if project else None,
        models=_models(ctx, args.models),
        expires_at_ms=_ends(ctx, life_ms),
    )


def _owner(ctx: Context, args: KeyCreate) -> tuple[str | None, str | None]:
    """The user or the service account that the key acts for: (user_id, service_account_id)."""
    org_id, principal = ctx.principal.org_id, ctx.principal
    if args.user and args.service_account:
        raise InvalidRequest("Give `user` or `service_account`, not both.", param="service_account")
    if not args.user and not args.service_account:
        return principal.user_id, principal.service_account_id
    if args.service_account:
        user_id, account_id = (
            None,
            directory.find(ctx.hub, ServiceAccount, org_id, args.service_account).id,
        )
    else:
        user_id, account_id = directory.find(ctx.hub, User, org_id, args.user or "").id, None
    own = (user_id, account_id) == (principal.user_id, principal.service_account_id)
    if not own and not principal.allows("admin"):
        raise PermissionDenied("Only an administrator may make keys for others.", param="user")
    return user_id, account_id


def _may_mint(ctx: Context, scopes: frozenset[str]) -> None:
    if ctx.principal.parent_key_id is not None:
        raise PermissionDenied("A delegated key cannot make or rotate keys.")
    if not may_grant(ctx.principal.scopes, scopes):
        missing = ", ".join(sorted(scopes - ctx.principal.scopes))
        raise PermissionDenied(f"You cannot hand out scopes that you do not have: {missing}.", param="scopes")


def _may_take_over(ctx: Context, entry: KeyEntry) -> None:
    """Refuse to show the secret of a key that calls more models or lasts longer than the one that asks."""
    models = ctx.principal.models
    if models is not None and (entry.models is None or not models.issuperset(entry.models)):
        raise PermissionDenied(f"Key {entry.name!r} may call models that your own key may not.", param="key")
    ends = None if ctx.principal.app else ctx.principal.expires_at_ms
    if ends is not None and (entry.expires_at_ms is None or entry.expires_at_ms > ends):
        raise PermissionDenied(f"Your own key ends before {entry.name!r} does.", param="key")


def _models(ctx: Context, models: list[str]) -> frozenset[str] | None:
    bound = ctx.principal.models
    if bound is None:
        return frozenset(models) or None
    beyond = sorted(frozenset(models) - bound)
    if beyond:
        raise PermissionDenied(f"Your own key may not call {beyond[0]!r}.", param="models")
    return frozenset(models) or bound


def _ends(ctx: Context, life_ms: int | None) -> int | None:
    """When the new key ends: as asked, and not after the API key that made it."""
    bound = None if ctx.principal.app else ctx.principal.expires_at_ms
    asked = None if life_ms is None else ctx.now_ms + life_ms
    return min((end for end in (asked, bound) if end is not None), default=None)


def _duration(text: str, *, param: str) -> int:
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param=param) from error


def _mine(ctx: Context, named: str) -> KeyEntry:
    """The key, if the caller may see it. Raises: KeyNotFound."""
    principal = ctx.principal
    return find_entry(ctx.hub, principal.org_id, named, at_ms=ctx.now_ms, visible_to=principal)


def _view(entry: KeyEntry) -> KeyView:
    return KeyView(**{name: getattr(entry, name) for name in KeyView.model_fields})
