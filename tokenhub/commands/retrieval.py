"""Find the commands that fit a sentence: field-weighted BM25 over what commands say of themselves.

Names, summaries, argument names, descriptions and the notes of declared examples are fields of a document; sentence
and documents are read through `lexicon.py`, so that other words and Chinese meet the catalogue's own. What stands in
quotation marks is somebody's content and says nothing of the command; an id tells its kind (`task_01…`). Needs no
network, no model and no stored index: one pass over the declarations, kept per registry.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from tokenhub.commands.declare import Command
from tokenhub.commands.lexicon import COMMANDS, NOUNS, VERBS
from tokenhub.commands.registry import Registry

QUOTED = re.compile(
    r"\"([^\"]+)\"|“([^”]+)”|「([^」]+)」|『([^』]+)』|《([^》]+)》|(?<!\w)'([^']+)'(?!\w)|‘([^’]+)’"
)
IDENTIFIER = re.compile(r"(?<![A-Za-z0-9_])([a-z]{2,12})_([0-9A-Z][0-9A-Za-z]{4,40})(?![A-Za-z0-9_])")
FILE_NAME = re.compile(r"[^\s\"“”「」,，。:：;；]+\.(?:[a-z]{2,5}\d?)(?![A-Za-z0-9.*])")
COMMAND_NAME = re.compile(r"(?<![\w.])[a-z][a-z-]+\.(?:[a-z][a-z-]+|\*)(?![\w.])")
_LENGTH = re.compile(
    r"\b\d+\s*(?:seconds?|minutes?|hours?|days?|weeks?|months?)\b|\d+\s*个?(?:分钟|小时|天|周|月)",
    re.IGNORECASE,
)
_SCOPE = re.compile(r"\b(?:user|team|project|key|model):(?=\S)[^\s,，。;；]+")
_WORD = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*|[一-鿿]+")
_ENDING = re.compile(r"(?:(?<=[^aeiou]{2})ing|(?<=..[^aeiou])ed|(?<=..[sxz])es|(?<=..[^su])s)$")
_STOP_WORDS = """
a an the of to for in on at is are be me my i you your it its and or with this that these those please can could would
will do does did by from as so we us our his her their them there have has had was were up out what which who how when
not any if then than let s t m
"""
_STOP = frozenset(_STOP_WORDS.split())
_WEIGHTS = {"noun": 4.0, "verb": 3.0, "words": 3.5, "summary": 1.5, "arguments": 0.6, "text": 0.4}
_SATURATION = 3.0
_WHOLE_NAME = 2.0
"""Added where the sentence says both noun and verb of a command."""
_LOOKING = 1.0
"""Added to what only reads where the sentence has no verb at all."""
_PHRASE_MAX = 4
_AFTER_COLON = 0.25
_PLURAL = 0.7
"""Weight of `list` where a noun of the catalogue stands in the plural."""


class Hit(NamedTuple):
    """A command and how well it fits; scores compare within one search only."""

    command: Command
    score: float


@dataclass(frozen=True, slots=True)
class Index:
    """What is searched."""

    documents: tuple[tuple[Command, Mapping[str, float]], ...]
    """Each command with the weight of each term in it."""
    rarity: Mapping[str, float]

    def search(self, text: str) -> list[Hit]:
        """Every command with a term in common, best first; equal scores in the order of their names."""
        wanted = query_terms(text)
        verbless = not any(term in _verbs() for term in wanted)
        hits: list[Hit] = []
        for command, weights in self.documents:
            score = 0.0
            for term, times in wanted.items():
                weight = weights.get(term)
                if weight is not None:
                    score += times * self.rarity[term] * weight * (_SATURATION + 1) / (weight + _SATURATION)
            if score > 0:
                if f"={command.noun}" in wanted and f"={command.verb}" in wanted:
                    score += _WHOLE_NAME
                if verbless and command.effect == "read":
                    score += _LOOKING
                hits.append(Hit(command, score))
        return sorted(hits, key=lambda hit: (-hit.score, hit.command.name))


def index_of(registry: Registry) -> Index:
    """The index of a registry, made once for its commands."""
    return _index(registry, len(registry))


def index_with(registry: Registry, others: Sequence[Command]) -> Index:
    """The index of a registry and of commands that an organisation has besides."""
    return _over((*index_of(registry).documents, *((command, _weights(command)) for command in others)))


def query_terms(text: str) -> dict[str, float]:
    """Terms of what is asked and how much each counts: quotations count nothing, what follows a colon little."""
    bare, kinds = _without_content(text)
    head, _, tail = bare.partition(": ")
    wanted: defaultdict[str, float] = defaultdict(float)
    for part, times in ((head, 1.0), (tail, _AFTER_COLON if head.strip() else 1.0)):
        for term, count in terms(part).items():
            wanted[term] += min(count, 2.0) * times
    for kind in kinds:
        wanted[kind] += 1.0
    if any(word in _plurals() for word in re.findall(r"[a-z-]+", bare.lower())):
        wanted["=list"] += _PLURAL
    return dict(wanted)


def terms(text: str) -> dict[str, float]:
    """Concepts (`=task`) and stems of a text. A form that means several concepts is shared among them by a root."""
    found: defaultdict[str, float] = defaultdict(float)
    for piece in _WORD.findall(text.lower()):
        if "一" <= piece[0] <= "鿿":
            _chinese(piece, found)
    words = [stem(word) for word in _WORD.findall(text.lower()) if word[0] < "一"]
    forms = _forms().english
    place = 0
    while place < len(words):
        for length in range(min(_PHRASE_MAX, len(words) - place), 0, -1):
            concepts = forms.get(tuple(words[place : place + length]))
            if concepts:
                _count(concepts, found)
                place += length
                break
        else:
            if words[place] not in _STOP:
                found[words[place]] += 1.0
            place += 1
    return dict(found)


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """The word without its ending; crude, the same on both sides."""
    if len(word) < 4 or word in ("news", "this", "does", "address", "process"):
        return word
    cut = _ENDING.sub("", word)
    if cut.endswith("ie") and word.endswith("ies"):
        return cut[:-2] + "y"
    return cut[:-1] if len(cut) > 4 and cut.endswith("e") else cut


class _Forms(NamedTuple):
    english: Mapping[tuple[str, ...], tuple[str, ...]]
    chinese: Mapping[str, tuple[str, ...]]
    longest: int


@cache
def _forms() -> _Forms:
    english: dict[tuple[str, ...], list[str]] = {}
    chinese: dict[str, list[str]] = {}
    for table in (NOUNS, VERBS):
        for concept, surface in _lines(table):
            if "一" <= surface[-1] <= "鿿":
                chinese.setdefault(surface, []).append(f"={concept}")
            else:
                key = tuple(stem(word) for word in _WORD.findall(surface.lower()))
                english.setdefault(key, []).append(f"={concept}")
    return _Forms(
        {form: tuple(dict.fromkeys(found)) for form, found in english.items()},
        {form: tuple(dict.fromkeys(found)) for form, found in chinese.items()},
        max(map(len, chinese), default=1),
    )


def _lines(table: str) -> Iterator[tuple[str, str]]:
    for line in table.strip().splitlines():
        concept, _, surfaces = line.partition(":")
        for surface in surfaces.split(","):
            if surface.strip():
                yield concept.strip(), surface.strip()


def _chinese(piece: str, found: defaultdict[str, float]) -> None:
    """Longest known forms from the left; what is between them counts by its pairs of characters."""
    forms = _forms()
    place, unknown = 0, ""
    while place < len(piece):
        for length in range(min(forms.longest, len(piece) - place), 0, -1):
            concepts = forms.chinese.get(piece[place : place + length])
            if concepts:
                _count(concepts, found)
                place += length
                _pairs(unknown, found)
                unknown = ""
                break
        else:
            unknown += piece[place]
            place += 1
    _pairs(unknown, found)


def _pairs(text: str, found: defaultdict[str, float]) -> None:
    for place in range(len(text) - 1):
        found[text[place : place + 2]] += 0.5
    if len(text) == 1:
        found[text] += 0.25


def _count(concepts: Sequence[str], found: defaultdict[str, float]) -> None:
    for concept in concepts:
        found[concept] += 1.0 / math.sqrt(len(concepts))


def _without_content(text: str) -> tuple[str, list[str]]:
    """The sentence without quotations, ids and names, and the concepts that those stand for."""
    kinds: list[str] = []
    bare = _LENGTH.sub(" ", QUOTED.sub(" ", text))
    if not _WORD.search(bare.lower()):
        bare = text
    for match in IDENTIFIER.finditer(bare):
        kinds += terms(match[1])
    bare = IDENTIFIER.sub(" ", bare)
    for match in command_names(bare):
        kinds += ["=commands"] * (not match.endswith("*"))
        bare = bare.replace(match, " ")
    kinds += ["=budget" for _ in _SCOPE.finditer(bare)]
    bare = _SCOPE.sub(" ", bare)
    kinds += ["=file" for _ in FILE_NAME.finditer(bare)]
    return FILE_NAME.sub(" ", bare).replace("：", ": "), kinds


def command_names(text: str) -> list[str]:
    """Names and patterns of commands in a text (`doc.share`, `task.*`), in order; a file's name is none."""
    return [found for found in COMMAND_NAME.findall(text) if found.partition(".")[0] in _nouns()]


