"""`hub doc …`: documents with every version kept, comments on a version, and shares."""

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, insert, or_, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.declare import Content
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import PermissionDenied
from tokenhub.kernel.ids import new_id
from tokenhub.work.errors import DocNotFound, Outdated
from tokenhub.work.people import names_of, notify, person
from tokenhub.work.sharing import ShareView, set_share, shares_of
from tokenhub.work.tables import doc_comments, doc_versions, docs
from tokenhub.work.visibility import docs_of

VERBS: list[Command] = []
CONTENT_MAX = 1_000_000
Everyone = Literal["", "read", "write"]


class DocView(Model):
    """A document without its text."""

    id: str
    title: str
    owner: str
    everyone: str = Field(description="What everyone in the organisation may: nothing, `read` or `write`.")
    version: int
    created_at_ms: int
    updated_at_ms: int


class DocCommentView(Model):
    """What somebody said about a version."""

    id: str
    version: int
    author: str
    quote: str
    text: str
    created_at_ms: int


class DocWhole(DocView):
    """A document, its text, comments and shares."""

    content: str
    comments: list[DocCommentView]
    shares: list[ShareView]


class DocVersionView(Model):
    """One version."""

    version: int
    author: str
    characters: int
    created_at_ms: int


class DocHistory(Model):
    """Every version, newest first."""

    items: list[DocVersionView]


class DocCreate(Model):
    """A new document."""

    title: str = Field(min_length=1, max_length=200, description="Its title.")
    content: Content = Field(default="", max_length=CONTENT_MAX, description="Its text, Markdown.")
    everyone: Everyone = Field(
        default="", description="What everyone in the organisation may: nothing, `read` or `write`."
    )


class DocNamed(Model):
    """One document."""

    doc: str = Field(description="Id of the document, or its title if only one has it.")


class DocShowArgs(DocNamed):
    """Which version."""

    version: int | None = Field(default=None, ge=1, description="An earlier version; the newest if left out.")


class DocEdit(DocNamed):
    """A new version."""

    content: Content | None = Field(default=None, max_length=CONTENT_MAX, description="The whole new text.")
    title: str | None = Field(default=None, min_length=1, max_length=200, description="New title.")
    everyone: Everyone | None = Field(
        default=None, description="What everyone may from now on (its owner decides)."
    )
    base: int | None = Field(
        default=None, ge=1, description="The version that you read; refused if there is a newer one."
    )


class DocComment(DocNamed):
    """Something to say."""

    text: str = Field(min_length=1, max_length=20_000, description="What to say.")
    quote: str = Field(default="", max_length=500, description="The words of the document that it is about.")


class DocShare(DocNamed):
    """With whom."""

    user: str = Field(description="Name or id of the person.")
    rights: Literal["read", "write", "none"] = Field(
        default="read", description="What they may; `none` ends it."
    )


class DocListArgs(PageArgs):
    """Which documents."""

    match: str = Field(default="", max_length=200, description="Only those whose title or text has this.")


class DocList(PageResult):
    """A page of documents."""

    items: list[DocView]


class DocRemoved(Model):
    """What was put away."""

    id: str
    title: str


@command(
    "doc.create",
    effect="write",
    resource="",
    sinks=("everyone",),
    permission="work",
    summary="Write a document.",
    positional=("title",),
    examples=[
        Example("hub doc create 'Launch plan' --content @plan.md", "Only you see it until you share it")
    ],
)
def doc_create(ctx: Context, args: DocCreate) -> DocView:
    """Every version stays."""
    doc_id = new_id("doc")
    ctx.hub.execute(
        insert(docs).values(
            id=doc_id,
            org_id=ctx.principal.org_id,
            title=args.title,
            owner_id=ctx.principal.actor,
            everyone=args.everyone,
            version=1,
            created_at_ms=ctx.now_ms,
            updated_at_ms=ctx.now_ms,
        )
    )
    _keep(ctx, doc_id, 1, args.content)
    return _show(ctx, doc_id)


