"""`hub file …`: the drive: content-addressed files with every version kept, folders by path, and shares."""

import base64
import binascii
import hashlib
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row, insert, or_, select, update

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.commands.declare import Content
from tokenhub.commands.paging import PageArgs, PageResult
from tokenhub.commands.resources import Found, resolver
from tokenhub.db.upsert import insert_for
from tokenhub.http.pagination import page
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest, PayloadTooLarge, PermissionDenied
from tokenhub.kernel.ids import new_id
from tokenhub.work.errors import FileNotFound
from tokenhub.work.people import names_of, notify, person
from tokenhub.work.sharing import ShareView, set_share, shares_of
from tokenhub.work.tables import blobs, file_versions, files
from tokenhub.work.visibility import files_of

VERBS: list[Command] = []
SIZE_MAX = 8 * 1024 * 1024
Everyone = Literal["", "read", "write"]


class FileView(Model):
    """A file without its content."""

    id: str
    folder: str
    name: str
    owner: str
    everyone: str = Field(description="What everyone in the organisation may: nothing, `read` or `write`.")
    version: int
    size_bytes: int
    sha256: str
    created_at_ms: int
    updated_at_ms: int


class FileWhole(FileView):
    """A file and who may see it."""

    shares: list[ShareView]


class FileContent(Model):
    """What is in a file."""

    id: str
    name: str
    version: int
    sha256: str
    content_base64: str


class FilePut(Model):
    """A new file, or a new version of one's own of the same folder and name."""

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^/]+$", description="Its name.")
    content_base64: Content = Field(
        max_length=SIZE_MAX * 4 // 3 + 16, description="Its content in base64; `@FILE` sends that file."
    )
    folder: str = Field(default="", max_length=400, description="Path of its folder, such as `plans/2027`.")
    everyone: Everyone = Field(
        default="", description="What everyone in the organisation may: nothing, `read` or `write`."
    )


class FileNamed(Model):
    """One file."""

    file: str = Field(description="Id of the file, or its name if only one has it.")


class FileGetArgs(FileNamed):
    """Which version."""

    version: int | None = Field(default=None, ge=1, description="An earlier version; the newest if left out.")


class FileMove(FileNamed):
    """Where to."""

    name: str | None = Field(
        default=None, min_length=1, max_length=200, pattern=r"^[^/]+$", description="New name."
    )
    folder: str | None = Field(default=None, max_length=400, description="New folder.")


class FileShare(FileNamed):
    """With whom."""

    user: str = Field(description="Name or id of the person.")
    rights: Literal["read", "write", "none"] = Field(
        default="read", description="What they may; `none` ends it."
    )


class FileListArgs(PageArgs):
    """Which files."""

    folder: str | None = Field(default=None, description="Only of this folder.")
    match: str = Field(default="", max_length=200, description="Only those whose name has this.")


class FileList(PageResult):
    """A page of files."""

    items: list[FileView]


class FileRemoved(Model):
    """What was put away."""

    id: str
    name: str


