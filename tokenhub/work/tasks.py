"""`hub task …`: who does what until when; tasks of a project are seen by those who see the project."""

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity import directory
from tokenhub.identity.directory import Project
from tokenhub.identity.types import Principal
from tokenhub.kernel.ids import new_id
from tokenhub.work.errors import TaskNotFound
from tokenhub.work.people import TEXT_MAX, instant_ms, names_of, notify, person
from tokenhub.work.tables import task_comments, tasks
from tokenhub.work.visibility import tasks_of, tasks_seen

VERBS: list[Command] = []
DUE_HELP = "Until when: a date, or a time such as 2026-11-23T17:00 (UTC unless it has an offset)."


class TaskView(Model):
    """A task."""

    id: str
    title: str
    body: str
    state: str = Field(description="`open`, `done` or `dropped`.")
    project: str = Field(description="Name of its project; empty if it has none.")
    assignee: str
    creator: str
    priority: int = Field(description="1 = first … 4.")
    due_at_ms: int | None
    created_at_ms: int
    updated_at_ms: int
    done_at_ms: int | None


class TaskCommentView(Model):
    """What somebody said about a task."""

    id: str
    author: str
    text: str
    created_at_ms: int


class TaskWhole(TaskView):
    """A task and what was said about it."""

    comments: list[TaskCommentView]


class TaskCreate(Model):
    """A new task."""

    title: str = Field(min_length=1, max_length=200, description="What is to be done.")
    body: str = Field(default="", max_length=TEXT_MAX, description="More about it.")
    assignee: str | None = Field(
        default=None, description="Who does it: name, id or `me`; nobody if left out."
    )
    project: str | None = Field(default=None, description="Project, by name or id.")
    due: str | None = Field(default=None, description=DUE_HELP)
    priority: int = Field(default=3, ge=1, le=4, description="1 = first … 4.")


class TaskNamed(Model):
    """One task."""

    task: str = Field(description="Id of the task, or its title if only one has it.")


class TaskSet(TaskNamed):
    """What to change."""

    title: str | None = Field(default=None, min_length=1, max_length=200, description="New title.")
    body: str | None = Field(default=None, max_length=TEXT_MAX, description="New text.")
    assignee: str | None = Field(default=None, description="Who does it now; `none` = nobody.")
    project: str | None = Field(default=None, description="Other project; `none` = none.")
    due: str | None = Field(default=None, description=DUE_HELP + " `none` = no end.")
    priority: int | None = Field(default=None, ge=1, le=4, description="1 = first … 4.")


class TaskComment(TaskNamed):
    """Something to say."""

    text: str = Field(min_length=1, max_length=TEXT_MAX, description="What to say.")


class TaskListArgs(PageArgs):
    """Which tasks."""

    state: Literal["open", "done", "dropped", ""] = Field(
        default="open", description="Only in this state; empty = all."
    )
    assignee: str | None = Field(default=None, description="Only of this person: name, id or `me`.")
    project: str | None = Field(default=None, description="Only of this project.")
    match: str = Field(default="", max_length=200, description="Only those whose title or text has this.")


class TaskList(PageResult):
    """A page of tasks."""

    items: list[TaskView]


@command(
    "task.create",
    effect="write",
    resource="",
    sinks=("assignee", "project"),
    permission="work",
    summary="Make a task, for yourself, a colleague or nobody yet.",
    positional=("title",),
    examples=[
        Example("hub task create 'Write the report' --assignee ana --due 2026-11-27", "Ana gets a notice"),
        Example("hub task create 'Order paper' --project office", "Whoever sees the project sees it"),
    ],
)
def task_create(ctx: Context, args: TaskCreate) -> TaskView:
    """Whoever is to do it is told."""
    assignee = person(ctx, args.assignee, param="assignee") if args.assignee else None
    task_id = new_id("task")
    row: dict[str, Any] = {
        "id": task_id,
        "org_id": ctx.principal.org_id,
        "project_id": _project(ctx, args.project),
        "title": args.title,
        "body": args.body,
        "state": "open",
        "creator_id": ctx.principal.actor,
        "assignee_id": assignee.id if assignee else None,
        "priority": args.priority,
        "due_at_ms": instant_ms(args.due, param="due"),
        "created_at_ms": ctx.now_ms,
        "updated_at_ms": ctx.now_ms,
    }
    ctx.hub.execute(_INSERT, row)
    if assignee is not None:
        notify(ctx, [assignee.id], kind="assigned", subject=task_id, text=args.title)
    return _show(ctx, task_id)