@command(
    "doc.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List documents that you see.",
    columns=("id", "title", "owner", "version", "updated_at_ms"),
    examples=[Example("hub doc list --match budget", "By title or text")],
)
def doc_list(ctx: Context, args: DocListArgs) -> DocList:
    """Newest first."""
    query = select(docs).where(docs_of(ctx.principal)).order_by(docs.c.id.desc())
    if args.match:
        inside = select(doc_versions.c.doc_id).where(
            doc_versions.c.doc_id == docs.c.id,
            doc_versions.c.version == docs.c.version,
            doc_versions.c.content.icontains(args.match, autoescape=True),
        )
        query = query.where(or_(docs.c.title.icontains(args.match, autoescape=True), inside.exists()))
    if args.after is not None:
        query = query.where(docs.c.id < args.after)
    shown = page(ctx.hub.execute(query.limit(args.limit + 1)).all(), limit=args.limit, key=lambda row: row.id)
    return DocList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "doc.show",
    effect="read",
    resource="doc",
    permission="read",
    trust="untrusted",
    summary="Read a document.",
    positional=("doc",),
    examples=[
        Example("hub doc show 'Launch plan'", "Text, comments, shares"),
        Example("hub doc show doc_01… --version 1", "As it began"),
    ],
)
def doc_show(ctx: Context, args: DocShowArgs) -> DocWhole:
    """The newest version, or an earlier one."""
    row = _find(ctx.hub, ctx.principal, args.doc)
    version = args.version or row.version
    text = ctx.hub.execute(
        select(doc_versions.c.content).where(
            doc_versions.c.doc_id == row.id, doc_versions.c.version == version
        )
    ).scalar_one_or_none()
    if text is None:
        raise DocNotFound(f"{row.title!r} has no version {version}.", param="version")
    said = ctx.hub.execute(
        select(doc_comments).where(doc_comments.c.doc_id == row.id).order_by(doc_comments.c.id).limit(500)
    ).all()
    names = names_of(ctx, [one.author_id for one in said])
    comments = [
        DocCommentView(
            id=one.id,
            version=one.version,
            author=names[one.author_id],
            quote=one.quote,
            text=one.text,
            created_at_ms=one.created_at_ms,
        )
        for one in said
    ]
    whole = _views(ctx, [row])[0].model_dump()
    return DocWhole(**whole, content=text, comments=comments, shares=shares_of(ctx, row.id))


@command(
    "doc.history",
    effect="read",
    resource="doc",
    permission="read",
    summary="List the versions of a document.",
    positional=("doc",),
    examples=[Example("hub doc history 'Launch plan'", "Who wrote what when")],
)
def doc_history(ctx: Context, args: DocNamed) -> DocHistory:
    """Newest first."""
    row = _find(ctx.hub, ctx.principal, args.doc)
    rows = ctx.hub.execute(
        select(doc_versions)
        .where(doc_versions.c.doc_id == row.id)
        .order_by(doc_versions.c.version.desc())
        .limit(500)
    ).all()
    names = names_of(ctx, [one.author_id for one in rows])
    return DocHistory(
        items=[
            DocVersionView(
                version=one.version,
                author=names[one.author_id],
                characters=len(one.content),
                created_at_ms=one.created_at_ms,
            )
            for one in rows
        ]
    )


@command(
    "doc.edit",
    effect="write",
    resource="doc",
    sinks=("doc", "everyone"),
    permission="work",
    trust="untrusted",
    summary="Write a new version of a document, or change its title.",
    positional=("doc",),
    examples=[
        Example("hub doc edit 'Launch plan' --content @plan.md --base 3", "Refused if version 4 exists")
    ],
)
def doc_edit(ctx: Context, args: DocEdit) -> DocView:
    """Earlier versions stay. With `base`, nobody's work is written over."""
    row = _find(ctx.hub, ctx.principal, args.doc, writing=True)
    if args.base is not None and args.base != row.version:
        raise Outdated(
            f"{row.title!r} has version {row.version} now; read that first.",
            param="base",
            hint=f"See `hub doc show {row.id}`.",
        )
    values: dict[str, Any] = {"updated_at_ms": ctx.now_ms}
    if args.title is not None:
        values["title"] = args.title
    if args.everyone is not None:
        _own(ctx, row)
        values["everyone"] = args.everyone
    if args.content is not None:
        values["version"] = row.version + 1
        _keep(ctx, row.id, row.version + 1, args.content)
    ctx.hub.execute(update(docs).where(docs.c.id == row.id).values(**values))
    return _show(ctx, row.id)