@command(
    "file.put",
    effect="write",
    resource="",
    sinks=("name", "folder", "everyone"),
    permission="work",
    cost=2,
    summary="Keep a file in the drive.",
    positional=("name", "content_base64"),
    examples=[Example("hub file put plan.pdf @plan.pdf --folder plans", "A second time makes version 2")],
)
def file_put(ctx: Context, args: FilePut) -> FileView:
    """Up to 8 MB. The same content is stored once in an organisation."""
    data = _data(args.content_base64)
    folder = "/".join(part for part in args.folder.split("/") if part)
    same = (
        (files.c.folder == folder) & (files.c.name == args.name) & (files.c.owner_id == ctx.principal.actor)
    )
    row = ctx.hub.execute(select(files).where(files_of(ctx.principal), same)).first()
    file_id, version = (new_id("file"), 1) if row is None else (row.id, row.version + 1)
    if row is None:
        ctx.hub.execute(
            insert(files).values(
                id=file_id,
                org_id=ctx.principal.org_id,
                folder=folder,
                name=args.name,
                owner_id=ctx.principal.actor,
                everyone=args.everyone,
                version=1,
                created_at_ms=ctx.now_ms,
                updated_at_ms=ctx.now_ms,
            )
        )
    else:
        values = {"version": version, "updated_at_ms": ctx.now_ms}
        ctx.hub.execute(update(files).where(files.c.id == file_id).values(**values))
    sha256 = hashlib.sha256(data).hexdigest()
    blob = {"org_id": ctx.principal.org_id, "sha256": sha256, "data": data}
    keep = insert_for(ctx.hub, blobs).values(blob)
    same_key = [blobs.c.org_id, blobs.c.sha256]
    # An update that changes nothing holds the row: an undo that would delete it waits, and then sees this version.
    ctx.hub.execute(keep.on_conflict_do_update(index_elements=same_key, set_={"sha256": sha256}))
    ctx.hub.execute(
        insert(file_versions).values(
            file_id=file_id,
            version=version,
            sha256=sha256,
            size_bytes=len(data),
            author_id=ctx.principal.actor,
            created_at_ms=ctx.now_ms,
        )
    )
    return _show(ctx, file_id)


@command(
    "file.list",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="List files that you see.",
    columns=("id", "folder", "name", "owner", "version", "size_bytes"),
    examples=[Example("hub file list --folder plans", "Newest first")],
)
def file_list(ctx: Context, args: FileListArgs) -> FileList:
    """Newest first."""
    query = select(files).where(files_of(ctx.principal)).order_by(files.c.id.desc())
    if args.folder is not None:
        query = query.where(files.c.folder == args.folder.strip("/"))
    if args.match:
        query = query.where(files.c.name.icontains(args.match, autoescape=True))
    if args.after is not None:
        query = query.where(files.c.id < args.after)
    shown = page(ctx.hub.execute(query.limit(args.limit + 1)).all(), limit=args.limit, key=lambda row: row.id)
    return FileList(items=_views(ctx, shown.items), next_cursor=shown.next_cursor)


@command(
    "file.show",
    effect="read",
    resource="file",
    permission="read",
    trust="untrusted",
    summary="Show a file and who may see it.",
    positional=("file",),
    examples=[Example("hub file show plan.pdf", "Size, hash, shares")],
)
def file_show(ctx: Context, args: FileNamed) -> FileWhole:
    """By id, or by a name that only one has."""
    row = _find(ctx.hub, ctx.principal, args.file)
    return FileWhole(**_views(ctx, [row])[0].model_dump(), shares=shares_of(ctx, row.id))


@command(
    "file.get",
    effect="read",
    resource="file",
    permission="read",
    trust="untrusted",
    summary="Get the content of a file.",
    positional=("file",),
    examples=[Example("hub file get plan.pdf --json", "In base64; also an earlier `--version`")],
)
def file_get(ctx: Context, args: FileGetArgs) -> FileContent:
    """The newest version, or an earlier one."""
    row = _find(ctx.hub, ctx.principal, args.file)
    version = args.version or row.version
    query = (
        select(file_versions.c.sha256, blobs.c.data)
        .join(blobs, (blobs.c.sha256 == file_versions.c.sha256) & (blobs.c.org_id == ctx.principal.org_id))
        .where(file_versions.c.file_id == row.id, file_versions.c.version == version)
    )
    found = ctx.hub.execute(query).one_or_none()
    if found is None:
        raise FileNotFound(f"{row.name!r} has no version {version}.", param="version")
    content = base64.b64encode(found.data).decode()
    return FileContent(id=row.id, name=row.name, version=version, sha256=found.sha256, content_base64=content)


