"""`hub commands offer`: the exact commands that a sentence may mean, ready to run or to choose from."""

from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from tokenhub.agents.intent.options import options_of
from tokenhub.commands import Command, Context, Example, Model, command
from tokenhub.identity.directory import people_named_in
from tokenhub.kernel.errors import InvalidRequest

VERBS: list[Command] = []


class OfferArgs(Model):
    """What is wanted."""

    text: str = Field(min_length=1, max_length=2000, description="What you want done, in your own words.")
    now: str = Field(
        default="", max_length=40, description="Local time from which days count, ISO 8601; empty = now, UTC."
    )


class Offer(Model):
    """A command that may be meant, valid as it stands."""

    command: str
    arguments: dict[str, Any]
    summary: str
    effect: str
    score: float = Field(description="How well it fits; compares within one answer only.")
    complete: bool = Field(description="False if a required argument had to be guessed.")


class Offered(Model):
    """The best first."""

    items: list[Offer]


@command(
    "commands.offer",
    effect="read",
    resource="",
    permission="",
    cost=0,
    summary="Turn a sentence into the exact commands that it may mean.",
    positional=("text",),
    columns=("command", "arguments", "effect", "score", "complete"),
    examples=[
        Example("hub commands offer 'ana should order paper by friday'", "Runs nothing; `hub do` does")
    ],
)
def commands_offer(ctx: Context, args: OfferArgs) -> Offered:
    """Only commands that the caller's key covers. Runs nothing and asks no model."""
    me = ctx.principal
    people = people_named_in(ctx.hub, me.org_id, args.text) if me.allows("read") else []
    options = options_of(
        ctx.registry,
        args.text,
        people=people,
        now=_now(args.now, ctx.now_ms),
        allows=lambda declared: me.allows(declared.permission),
        others=ctx.registry.besides(ctx.hub, me.org_id),
    )
    return Offered(
        items=[
            Offer(
                command=option.command,
                arguments=option.arguments,
                summary=option.summary,
                effect=option.effect,
                score=round(option.score, 4),
                complete=option.complete,
            )
            for option in options
        ]
    )


def _now(text: str, now_ms: int) -> datetime:
    if not text:
        return datetime.fromtimestamp(now_ms / 1000, UTC).replace(tzinfo=None)
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is no time such as 2026-11-23T09:00.", param="now") from error
