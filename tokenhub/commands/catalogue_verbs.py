"""`hub commands search|describe`: find the command for a task, then learn exactly that one."""

import re
from typing import Any

from pydantic import Field

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command, Example, Model, command
from tokenhub.commands.describe import describe, inlined, searchable

VERBS: list[Command] = []
_ENDINGS = re.compile(r"(ing|ed|es|s)$")


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
    words = _words(args.text)
    scored: list[tuple[float, str, Command]] = []
    for declared in ctx.registry:
        if not ctx.principal.allows(declared.permission):
            continue
        score = _score(words, declared)
        if score > 0 or not words:
            scored.append((-score, declared.name, declared))
    scored.sort(key=lambda item: item[:2])
    return SearchResult(
        items=[
            Match(
                name=found.name,
                summary=found.summary,
                effect=found.effect,
                line=found.examples[0].line if found.examples else f"hub {found.noun} {found.verb}",
            )
            for _, _, found in scored[: args.limit]
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
    found = describe(ctx.registry.get(args.name.replace(" ", ".")))
    found["arguments"] = inlined(found["arguments"])
    return Described(**{name: found[name] for name in Described.model_fields})


def _score(words: list[str], declared: Command) -> float:
    strong = set(_words(declared.name.replace(".", " ").replace("-", " ")))
    texts = _words(searchable(declared))
    weak = set(texts)
    return sum(4.0 if word in strong else 1.0 if word in weak else 0.0 for word in words)


def _words(text: str) -> list[str]:
    return [_ENDINGS.sub("", word) for word in re.findall(r"[a-z0-9]{2,}", text.lower())]