@cache
def _verbs() -> frozenset[str]:
    return frozenset(f"={concept}" for concept, _ in _lines(VERBS))


@cache
def _plurals() -> frozenset[str]:
    forms = {surface for _, surface in _lines(NOUNS)}
    return frozenset(form for form in forms if form.endswith("s") and form[:-1] in forms)


@cache
def _nouns() -> frozenset[str]:
    return frozenset(concept for concept, _ in _lines(NOUNS))


@lru_cache(maxsize=8)
def _index(registry: Registry, _size: int) -> Index:
    return _over(tuple((command, _weights(command)) for command in registry))


def _over(documents: tuple[tuple[Command, Mapping[str, float]], ...]) -> Index:
    in_how_many = Counter(term for _, weights in documents for term in weights)
    total = len(documents)
    rarity = {
        term: math.log(1 + (total - count + 0.5) / (count + 0.5)) for term, count in in_how_many.items()
    }
    return Index(documents, rarity)


@cache
def _extra() -> dict[str, str]:
    extra: dict[str, str] = {}
    for name, surface in _lines(COMMANDS):
        extra[name] = f"{extra.get(name, '')}, {surface}"
    return extra


def _weights(command: Command) -> dict[str, float]:
    """Each term's weight, summed over the fields it stands in."""
    fields = command.arguments.model_fields
    texts = {
        "noun": command.noun,
        "verb": command.verb.replace("-", " "),
        "words": _extra().get(command.name, ""),
        "summary": command.summary,
        "arguments": " ".join(name.replace("_", " ") for name in fields),
        "text": " ".join(
            [
                command.description,
                *(field.description or "" for field in fields.values()),
                *(example.note for example in command.examples),
            ]
        ),
    }
    weights: defaultdict[str, float] = defaultdict(float)
    for field, text in texts.items():
        found = dict(terms(text))
        if field in ("noun", "verb"):  # a name means itself before all that its words could mean
            found = {**dict.fromkeys(found, 0.25), f"={text}": 1.0}
        for term, count in found.items():
            weights[term] += _WEIGHTS[field] * min(count, 2.0)
    return dict(weights)
