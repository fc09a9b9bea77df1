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
from tokenhub.agents.intent.slots import Reading, read
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
MISSING, UNUSED, GIVEN = 0.3, 0.25, 0.06
"""What a required argument without evidence costs, what a thing costs that is named and not taken, and what an optional
argument that is given adds; the best retrieval score is 1. Chosen on `bench/commands/requests-dev.jsonl`."""
MARGIN = 0.1
"""Options this far below the best are left out: beyond it the words decide better than a small model."""


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
    hits = [hit for hit in index.search(text) if hit.command.name != "commands.offer" and allows(hit.command)]
    hits = hits[:CANDIDATES]
    ranked = [
        (
            hit.score / hits[0].score
            - MISSING * reading.missing
            - UNUSED * reading.unused
            + GIVEN * reading.given,
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
    """The command with the likeliest value of each argument; where they are refused together, with what is required.

    Other values are not offered: small models choose worse among them than the order in which they were found (0019).
    """
    whole = {slot.name: slot.values[0] for slot in reading.slots}
    least = {slot.name: slot.values[0] for slot in reading.slots if slot.required}
    for arguments, complete in ((whole, reading.missing == 0), (least, False)):
        if _is_valid(command, arguments):
            return [Option(command.name, arguments, command.summary, command.effect, score, complete)]
    return []


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
