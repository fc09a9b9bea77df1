"""One declaration of a command; CLI verb, HTTP route, JSON schema, audit row and docs page derive from it.

    class BudgetCreate(Model):
        scope: str = Field(description="What it limits: `key`, `user`, `team`, `org`.")
        cap: int = Field(ge=0, description="Most that may be used in one window.")

    @command(
        "budget.create",
        effect="write",
        resource="",
        undo="budget.remove",
        writes="ledger",
        permission="admin",
        summary="Set a limit.",
        positional=("scope",),
        examples=[Example("hub budget create key --cap 1000000", "A million tokens for one key")],
    )
    def budget_create(ctx: Context, args: BudgetCreate) -> BudgetView: ...

The decorator returns the function unchanged and appends the `Command` to the module's list `VERBS`.
`effect` is `write` only if it can be taken back: by the rows that it changed (`undo="rows"`, the default), or by the
inverse command named in `undo`, whose arguments the verb gives with `ctx.inverse(...)`. What leaves the hub, ends a
secret or deletes for good is `irreversible`. `resource` names the argument that says on what it acts (`task`, or
`kind:argument` where the names differ; empty = the organisation); `sinks` those that choose who or what is affected.
`acts_on` finds that thing where several arguments can name it.
`trust="untrusted"` = the answer carries words that other people wrote.

Arguments and results are `Model`s; each field's `description` is the help of its flag. Lists are answered as
a model with one list field (`items: list[View]`, and `next_cursor: str | None` if it pages).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field

from tokenhub.commands.context import Context
from tokenhub.commands.kinds import creates, kind_of
from tokenhub.commands.resources import ActsOn
from tokenhub.db.engine import Name

Effect = Literal["read", "write", "irreversible"]
Trust = Literal["trusted", "untrusted"]
Permission = Literal["", "admin", "inference", "read", "usage:read", "keys:write", "work"]
"""The scope a caller needs; empty = any known caller."""

Content = Annotated[str, Field(json_schema_extra={"format": "content"})]
"""A long text; on the command line `@FILE` reads it from a file and `-` from standard input."""

Folder = Annotated[str, Field(json_schema_extra={"format": "folder"})]
"""A zip of a folder in base64; on the command line the path of the folder or of a zip."""

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
    resource: str = ""
    """Kind of thing that it acts on, `task`; empty = the organisation itself."""
    resource_argument: str = ""
    """The argument that names the thing."""
    sinks: tuple[str, ...] = ()
    """Arguments that choose who or what is affected."""
    trust: Trust = "trusted"
    """`untrusted` = the answer carries text that other people wrote."""
    undo: str = ""
    """`rows`, or the inverse command; empty for reads and what is irreversible."""
    cost: int = 1
    """What one call takes from an agent's budget."""
    outside: bool = False
    """True = it reaches beyond the hub: in a tainted run it asks unless its person gave every sink, reads too."""
    writes_by: Callable[[Any], Name] | None = None
    """Chooses the database by the arguments, where one command serves both."""
    acts_on: ActsOn | None = None
    """Finds the thing by the arguments, where more than the resource's own can name it."""
    sink_kinds: Mapping[str, str] = field(default_factory=dict[str, str])
    """Kind of what each sink chooses, where its name does not say it."""
    records: tuple[str, ...] = ()
    """Kinds of the things that its answer tells of."""
    makes: bool = False
    """It makes a new thing, and answers with it."""
    own: Literal["no", "asked", "yes"] = "no"
    """Whether it reaches nobody but its person if no sink is given; `asked` = and then a run that has read what others
    wrote does it only if its person's request speaks of such a thing and says what it is called."""

    def kind_of(self, sink: str) -> str:
        """The kind of what this argument chooses: `assignee` -> user."""
        if sink == self.resource_argument and self.resource:
            return self.resource
        return self.sink_kinds.get(sink) or kind_of(sink, within=(self.resource or self.noun,))

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
    resource: str,
    sinks: Sequence[str] = (),
    trust: Trust = "trusted",
    undo: str = "rows",
    cost: int = 1,
    writes: Name | Callable[[Any], Name] = "hub",
    acts_on: ActsOn | None = None,
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
        kind, _, argument = resource.partition(":")
        argument = argument or kind
        named = [*positional, *sinks, *filter(None, [argument])]
        missing = [one for one in named if one not in arguments.model_fields]
        if missing or name.count(".") != 1 or name != name.lower():
            raise ValueError(
                f"command {name!r}: name is noun.verb; positional, sinks and resource are arguments ({missing})"
            )
        if undo != "rows" and (effect != "write" or undo.count(".") != 1):
            raise ValueError(f"command {name!r}: `undo` is `rows` or a command, and of a write only")
        declared = Command(
            name=name,
            summary=summary,
            effect=effect,
            permission=permission,
            writes=None if effect == "read" else "hub" if callable(writes) else writes,
            arguments=arguments,
            result=result,
            run=run,
            positional=tuple(positional),
            columns=tuple(columns),
            examples=tuple(examples),
            description=(run.__doc__ or "").strip(),
            resource=kind,
            resource_argument=argument,
            sinks=tuple(sinks),
            trust=trust,
            undo=undo if effect == "write" else "",
            cost=cost,
            writes_by=writes if callable(writes) else None,
            acts_on=acts_on,
            records=(name.split(".")[0],),
            makes=effect == "write" and creates(name.split(".")[1]),
            own="yes" if sinks else "no",
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
