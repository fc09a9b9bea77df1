"""`hub user|org|login-link …`: people, and how they sign in."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, Secret, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import NOTHING, Books, Found
from tokenhub.http.address import hub_url, login_url
from tokenhub.http.pagination import page
from tokenhub.identity import directory
from tokenhub.identity.directory import Team, User
from tokenhub.identity.scopes import ROLES, may_grant
from tokenhub.identity.sessions import LOGIN_TTL_MS, create_login_token
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest, NotFound, PermissionDenied

VERBS: list[Command] = []
ROLE_HELP = f"One of {', '.join(ROLES)}."


class OrgView(Model):
    """The organisation of the caller."""

    id: str
    name: str
    created_at_ms: int


class Nothing(Model):
    """No arguments."""


class UserView(Model):
    """A person."""

    id: str
    name: str
    email: str | None
    role: str
    team_id: str | None = Field(description="Team on whose limits the user's own keys count.")
    created_at_ms: int
    disabled_at_ms: int | None


class UserCreate(Model):
    """A new person."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique in the organisation.")
    email: str | None = Field(default=None, max_length=254, description="Mail address.")
    role: str = Field(default="member", description=ROLE_HELP)
    team: str | None = Field(default=None, description="First team, by name or id.")


class UserNamed(Model):
    """One person."""

    user: str = Field(description="Name or id of the user.")


class UserList(PageResult):
    """A page of people."""

    items: list[UserView]


class LoginLinkCreate(Model):
    """For whom."""

    user: str | None = Field(default=None, description="Name or id of the user; yourself if left out.")


class LoginLink(Model):
    """A link that signs in once."""

    user: str
    url: Secret = Field(description="Open it in a browser within ten minutes; it works once.")
    expires_at_ms: int


@command(
    "org.show",
    effect="read",
    resource="",
    permission="",
    summary="Show your organisation.",
    examples=[Example("hub org show", "Its id and name")],
)
def org_show(ctx: Context, args: Nothing) -> OrgView:
    """The organisation of the key that asks."""
    org = directory.organization(ctx.hub, ctx.principal.org_id)
    if org is None:
        raise NotFound("Your organisation is gone.", code="org_not_found")
    return OrgView(id=org.id, name=org.name, created_at_ms=org.created_at_ms)


@command(
    "user.create",
    effect="write",
    resource="",
    sinks=("name", "email", "role", "team"),
    permission="admin",
    summary="Add a person.",
    positional=("name",),
    examples=[Example("hub user create ana --role member --team research", "A member of a team")],
)
def user_create(ctx: Context, args: UserCreate) -> UserView:
    """The person signs in with a key (`hub key create --user`) or a link (`hub login-link create`)."""
    may_grant_role(ctx, args.role)
    org_id = ctx.principal.org_id
    user = directory.create_user(
        ctx.hub, org_id, name=args.name, email=args.email, role=args.role, at_ms=ctx.now_ms
    )
    if args.team:
        team = directory.find(ctx.hub, Team, org_id, args.team)
        directory.add_member(ctx.hub, team, user, at_ms=ctx.now_ms)
        user = directory.find(ctx.hub, User, org_id, user.id)
    return _user(user)


@command(
    "user.list",
    effect="read",
    resource="",
    permission="read",
    summary="List people.",
    columns=("id", "name", "email", "role", "disabled_at_ms"),
    examples=[Example("hub user list", "Newest first")],
)
def user_list(ctx: Context, args: PageArgs) -> UserList:
    """Newest first."""
    rows = directory.listing(ctx.hub, User, ctx.principal.org_id, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return UserList(items=[_user(row) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "user.show",
    effect="read",
    resource="user",
    permission="read",
    summary="Show one person.",
    positional=("user",),
    examples=[Example("hub user show ana", "Role, team, since when")],
)
def user_show(ctx: Context, args: UserNamed) -> UserView:
    """By name or id."""
    return _user(directory.find(ctx.hub, User, ctx.principal.org_id, args.user))


@command(
    "user.disable",
    effect="write",
    resource="user",
    sinks=("user",),
    permission="admin",
    summary="End a person's access: keys, sessions and links stop at once.",
    positional=("user",),
    examples=[Example("hub user disable ana", "Everything that belongs to ana stops; the books stay")],
)
def user_disable(ctx: Context, args: UserNamed) -> UserView:
    """Usage and ledger rows stay. The last owner cannot be disabled."""
    org_id = ctx.principal.org_id
    user = directory.find(ctx.hub, User, org_id, args.user)
    may_grant_role(ctx, user.role)
    return _user(directory.disable_user(ctx.hub, org_id, user, at_ms=ctx.now_ms))


def _whose_link(books: Books, principal: Principal, arguments: Mapping[str, Any]) -> Found:
    named = str(arguments.get("user") or principal.user_id or "")
    if not named:
        return NOTHING
    user = directory.find(books.hub, User, principal.org_id, named)
    return Found(user.id, user.id, user.name)


@command(
    "login-link.create",
    effect="irreversible",
    resource="user",
    sinks=("user",),
    acts_on=_whose_link,
    permission="",
    summary="Make a link that signs a person in to the console once.",
    positional=("user",),
    examples=[Example("hub login-link create", "For yourself; works once, within ten minutes")],
)
def login_link_create(ctx: Context, args: LoginLinkCreate) -> LoginLink:
    """For others only with the scope admin, and never for someone with wider rights than one's own."""
    org_id, principal = ctx.principal.org_id, ctx.principal
    named = args.user or principal.user_id
    if named is None:
        raise InvalidRequest("This key belongs to no user; name one with `user`.", param="user")
    user = directory.find(ctx.hub, User, org_id, named)
    if principal.parent_key_id is not None or (
        user.id != principal.user_id and not principal.allows("admin")
    ):
        raise PermissionDenied("Only an administrator may make sign-in links for others.", param="user")
    may_grant_role(ctx, user.role)
    ends = None if principal.app else principal.expires_at_ms
    if not principal.allows("admin") and (principal.models is not None or ends is not None):
        raise PermissionDenied(
            "A key bounded in models or time makes no sign-in link; sign in with it itself."
        )
    token = create_login_token(ctx.hub, org_id=org_id, user_id=user.id, at_ms=ctx.now_ms)
    url = login_url(hub_url(ctx.settings), token)
    return LoginLink(user=user.name, url=url, expires_at_ms=ctx.now_ms + LOGIN_TTL_MS)


def may_grant_role(ctx: Context, role: str) -> None:
    """Refuse to act on a role that has more than the caller may hand out. Raises: PermissionDenied."""
    if not may_grant(ctx.principal.scopes, ROLES[directory.check_role(role)]):
        raise PermissionDenied(f"Your key may not act on the role {role!r}.", param="role")


def _user(row: User) -> UserView:
    return UserView(**{name: getattr(row, name) for name in UserView.model_fields})
