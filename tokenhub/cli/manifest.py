"""What `hub --help` knows of the declared commands, without loading them: `manifest.json` beside this file.

`hub docs` writes it from the declarations; a test fails when it is stale.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

PATH = Path(__file__).with_name("manifest.json")

Kind = Literal["string", "integer", "number", "boolean", "json"]


@dataclass(frozen=True, slots=True)
class Param:
    """One argument of a command, as a flag."""

    name: str
    kind: Kind
    required: bool
    many: bool
    """A list: the flag may be repeated, or take values separated by commas."""
    choices: tuple[str, ...]
    default: Any
    help: str
    secret: bool
    content: bool
    """A long text: `@FILE` reads it from a file, `-` from standard input."""
    position: int | None
    """Its place among the positional arguments; None = only a flag."""
    folder: bool = False
    """A zip of a folder: the flag takes the path of either."""

    @property
    def flag(self) -> str:
        """`--expires-in` of `expires_in`."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Verb:
    """One command."""

    name: str
    summary: str
    description: str
    effect: str
    permission: str
    params: tuple[Param, ...]
    columns: tuple[str, ...]
    secrets: tuple[str, ...]
    """Fields of the result that are shown once."""
    examples: tuple[tuple[str, str], ...]

    @property
    def noun(self) -> str:
        """`key` of `key.create`."""
        return self.name.split(".", 1)[0]

    @property
    def verb(self) -> str:
        """`create` of `key.create`."""
        return self.name.split(".", 1)[1]


@cache
def load() -> dict[str, dict[str, Verb]]:
    """noun -> verb -> Verb, both in alphabetical order."""
    nouns: dict[str, dict[str, Verb]] = {}
    for item in json.loads(PATH.read_text()):
        verb = from_json(item)
        nouns.setdefault(verb.noun, {})[verb.verb] = verb
    return nouns


def from_json(item: dict[str, Any]) -> Verb:
    """One entry of the file."""
    params: list[dict[str, Any]] = [{**one, "choices": tuple(one["choices"])} for one in item["params"]]
    return Verb(
        name=item["name"],
        summary=item["summary"],
        description=item["description"],
        effect=item["effect"],
        permission=item["permission"],
        params=tuple(Param(**param) for param in params),
        columns=tuple(item["columns"]),
        secrets=tuple(item["secrets"]),
        examples=tuple((line, note) for line, note in item["examples"]),
    )