@command(
    "task.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List tasks that you see.",
    columns=("id", "title", "state", "assignee", "project", "priority", "due_at_ms"),
    examples=[Example("hub task list --assignee me", "What you have to do")],
)
def task_list(ctx: Context, args: TaskListArgs) -> TaskList:
    """Newest first: what you made or do, and what lies in projects that you see."""
    query = select(tasks).where(tasks_of(ctx.principal)).order_by(tasks.c.id.desc()).limit(args.limit + 1)
    if args.state:
        query = query.where(tasks.c.state == args.state)
    if args.assignee:
        query = query.where(tasks.c.assignee_id == person(ctx, args.assignee, param="assignee").id)
    if args.project:
        query = query.where(tasks.c.project_id == _project(ctx, args.project))
    if args.match:
        query = query.where(
            or_(
                tasks.c.title.icontains(args.match, autoescape=True),
                tasks.c.body.icontains(args.match, autoescape=True),
            )
        )
    if args.after is not None:
        query = query.where(tasks.c.id < args.after)
    shown = page(ctx.hub.execute(query).all(), limit=args.limit, key=lambda row: row.id)
    return TaskList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "task.show",
    effect="read",
    resource="task",
    permission="read",
    trust="untrusted",
    summary="Show a task and what was said about it.",
    positional=("task",),
    examples=[Example("hub task show task_01…", "Text, state, comments")],
)
def task_show(ctx: Context, args: TaskNamed) -> TaskWhole:
    """By id, or by a title that only one has."""
    row = _find(ctx.hub, ctx.principal, args.task)
    said = ctx.hub.execute(_COMMENTS, {"task_": row.id}).all()
    names = names_of(ctx, [one.author_id for one in said])
    comments = [
        TaskCommentView(
            id=one.id,
            author=names[one.author_id],
            text=one.text,
            created_at_ms=one.created_at_ms,
        )
        for one in said
    ]
    return TaskWhole(**_views(ctx, [row])[0].model_dump(), comments=comments)


@command(
    "task.set",
    effect="write",
    resource="task",
    sinks=("task", "assignee", "project"),
    permission="work",
    trust="untrusted",
    summary="Change a task.",
    positional=("task",),
    examples=[Example("hub task set task_01… --assignee bob --due none", "Bob does it, without an end")],
)
def task_set(ctx: Context, args: TaskSet) -> TaskView:
    """What is left out stays as it is. Whoever is to do it now is told."""
    row = _find(ctx.hub, ctx.principal, args.task)
    values: dict[str, Any] = {
        name: getattr(args, name) for name in ("title", "body", "priority") if getattr(args, name) is not None
    }
    if args.due is not None:
        values["due_at_ms"] = None if args.due == "none" else instant_ms(args.due, param="due")
    if args.project is not None:
        values["project_id"] = None if args.project == "none" else _project(ctx, args.project)
    if args.assignee is not None:
        values["assignee_id"] = (
            None if args.assignee == "none" else person(ctx, args.assignee, param="assignee").id
        )
        if values["assignee_id"] not in (None, row.assignee_id):
            notify(ctx, [values["assignee_id"]], kind="assigned", subject=row.id, text=row.title)
    return _change(ctx, row.id, **values)


@command(
    "task.finish",
    effect="write",
    resource="task",
    sinks=("task",),
    permission="work",
    trust="untrusted",
    summary="Mark a task as done.",
    positional=("task",),
    examples=[Example("hub task finish task_01…", "Whoever made it is told")],
)
def task_finish(ctx: Context, args: TaskNamed) -> TaskView:
    """Harmless if it is done already."""
    row = _find(ctx.hub, ctx.principal, args.task)
    if row.state != "done":
        notify(ctx, [row.creator_id], kind="done", subject=row.id, text=row.title)
    return _change(ctx, row.id, state="done", done_at_ms=row.done_at_ms or ctx.now_ms)


@command(
    "task.reopen",
    effect="write",
    resource="task",
    sinks=("task",),
    permission="work",
    trust="untrusted",
    summary="Open a task again that was done or dropped.",
    positional=("task",),
    examples=[Example("hub task reopen task_01…", "It is to be done again")],
)
def task_reopen(ctx: Context, args: TaskNamed) -> TaskView:
    """Harmless if it is open."""
    return _change(ctx, _find(ctx.hub, ctx.principal, args.task).id, state="open", done_at_ms=None)


@command(
    "task.drop",
    effect="write",
    resource="task",
    sinks=("task",),
    permission="work",
    trust="untrusted",
    summary="Drop a task: nobody will do it.",
    positional=("task",),
    examples=[Example("hub task drop task_01…", "It stays listed under `--state dropped`")],
)
def task_drop(ctx: Context, args: TaskNamed) -> TaskView:
    """Nothing is deleted."""
    return _change(ctx, _find(ctx.hub, ctx.principal, args.task).id, state="dropped")