@command(
    "file.move",
    effect="write",
    resource="file",
    sinks=("file",),
    permission="work",
    summary="Rename a file, or put it in another folder.",
    positional=("file",),
    examples=[Example("hub file move plan.pdf --folder plans/old", "Shares stay")],
)
def file_move(ctx: Context, args: FileMove) -> FileView:
    """By its owner."""
    row = _own(ctx, args.file)
    values: dict[str, Any] = {"updated_at_ms": ctx.now_ms}
    if args.name is not None:
        values["name"] = args.name
    if args.folder is not None:
        values["folder"] = "/".join(part for part in args.folder.split("/") if part)
    ctx.hub.execute(update(files).where(files.c.id == row.id).values(**values))
    return _show(ctx, row.id)


@command(
    "file.share",
    effect="write",
    resource="file",
    sinks=("file", "user"),
    permission="work",
    summary="Let a colleague read a file.",
    positional=("file", "user"),
    examples=[Example("hub file share plan.pdf ana", "Ana is told")],
)
def file_share(ctx: Context, args: FileShare) -> FileWhole:
    """By its owner."""
    row = _own(ctx, args.file)
    user = person(ctx, args.user, param="user")
    set_share(ctx, row.id, user.id, args.rights)
    if args.rights != "none":
        notify(ctx, [user.id], kind="shared", subject=row.id, text=row.name)
    return file_show(ctx, FileNamed(file=row.id))


@command(
    "file.remove",
    effect="write",
    resource="file",
    sinks=("file",),
    permission="work",
    summary="Put a file away.",
    positional=("file",),
    examples=[Example("hub file remove plan.pdf", "`hub audit undo` brings it back")],
)
def file_remove(ctx: Context, args: FileNamed) -> FileRemoved:
    """By its owner. Nobody sees it any more; nothing is deleted."""
    row = _own(ctx, args.file)
    ctx.hub.execute(update(files).where(files.c.id == row.id).values(removed_at_ms=ctx.now_ms))
    return FileRemoved(id=row.id, name=row.name)


@resolver("file")
def _file(connection: Connection, principal: Principal, named: str) -> Found:
    row = _find(connection, principal, named)
    return Found(row.id, row.owner_id, row.name)


def _data(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest("`content_base64` is not base64.", param="content_base64") from error
    if len(data) > SIZE_MAX:
        raise PayloadTooLarge(f"A file of the drive has at most {SIZE_MAX} bytes.", param="content_base64")
    return data


def _find(connection: Connection, principal: Principal, named: str) -> Row[Any]:
    query = (
        select(files)
        .where(files_of(principal), or_(files.c.id == named, files.c.name == named))
        .order_by(files.c.id != named)
        .limit(50)
    )
    rows = connection.execute(query).all()
    exact = [row for row in rows if row.id == named] or rows
    if len(exact) != 1:
        problem = (
            f"Several files are called {named!r}; name one by its id." if rows else f"No file {named!r}."
        )
        raise FileNotFound(problem, param="file", hint="List them with `hub file list`.")
    return exact[0]


def _own(ctx: Context, named: str) -> Row[Any]:
    row = _find(ctx.hub, ctx.principal, named)
    if row.owner_id != ctx.principal.actor:
        raise PermissionDenied("Only its owner does this.", param="file")
    return row


def _show(ctx: Context, file_id: str) -> FileView:
    return _views(ctx, [ctx.hub.execute(select(files).where(files.c.id == file_id)).one()])[0]


def _views(ctx: Context, rows: list[Row[Any]]) -> list[FileView]:
    names = names_of(ctx, [row.owner_id for row in rows])
    kept = {
        (one.file_id, one.version): one
        for one in ctx.hub.execute(
            select(file_versions).where(file_versions.c.file_id.in_([row.id for row in rows]))
        )
    }
    return [
        FileView(
            id=row.id,
            folder=row.folder,
            name=row.name,
            owner=names[row.owner_id],
            everyone=row.everyone,
            version=row.version,
            size_bytes=kept[row.id, row.version].size_bytes,
            sha256=kept[row.id, row.version].sha256,
            created_at_ms=row.created_at_ms,
            updated_at_ms=row.updated_at_ms,
        )
        for row in rows
    ]
