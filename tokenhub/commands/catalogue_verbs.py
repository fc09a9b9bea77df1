"""`hub commands search|describe`: find the command for a task, then learn exactly that one."""

from typing import Any

from pydantic import Field

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.commands.describe import describe, inlined
from tokenhub.commands.retrieval import index_of, index_with

VERBS: list[Command] = []


class SearchArgs(Model):
    """What for."""

    text: str = Field(
        default="", max_length=500, description="What you want to do, in a few words; empty = everything."
    )
    limit: int = Field(default=10, ge=1, le=200, description="Most answers.")


class Match(Model):
    """A command that may fit."""

    name: str
    summary: str
    effect: str
    line: str = Field(description="A line that works, to begin with.")


class SearchResult(Model):
    """The best first."""

    items: list[Match]


class DescribeArgs(Model):
    """One command."""

    name: str = Field(description="The command, such as `task.create`.")


class Described(Model):
    """All that a caller needs."""

    name: str
    summary: str
    description: str
    effect: str
    permission: str
    resource: str
    sinks: list[str]
    trust: str
    undo: str
    cost: int
    arguments: dict[str, Any] = Field(description="JSON schema.")
    examples: list[dict[str, Any]]


@command(
    "commands.search",
    effect="read",
    resource="",
    permission="",
    cost=0,
    summary="Find the command for a task.",
    positional=("text",),
    columns=("name", "effect", "summary", "line"),
    examples=[Example("hub commands search 'give a key a new secret'", "The best matches first")],
)
def commands_search(ctx: Context, args: SearchArgs) -> SearchResult:
    """Only commands that the caller's key covers."""
    return SearchResult(
        items=[
            Match(
                name=found.name,
                summary=found.summary,
                effect=found.effect,
                line=found.examples[0].line if found.examples else f"hub {found.noun} {found.verb}",
            )
            for found, _ in _fitting(ctx, args.text)[: args.limit]
        ]
    )


@command(
    "commands.describe",
    effect="read",
    resource="",
    permission="",
    cost=0,
    summary="Describe one command: arguments, effect, what takes it back.",
    positional=("name",),
    examples=[Example("hub commands describe key.create", "Its JSON schema and examples")],
)
def commands_describe(ctx: Context, args: DescribeArgs) -> Described:
    """What `GET /api/commands/<name>` answers, without the result's schema."""
    found = describe(ctx.command(args.name.replace(" ", ".")))
    found["arguments"] = inlined(found["arguments"])
    return Described(**{name: found[name] for name in Described.model_fields})


def _fitting(ctx: Context, text: str) -> list[tuple[Command, float]]:
    """What the caller's key covers: the best first, or everything by name if nothing is asked."""
    if not text.strip():
        every = ctx.registry.every(ctx.hub, ctx.principal.org_id)
        return [(found, 0.0) for found in every if ctx.principal.allows(found.permission)]
    outside = ctx.registry.besides(ctx.hub, ctx.principal.org_id)
    index = index_with(ctx.registry, outside) if outside else index_of(ctx.registry)
    hits = index.search(text)
    return [(found, score) for found, score in hits if ctx.principal.allows(found.permission)]
