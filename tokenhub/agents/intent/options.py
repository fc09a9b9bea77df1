"""Whole commands that a sentence may mean: retrieved, their arguments read from the sentence, each valid.

Every option has passed the command's own parser, so whatever is chosen among them is a valid command. How well an option fits is
the score of the retrieval, less for each required argument for which the sentence gives nothing and for each thing
that the sentence names and the command does not take. Options far below the best are left out.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from tokenhub.agents.intent.mentions import Mentions, mentions_of
from tokenhub.agents.intent.slots import Reading, Slot, read
from tokenhub.commands.declare import Command
from tokenhub.commands.describe import inlined
from tokenhub.commands.parsing import parse
from tokenhub.commands.registry import Registry
from tokenhub.commands.retrieval import index_of, index_with
from tokenhub.kernel.errors import InvalidRequest

Json = dict[str, Any]
CANDIDATES = 12
"""Commands whose arguments are read."""
OPTIONS_MAX = 16
MISSING, UNUSED = 0.3, 0.15
"""What a required argument without evidence costs, and a thing named and not taken; the best retrieval score is 1."""
MARGIN = 0.1
"""Options this far below the best are left out: beyond it the words decide better than a small model."""
ALTERNATIVES = 2
"""Other values offered for an argument that is not certain."""


@dataclass(frozen=True, slots=True)
class Option:
    """One command, complete with its arguments."""

    command: str
    arguments: Json
    summary: str
    effect: str
    score: float
    complete: bool
    """False if a required argument had to be guessed."""

    def line(self) -> str:
        """The JSON text by which a model names it: compact, keys in this order."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    def to_dict(self) -> Json:
        """`{"command": …, "arguments": {…}}`."""
        return {"command": self.command, "arguments": self.arguments}


def options_of(
    registry: Registry,
    text: str,
    *,
    people: Sequence[str] = (),
    now: datetime,
    allows: Callable[[Command], bool] = lambda _: True,
    others: Sequence[Command] = (),
    margin: float = MARGIN,
) -> list[Option]:
    """What may be meant, the best first; at least one, and every one valid.

    people: names of the directory that the text may name. now: local time from which `tomorrow` counts.
    allows: False for commands that the caller may not run at all. others: commands that the organisation has besides.
    If nothing fits, a search of the commands.
    """
    mentions = mentions_of(text, people=people, now=now)
    index = index_with(registry, others) if others else index_of(registry)
    hits = [hit for hit in index.search(text) if allows(hit.command)][:CANDIDATES]
    ranked = [
        (
            hit.score / hits[0].score - MISSING * reading.missing - UNUSED * reading.unused,
            place,
            hit.command,
            reading,
        )
        for place, hit in enumerate(hits)
        for reading in (read(hit.command.name, _schema(hit.command.arguments), mentions),)
    ]
    ranked.sort(key=lambda one: (-one[0], one[1]))
    found: list[Option] = []
    for score, _, command, reading in ranked:
        if found and score < found[0].score - margin:
            break
        found += _of_command(command, reading, score)
    return found[:OPTIONS_MAX] or [_search(registry, mentions)]


def _of_command(command: Command, reading: Reading, score: float) -> list[Option]:
    """The likeliest arguments, then those that differ in one uncertain value."""
    first = {slot.name: slot.values[0] for slot in reading.slots}
    variants = [first]
    for slot in reading.slots:
        if not slot.certain:
            variants += [{**first, slot.name: value} for value in slot.values[1 : 1 + ALTERNATIVES]]
    options = [
        Option(command.name, arguments, command.summary, command.effect, score, reading.missing == 0)
        for arguments in variants
    ]
    return [option for option in options if _is_valid(command, option.arguments)] or _repaired(
        command, reading.slots, score
    )


def _repaired(command: Command, slots: Sequence[Slot], score: float) -> list[Option]:
    """Where the values together are refused: only what is required."""
    arguments = {slot.name: slot.values[0] for slot in slots if slot.required}
    if not _is_valid(command, arguments):
        return []
    return [Option(command.name, arguments, command.summary, command.effect, score, complete=False)]


def _is_valid(command: Command, arguments: Json) -> bool:
    try:
        parse(command, arguments)
    except InvalidRequest:
        return False
    return True


def _search(registry: Registry, mentions: Mentions) -> Option:
    """What is always possible: look for the command by these words."""
    command = registry.get("commands.search")
    text = "".join(c for c in mentions.text if c.isprintable())[:200]
    return Option(command.name, {"text": text}, command.summary, command.effect, 0.0, complete=False)


@lru_cache(maxsize=1024)
def _schema(arguments: type[BaseModel]) -> Json:
    return inlined(arguments.model_json_schema())
