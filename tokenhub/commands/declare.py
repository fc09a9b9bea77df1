"""One declaration of a command; CLI verb, HTTP route, JSON schema, audit row and docs page derive from it.

    class BudgetCreate(Model):
        scope: str = Field(description="What it limits: `key`, `user`, `team`, `org`.")
        cap: int = Field(ge=0, description="Most that may be used in one window.")

    @command(
        "budget.create",
        effect="write",
        writes="ledger",
        permission="admin",
        summary="Set a limit.",
        positional=("scope",),
        examples=[Example("hub budget create key --cap 1000000", "A million tokens for one key")],
    )
    def budget_create(ctx: Context, args: BudgetCreate) -> BudgetView: ...

The decorator returns the function unchanged and appends the `Command` to the module's list `VERBS`.
Arguments and results are `Model`s; each field's `description` is the help of its flag. Lists are answered as
a model with one list field (`items: list[View]`, and `next_cursor: str | None` if it pages).
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field

from tokenhub.commands.context import Context
from tokenhub.db.engine import Name

Effect = Literal["read", "write", "irreversible"]
Permission = Literal["", "admin", "inference", "read", "usage:read", "keys:write"]
"""The scope a caller needs; empty = any known caller."""

Secret = Annotated[str, Field(json_schema_extra={"format": "password"})]
"""A field that is shown or sent once: kept out of audit rows, stored answers, dry runs and logs."""


class Model(BaseModel):
    """Arguments or result of a command; unknown arguments are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Example(NamedTuple):
    """A line that works as printed, and what it does."""

    line: str
    note: str


A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Command:
    """One declared command."""

    name: str
    """`noun.verb`, both lower-case, words joined by `-`."""
    summary: str
    """One sentence, imperative; the first line of its help."""
    effect: Effect
    permission: Permission
    writes: Name | None
    """The database that holds effect, idempotency key and audit row; None for a read."""
    arguments: type[BaseModel]
    result: type[BaseModel]
    run: Callable[[Context, Any], BaseModel]
    positional: tuple[str, ...]
    """Argument fields that the CLI also takes by position, in order."""
    columns: tuple[str, ...]
    """Fields of a listed item that the CLI's table shows; empty = all that are short."""
    examples: tuple[Example, ...]
    description: str
    """The verb's docstring: what the summary leaves out."""

    @property
    def noun(self) -> str:
        """`key` of `key.create`."""
        return self.name.split(".", 1)[0]

    @property
    def verb(self) -> str:
        """`create` of `key.create`."""
        return self.name.split(".", 1)[1]


def command(
    name: str,
    *,
    effect: Effect,
    permission: Permission,
    summary: str,
    writes: Name = "hub",
    positional: Sequence[str] = (),
    columns: Sequence[str] = (),
    examples: Sequence[Example] = (),
) -> Callable[[Callable[[Context, A], R]], Callable[[Context, A], R]]:
    """Declare the decorated function `(ctx: Context, args: Model) -> Model` as the command `noun.verb`.

    Raises: ValueError at import for a declaration that no face could carry.
    """

    def declare(run: Callable[[Context, A], R]) -> Callable[[Context, A], R]:
        hints = get_type_hints(run)
        arguments, result = _types(name, run, hints)
        missing = [field for field in positional if field not in arguments.model_fields]
        if missing or name.count(".") != 1 or name != name.lower():
            raise ValueError(f"command {name!r}: name is noun.verb and positional are arguments ({missing})")
        declared = Command(
            name=name,
            summary=summary,
            effect=effect,
            permission=permission,
            writes=None if effect == "read" else writes,
            arguments=arguments,
            result=result,
            run=run,
            positional=tuple(positional),
            columns=tuple(columns),
            examples=tuple(examples),
            description=(run.__doc__ or "").strip(),
        )
        vars(sys.modules[run.__module__]).setdefault("VERBS", []).append(declared)
        return run

    return declare


def _types(
    name: str, run: Callable[..., Any], hints: dict[str, Any]
) -> tuple[type[BaseModel], type[BaseModel]]:
    parameters = [hint for key, hint in hints.items() if key != "return"]
    result = hints.get("return")
    if len(parameters) != 2 or not _is_model(parameters[1]) or not _is_model(result):
        raise ValueError(f"command {name!r}: {run.__qualname__} must be (ctx: Context, args: Model) -> Model")
    return parameters[1], result  # pyright: ignore[reportReturnType]


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)
