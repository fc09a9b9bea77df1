"""`hub team|project|service-account …`: groups of people, pieces of work, and programs with keys."""

from pydantic import Field

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.people_verbs import ROLE_HELP, may_grant_role
from tokenhub.http.pagination import page
from tokenhub.identity import directory
from tokenhub.identity.directory import Project, ServiceAccount, Team, User

VERBS: list[Command] = []


class TeamView(Model):
    """A team and who is in it."""

    id: str
    name: str
    members: list[str]
    created_at_ms: int


class TeamCreate(Model):
    """A new team."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique in the organisation.")


class TeamList(PageResult):
    """A page of teams."""

    items: list[TeamView]


class Membership(Model):
    """A user and a team."""

    team: str = Field(description="Name or id of the team.")
    user: str = Field(description="Name or id of the user.")


class ProjectView(Model):
    """A project."""

    id: str
    name: str
    team_id: str | None
    created_at_ms: int


class ProjectCreate(Model):
    """A new project."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique in the organisation.")
    team: str | None = Field(default=None, description="Team it belongs to, by name or id.")


class ProjectList(PageResult):
    """A page of projects."""

    items: list[ProjectView]


class ServiceAccountView(Model):
    """A program with keys of its own."""

    id: str
    name: str
    role: str
    team_id: str | None
    project_id: str | None
    created_at_ms: int
    disabled_at_ms: int | None


class ServiceAccountCreate(Model):
    """A new service account."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique in the organisation.")
    role: str = Field(default="member", description=ROLE_HELP)
    team: str | None = Field(default=None, description="Team on whose limits its keys count.")
    project: str | None = Field(default=None, description="Project on whose limits its keys count.")


class ServiceAccountList(PageResult):
    """A page of service accounts."""

    items: list[ServiceAccountView]


@command(
    "team.create",
    effect="write",
    resource="",
    permission="admin",
    summary="Make a team.",
    positional=("name",),
    examples=[Example("hub team create research", "Then `hub team add research ana`")],
)
def team_create(ctx: Context, args: TeamCreate) -> TeamView:
    """A team shares the limits that are set on it."""
    team = directory.create_team(ctx.hub, ctx.principal.org_id, name=args.name, at_ms=ctx.now_ms)
    return TeamView(id=team.id, name=team.name, members=[], created_at_ms=team.created_at_ms)


@command(
    "team.list",
    effect="read",
    resource="",
    permission="read",
    summary="List teams and their members.",
    columns=("id", "name", "members"),
    examples=[Example("hub team list", "Newest first")],
)
def team_list(ctx: Context, args: PageArgs) -> TeamList:
    """Newest first."""
    rows = directory.listing(ctx.hub, Team, ctx.principal.org_id, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return TeamList(items=_teams(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "team.add",
    effect="write",
    resource="team",
    sinks=("team", "user"),
    permission="admin",
    summary="Put a person in a team.",
    positional=("team", "user"),
    examples=[Example("hub team add research ana", "The first team is the one whose limits count")],
)
def team_add(ctx: Context, args: Membership) -> TeamView:
    """A person's own keys count on the limits of the first team they joined."""
    team, user = _pair(ctx, args)
    directory.add_member(ctx.hub, team, user, at_ms=ctx.now_ms)
    return _teams(ctx, [team])[0]


@command(
    "team.remove",
    effect="write",
    resource="team",
    sinks=("team", "user"),
    permission="admin",
    summary="Take a person out of a team.",
    positional=("team", "user"),
    examples=[Example("hub team remove research ana", "Ana's keys count on the oldest team left")],
)
def team_remove(ctx: Context, args: Membership) -> TeamView:
    """Harmless if the person is not in it."""
    team, user = _pair(ctx, args)
    directory.remove_member(ctx.hub, team, user)
    return _teams(ctx, [team])[0]


@command(
    "project.create",
    effect="write",
    resource="",
    sinks=("name", "team"),
    permission="admin",
    summary="Make a project.",
    positional=("name",),
    examples=[Example("hub project create search --team research", "Keys made for it count on its limits")],
)
def project_create(ctx: Context, args: ProjectCreate) -> ProjectView:
    """Use it with `hub key create --project`."""
    org_id = ctx.principal.org_id
    team = directory.find(ctx.hub, Team, org_id, args.team) if args.team else None
    made = directory.create_project(
        ctx.hub, org_id, name=args.name, team_id=team.id if team else None, at_ms=ctx.now_ms
    )
    return _project(made)


@command(
    "project.list",
    effect="read",
    resource="",
    permission="read",
    summary="List projects.",
    columns=("id", "name", "team_id"),
    examples=[Example("hub project list", "Newest first")],
)
def project_list(ctx: Context, args: PageArgs) -> ProjectList:
    """Newest first."""
    rows = directory.listing(ctx.hub, Project, ctx.principal.org_id, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return ProjectList(items=[_project(row) for row in shown.items], next_cursor=shown.next_cursor)


@command(
    "service-account.create",
    effect="write",
    resource="",
    sinks=("role", "team", "project"),
    permission="admin",
    summary="Make an account for a program.",
    positional=("name",),
    examples=[
        Example("hub service-account create builder", "Then `hub key create ci --service-account builder`")
    ],
)
def service_account_create(ctx: Context, args: ServiceAccountCreate) -> ServiceAccountView:
    """Its keys stay when people leave."""
    may_grant_role(ctx, args.role)
    org_id = ctx.principal.org_id
    team = directory.find(ctx.hub, Team, org_id, args.team) if args.team else None
    project = directory.find(ctx.hub, Project, org_id, args.project) if args.project else None
    made = directory.create_service_account(
        ctx.hub,
        org_id,
        name=args.name,
        role=args.role,
        team_id=team.id if team else None,
        project_id=project.id if project else None,
        at_ms=ctx.now_ms,
    )
    return _service_account(made)


@command(
    "service-account.list",
    effect="read",
    resource="",
    permission="read",
    summary="List service accounts.",
    columns=("id", "name", "role", "team_id", "project_id"),
    examples=[Example("hub service-account list", "Newest first")],
)
def service_account_list(ctx: Context, args: PageArgs) -> ServiceAccountList:
    """Newest first."""
    org_id = ctx.principal.org_id
    rows = directory.listing(ctx.hub, ServiceAccount, org_id, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    items = [_service_account(row) for row in shown.items]
    return ServiceAccountList(items=items, next_cursor=shown.next_cursor)


def _pair(ctx: Context, args: Membership) -> tuple[Team, User]:
    org_id = ctx.principal.org_id
    return directory.find(ctx.hub, Team, org_id, args.team), directory.find(ctx.hub, User, org_id, args.user)


def _teams(ctx: Context, teams: list[Team]) -> list[TeamView]:
    members = directory.member_names(ctx.hub, [team.id for team in teams])
    return [
        TeamView(id=team.id, name=team.name, members=members[team.id], created_at_ms=team.created_at_ms)
        for team in teams
    ]


def _project(row: Project) -> ProjectView:
    return ProjectView(**{name: getattr(row, name) for name in ProjectView.model_fields})


def _service_account(row: ServiceAccount) -> ServiceAccountView:
    return ServiceAccountView(**{name: getattr(row, name) for name in ServiceAccountView.model_fields})