@command(
    "doc.comment",
    effect="write",
    resource="doc",
    sinks=("doc",),
    permission="work",
    summary="Say something about a document.",
    positional=("doc", "text"),
    examples=[
        Example("hub doc comment 'Launch plan' 'Which Monday?' --quote 'on Monday'", "Its owner is told")
    ],
)
def doc_comment(ctx: Context, args: DocComment) -> DocCommentView:
    """By everyone who sees it; it stays with the version of that moment."""
    row = _find(ctx.hub, ctx.principal, args.doc)
    comment_id = new_id("comment")
    ctx.hub.execute(
        insert(doc_comments).values(
            id=comment_id,
            doc_id=row.id,
            version=row.version,
            author_id=ctx.principal.actor,
            quote=args.quote,
            text=args.text,
            created_at_ms=ctx.now_ms,
        )
    )
    notify(ctx, [row.owner_id], kind="comment", subject=row.id, text=args.text)
    names = names_of(ctx, [ctx.principal.actor])
    return DocCommentView(
        id=comment_id,
        version=row.version,
        author=names[ctx.principal.actor],
        quote=args.quote,
        text=args.text,
        created_at_ms=ctx.now_ms,
    )


@command(
    "doc.share",
    effect="write",
    resource="doc",
    sinks=("doc", "user"),
    permission="work",
    trust="untrusted",
    summary="Let a colleague read or write a document.",
    positional=("doc", "user"),
    examples=[Example("hub doc share 'Launch plan' ana --rights write", "Ana is told")],
)
def doc_share(ctx: Context, args: DocShare) -> DocWhole:
    """By its owner."""
    row = _find(ctx.hub, ctx.principal, args.doc)
    _own(ctx, row)
    user = person(ctx, args.user, param="user")
    set_share(ctx, row.id, user.id, args.rights)
    if args.rights != "none":
        notify(ctx, [user.id], kind="shared", subject=row.id, text=row.title)
    return doc_show(ctx, DocShowArgs(doc=row.id))


@command(
    "doc.remove",
    effect="write",
    resource="doc",
    sinks=("doc",),
    permission="work",
    trust="untrusted",
    summary="Put a document away.",
    positional=("doc",),
    examples=[Example("hub doc remove 'Launch plan'", "`hub audit undo` brings it back")],
)
def doc_remove(ctx: Context, args: DocNamed) -> DocRemoved:
    """By its owner. Nobody sees it any more; nothing is deleted."""
    row = _find(ctx.hub, ctx.principal, args.doc)
    _own(ctx, row)
    ctx.hub.execute(update(docs).where(docs.c.id == row.id).values(removed_at_ms=ctx.now_ms))
    return DocRemoved(id=row.id, title=row.title)


@resolver("doc")
def _doc(connection: Connection, principal: Principal, named: str) -> Found:
    row = _find(connection, principal, named)
    return Found(row.id, row.owner_id, row.title)


def _find(connection: Connection, principal: Principal, named: str, *, writing: bool = False) -> Row[Any]:
    query = select(docs).where(docs_of(principal), or_(docs.c.id == named, docs.c.title == named))
    query = query.order_by(docs.c.id != named).limit(50)
    rows = connection.execute(query).all()
    exact = [row for row in rows if row.id == named] or rows
    if len(exact) != 1:
        problem = (
            f"Several documents are called {named!r}; name one by its id."
            if rows
            else f"No document {named!r}."
        )
        raise DocNotFound(problem, param="doc", hint="List them with `hub doc list`.")
    row = exact[0]
    if writing:
        may = select(docs.c.id).where(docs_of(principal, writing=True), docs.c.id == row.id)
        if connection.execute(may).first() is None:
            raise PermissionDenied(f"You may read {row.title!r}, not change it.", param="doc")
    return row


def _own(ctx: Context, row: Row[Any]) -> None:
    if row.owner_id != ctx.principal.actor:
        raise PermissionDenied("Only its owner does this.", param="doc")


def _keep(ctx: Context, doc_id: str, version: int, content: str) -> None:
    ctx.hub.execute(
        insert(doc_versions).values(
            doc_id=doc_id,
            version=version,
            content=content,
            author_id=ctx.principal.actor,
            created_at_ms=ctx.now_ms,
        )
    )


def _show(ctx: Context, doc_id: str) -> DocView:
    return _views(ctx, [ctx.hub.execute(select(docs).where(docs.c.id == doc_id)).one()])[0]


def _views(ctx: Context, rows: list[Row[Any]]) -> list[DocView]:
    names = names_of(ctx, [row.owner_id for row in rows])
    return [
        DocView(
            id=row.id,
            title=row.title,
            owner=names[row.owner_id],
            everyone=row.everyone,
            version=row.version,
            created_at_ms=row.created_at_ms,
            updated_at_ms=row.updated_at_ms,
        )
        for row in rows
    ]