@command(
    "task.comment",
    effect="write",
    resource="task",
    sinks=("task",),
    permission="work",
    summary="Say something about a task.",
    positional=("task", "text"),
    examples=[Example("hub task comment task_01… 'Waiting for the figures'", "Its maker and doer are told")],
)
def task_comment(ctx: Context, args: TaskComment) -> TaskCommentView:
    """Whoever made it and whoever does it are told."""
    row = _find(ctx.hub, ctx.principal, args.task)
    comment_id = new_id("comment")
    ctx.hub.execute(
        insert(task_comments).values(
            id=comment_id,
            org_id=ctx.principal.org_id,
            task_id=row.id,
            author_id=ctx.principal.actor,
            text=args.text,
            created_at_ms=ctx.now_ms,
        )
    )
    notify(
        ctx, filter(None, [row.creator_id, row.assignee_id]), kind="comment", subject=row.id, text=args.text
    )
    names = names_of(ctx, [ctx.principal.actor])
    author = names[ctx.principal.actor]
    return TaskCommentView(id=comment_id, author=author, text=args.text, created_at_ms=ctx.now_ms)


@resolver("task")
def _task(connection: Connection, principal: Principal, named: str) -> Found:
    row = _find(connection, principal, named)
    return Found(row.id, row.creator_id, row.title)


def _find(connection: Connection, principal: Principal, named: str) -> Row[Any]:
    whose = {"org_": principal.org_id, "me_": principal.actor, "user_": principal.user_id or ""}
    row = connection.execute(_BY_ID, {**whose, "named_": named}).one_or_none()
    if row is not None:
        return row
    rows = connection.execute(_BY_TITLE, {**whose, "named_": named}).all()
    if len(rows) != 1:
        problem = (
            f"Several tasks are called {named!r}; name one by its id." if rows else f"No task {named!r}."
        )
        raise TaskNotFound(problem, param="task", hint="List them with `hub task list`.")
    return rows[0]


def _change(ctx: Context, task_id: str, **values: Any) -> TaskView:
    ctx.hub.execute(update(tasks).where(tasks.c.id == task_id).values(updated_at_ms=ctx.now_ms, **values))
    return _show(ctx, task_id)


def _show(ctx: Context, task_id: str) -> TaskView:
    return _views(ctx, [ctx.hub.execute(_ONE, {"task_": task_id}).one()])[0]


def _project(ctx: Context, named: str | None) -> str | None:
    """Its id, if the caller sees its work. Raises: ProjectNotFound."""
    if named is None:
        return None
    found = directory.find(ctx.hub, Project, ctx.principal.org_id, named)
    visible = directory.open_projects(ctx.principal.org_id, ctx.principal.user_id or "").subquery()
    if ctx.hub.execute(select(visible.c.id).where(visible.c.id == found.id)).first() is None:
        directory.find(ctx.hub, Project, "", named)  # says that there is none
    return found.id


def _views(ctx: Context, rows: list[Row[Any]]) -> list[TaskView]:
    names = names_of(ctx, [one for row in rows for one in (row.assignee_id, row.creator_id)])
    projects = directory.project_names(
        ctx.hub, ctx.principal.org_id, {row.project_id for row in rows if row.project_id}
    )
    return [
        TaskView(
            id=row.id,
            title=row.title,
            body=row.body,
            state=row.state,
            project=projects.get(row.project_id or "", ""),
            assignee=names[row.assignee_id or ""],
            creator=names[row.creator_id],
            priority=row.priority,
            due_at_ms=row.due_at_ms,
            created_at_ms=row.created_at_ms,
            updated_at_ms=row.updated_at_ms,
            done_at_ms=row.done_at_ms,
        )
        for row in rows
    ]


# Made once: making a statement costs more than running it.
_SEEN = tasks_seen(bindparam("org_"), bindparam("me_"), bindparam("user_"))
_INSERT = insert(tasks)
_BY_ID = select(tasks).where(tasks.c.id == bindparam("named_"), _SEEN)
_BY_TITLE = select(tasks).where(tasks.c.title == bindparam("named_"), _SEEN).limit(2)
_ONE = select(tasks).where(tasks.c.id == bindparam("task_"))
_COMMENTS = (
    select(task_comments)
    .where(task_comments.c.task_id == bindparam("task_"))
    .order_by(task_comments.c.id)
    .limit(500)
)
