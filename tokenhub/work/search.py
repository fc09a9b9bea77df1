"""`hub work search`: one search over everything that the caller sees."""

from typing import Literal

from pydantic import Field
from sqlalchemy import literal, or_, select, union_all

from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.work.tables import doc_versions, docs, files, messages, tasks
from tokenhub.work.visibility import docs_of, files_of, messages_of, tasks_of

VERBS: list[Command] = []
AROUND = 60


class SearchArgs(Model):
    """What to look for."""

    text: str = Field(min_length=2, max_length=200, description="Text that must be in it, whatever its case.")
    limit: int = Field(default=20, ge=1, le=200, description="Most answers.")


class Hit(Model):
    """Something that has the text."""

    kind: Literal["task", "message", "doc", "file"]
    id: str
    title: str
    around: str = Field(description="The words around it.")
    created_at_ms: int


class SearchResult(Model):
    """Newest first."""

    items: list[Hit]


@command(
    "work.search",
    effect="read",
    resource="",
    permission="read",
    trust="untrusted",
    summary="Search tasks, messages, documents and files that you see.",
    positional=("text",),
    columns=("kind", "id", "title", "around"),
    examples=[Example("hub work search budget", "Newest first, of every kind")],
)
def work_search(ctx: Context, args: SearchArgs) -> SearchResult:
    """Only what `hub task|message|doc|file list` would show the caller, by the same conditions."""
    me, text = ctx.principal, args.text
    newest = (doc_versions.c.doc_id == docs.c.id) & (doc_versions.c.version == docs.c.version)
    parts = (
        select(
            literal("task").label("kind"), tasks.c.id, tasks.c.title, tasks.c.body, tasks.c.created_at_ms
        ).where(
            tasks_of(me),
            or_(
                tasks.c.title.icontains(text, autoescape=True), tasks.c.body.icontains(text, autoescape=True)
            ),
        ),
        select(
            literal("message"), messages.c.id, literal(""), messages.c.text, messages.c.created_at_ms
        ).where(messages_of(me), messages.c.text.icontains(text, autoescape=True)),
        select(literal("doc"), docs.c.id, docs.c.title, doc_versions.c.content, docs.c.created_at_ms)
        .join(doc_versions, newest)
        .where(
            docs_of(me),
            or_(
                docs.c.title.icontains(text, autoescape=True),
                doc_versions.c.content.icontains(text, autoescape=True),
            ),
        ),
        select(literal("file"), files.c.id, files.c.name, files.c.folder, files.c.created_at_ms).where(
            files_of(me),
            or_(
                files.c.name.icontains(text, autoescape=True), files.c.folder.icontains(text, autoescape=True)
            ),
        ),
    )
    found = union_all(*parts).subquery("found")
    query = select(found).order_by(found.c.created_at_ms.desc(), found.c.id.desc()).limit(args.limit)
    return SearchResult(
        items=[
            Hit(
                kind=row.kind,
                id=row.id,
                title=row.title,
                around=_around(row.body, text),
                created_at_ms=row.created_at_ms,
            )
            for row in ctx.hub.execute(query)
        ]
    )


def _around(body: str, text: str) -> str:
    place = body.lower().find(text.lower())
    start = max(0, place - AROUND)
    return " ".join(body[start : start + 2 * AROUND + len(text)].split())
