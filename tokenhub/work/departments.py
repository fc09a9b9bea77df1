"""`hub department …`: the tree of departments and who is in them."""

from pydantic import Field

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.http.pagination import page
from tokenhub.identity import departments
from tokenhub.identity.departments import Department
from tokenhub.work.people import names_of, person

VERBS: list[Command] = []


class DepartmentView(Model):
    """A part of the organisation."""

    id: str
    name: str
    parent_id: str | None
    lead: str = Field(description="Name of who leads it; empty if nobody.")
    created_at_ms: int


class MemberView(Model):
    """A person in a department."""

    user_id: str
    name: str
    title: str


class DepartmentWhole(DepartmentView):
    """A department and who is in it."""

    members: list[MemberView]


class DepartmentCreate(Model):
    """A new department."""

    name: str = Field(min_length=1, max_length=100, description="Name, unique in the organisation.")
    parent: str | None = Field(default=None, description="Department above it, by name or id.")
    lead: str | None = Field(default=None, description="Who leads it, by name or id.")


class DepartmentNamed(Model):
    """One department."""

    department: str = Field(description="Name or id of the department.")


class DepartmentSet(DepartmentNamed):
    """What to change."""

    name: str | None = Field(default=None, min_length=1, max_length=100, description="New name.")
    parent: str | None = Field(default=None, description="New department above it; `none` = the top.")
    lead: str | None = Field(default=None, description="Who leads it now; `none` = nobody.")


class DepartmentJoin(DepartmentNamed):
    """A person and a department."""

    user: str = Field(description="Name or id of the person.")
    title: str = Field(default="", max_length=100, description="What they are there.")


class DepartmentLeave(DepartmentNamed):
    """A person and a department."""

    user: str = Field(description="Name or id of the person.")


class DepartmentList(PageResult):
    """A page of departments."""

    items: list[DepartmentView]


class Removed(Model):
    """What is gone."""

    id: str
    name: str


@command(
    "department.create",
    effect="write",
    resource="",
    sinks=("lead", "parent"),
    permission="admin",
    summary="Make a department.",
    positional=("name",),
    examples=[Example("hub department create sales --lead ana", "Ana decides what goes `to lead` there")],
)
def department_create(ctx: Context, args: DepartmentCreate) -> DepartmentView:
    """Policies can name it: `principal in Department::"dept_…"` holds for everyone in it and below it."""
    org_id = ctx.principal.org_id
    parent = departments.find(ctx.hub, org_id, args.parent, param="parent") if args.parent else None
    lead = person(ctx, args.lead, param="lead") if args.lead else None
    made = departments.create(
        ctx.hub,
        org_id,
        name=args.name,
        parent_id=parent.id if parent else None,
        lead_id=lead.id if lead else None,
        at_ms=ctx.now_ms,
    )
    return _views(ctx, [made])[0]


@command(
    "department.list",
    effect="read",
    resource="",
    permission="read",
    summary="List departments.",
    examples=[Example("hub department list", "Newest first")],
)
def department_list(ctx: Context, args: PageArgs) -> DepartmentList:
    """Newest first."""
    rows = departments.listing(ctx.hub, ctx.principal.org_id, after=args.after, limit=args.limit)
    shown = page(rows, limit=args.limit, key=lambda row: row.id)
    return DepartmentList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "department.show",
    effect="read",
    resource="department",
    permission="read",
    summary="Show a department and its people.",
    positional=("department",),
    examples=[Example("hub department show sales", "Who is in it, and who leads it")],
)
def department_show(ctx: Context, args: DepartmentNamed) -> DepartmentWhole:
    """By name or id."""
    found = departments.find(ctx.hub, ctx.principal.org_id, args.department)
    members = departments.members(ctx.hub, found.id)
    shown = [MemberView(user_id=one.user_id, name=one.name, title=one.title) for one in members]
    return DepartmentWhole(**_views(ctx, [found])[0].model_dump(), members=shown)


@command(
    "department.set",
    effect="write",
    resource="department",
    sinks=("department", "lead", "parent"),
    permission="admin",
    summary="Rename or move a department, or give it another lead.",
    positional=("department",),
    examples=[Example("hub department set sales --lead bob", "From now on Bob leads it")],
)
def department_set(ctx: Context, args: DepartmentSet) -> DepartmentView:
    """What is left out stays as it is."""
    org_id = ctx.principal.org_id
    found = departments.find(ctx.hub, org_id, args.department)
    values: dict[str, str | None] = {}
    if args.name is not None:
        values["name"] = args.name
    if args.parent is not None:
        above = args.parent
        values["parent_id"] = (
            None if above == "none" else departments.find(ctx.hub, org_id, above, param="parent").id
        )
    if args.lead is not None:
        values["lead_id"] = None if args.lead == "none" else person(ctx, args.lead, param="lead").id
    return _views(ctx, [departments.change(ctx.hub, org_id, found, **values) if values else found])[0]


@command(
    "department.join",
    effect="write",
    resource="department",
    sinks=("department", "user"),
    permission="admin",
    summary="Put a person in a department.",
    positional=("department", "user"),
    examples=[
        Example("hub department join sales ana --title 'Head of sales'", "A second time changes the title")
    ],
)
def department_join(ctx: Context, args: DepartmentJoin) -> DepartmentWhole:
    """A person can be in several."""
    found = departments.find(ctx.hub, ctx.principal.org_id, args.department)
    departments.join(ctx.hub, found, person(ctx, args.user, param="user"), title=args.title, at_ms=ctx.now_ms)
    return department_show(ctx, DepartmentNamed(department=found.id))


@command(
    "department.leave",
    effect="write",
    resource="department",
    sinks=("department", "user"),
    permission="admin",
    summary="Take a person out of a department.",
    positional=("department", "user"),
    examples=[Example("hub department leave sales ana", "Harmless if they are not in it")],
)
def department_leave(ctx: Context, args: DepartmentLeave) -> DepartmentWhole:
    """Harmless if they are not in it."""
    found = departments.find(ctx.hub, ctx.principal.org_id, args.department)
    departments.leave(ctx.hub, found, person(ctx, args.user, param="user"))
    return department_show(ctx, DepartmentNamed(department=found.id))


@command(
    "department.remove",
    effect="write",
    resource="department",
    sinks=("department",),
    permission="admin",
    summary="Remove an empty department.",
    positional=("department",),
    examples=[Example("hub department remove sales", "Its people and departments have to be moved first")],
)
def department_remove(ctx: Context, args: DepartmentNamed) -> Removed:
    """Refused while people or departments are in it."""
    found = departments.find(ctx.hub, ctx.principal.org_id, args.department)
    departments.remove(ctx.hub, found)
    return Removed(id=found.id, name=found.name)


def _views(ctx: Context, rows: list[Department]) -> list[DepartmentView]:
    names = names_of(ctx, [row.lead_id for row in rows])
    return [
        DepartmentView(
            id=row.id,
            name=row.name,
            parent_id=row.parent_id,
            lead=names[row.lead_id or ""],
            created_at_ms=row.created_at_ms,
        )
        for row in rows
    ]
