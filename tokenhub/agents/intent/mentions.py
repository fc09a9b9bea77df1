"""What a sentence names: quotations, ids, people, days, numbers, names of files and commands, each with its place."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from tokenhub.agents.intent.dates import Span, days, lengths, periods
from tokenhub.commands import lexicon
from tokenhub.commands.retrieval import FILE_NAME, IDENTIFIER, QUOTED, command_names

_NUMBER = re.compile(
    r"(?<![\w.:/-])(\d[\d,]*(?:\.\d+)?)\s?(k|m|b|thousand|million|billion|万|亿|千)?(?![\w./:-]|\.\d)"
    r"|(?<=[一-鿿])(\d+(?:\.\d+)?)\s?([kKmMbB万亿千]?)",
    re.IGNORECASE,
)
_FACTORS = {"thousand": "k", "million": "M", "billion": "B", "k": "k", "m": "M", "b": "B", "千": "k"}
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_ADDRESS = re.compile(r"https?://[^\s\"“”，。]+")
_SCOPE = re.compile(r"\b(?:user|team|project|key|model):[^\s,，。:：;；]+|\borg(?:anisation|anization)?\b")
_PATHLIKE = re.compile(r"(?<![\w/:.])[A-Za-z][\w.-]*(?:/[\w.-]+)+(?![\w/])")
_DISTINCT = re.compile(
    r"(?<![\w/:.@-])(?=[A-Za-z0-9.-]*[-\d])[A-Za-z][A-Za-z0-9]*(?:[-.][A-Za-z0-9]+)*(?![\w/@:-])"
)
_ME = re.compile(r"\b(?:me|my|mine|myself|i)\b|我|自己", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mentions:
    """Everything found in one sentence. A `Span` is its place and the value that a command takes."""

    text: str
    quoted: tuple[Span, ...]
    ids: tuple[Span, ...]
    """Value: the whole id, `task_01…`."""
    people: tuple[Span, ...]
    """Value: the name as the directory has it."""
    days: tuple[Span, ...]
    lengths: tuple[Span, ...]
    periods: tuple[Span, ...]
    numbers: tuple[Span, ...]
    """Value: the number without grouping, with `k`, `M` or `B` where it was said so."""
    files: tuple[Span, ...]
    commands: tuple[Span, ...]
    emails: tuple[Span, ...]
    addresses: tuple[Span, ...]
    scopes: tuple[Span, ...]
    paths: tuple[Span, ...]
    """`openai/gpt-5-mini`, `plans/2027`."""
    distinct: tuple[Span, ...]
    """Words that are names by their look: `house-7b`, `ci-runner`."""
    me: Span | None


def mentions_of(text: str, *, people: Sequence[str] = (), now: datetime) -> Mentions:
    """Read a sentence. `people`: names of the directory that may be meant; `now`: what `tomorrow` counts from."""
    quoted = [
        Span(match.start(), match.end(), next(group for group in match.groups() if group).strip())
        for match in QUOTED.finditer(text)
    ]
    # What is quoted is content: nothing in it is read, everything else keeps its place.
    bare = list(text)
    for span in quoted:
        bare[span.start : span.end] = "\x01" * (span.end - span.start)
    open_text = "".join(bare)
    ids = _spans(IDENTIFIER, open_text)
    commands = [
        Span(at, at + len(name), name)
        for name in command_names(open_text)
        if (at := open_text.find(name)) >= 0
    ]
    found_days = days(open_text, now)
    found_lengths = [span for span in lengths(open_text) if not _overlaps(span, found_days)]
    emails, addresses = _spans(_EMAIL, open_text), _spans(_ADDRESS, open_text)
    files = [s for s in _spans(FILE_NAME, open_text) if not _overlaps(s, [*commands, *emails, *addresses])]
    typed = [*ids, *commands, *found_days, *emails, *addresses, *files]
    paths = [span for span in _spans(_PATHLIKE, open_text) if not _overlaps(span, typed)]
    scopes = _spans(_SCOPE, open_text)
    return Mentions(
        text=text,
        quoted=tuple(quoted),
        ids=tuple(ids),
        people=tuple(_people(open_text, people)),
        days=tuple(found_days),
        lengths=tuple(found_lengths),
        periods=tuple(periods(open_text)),
        numbers=tuple(_numbers(open_text, [*ids, *found_days, *found_lengths, *files, *paths])),
        files=tuple(files),
        commands=tuple(commands),
        emails=tuple(emails),
        addresses=tuple(addresses),
        scopes=tuple(span._replace(value="org") if span.value.startswith("org") else span for span in scopes),
        paths=tuple(paths),
        distinct=tuple(
            span
            for span in _spans(_DISTINCT, open_text)
            if not _overlaps(span, [*typed, *paths, *scopes]) and not is_form(span.value)
        ),
        me=next((Span(match.start(), match.end(), "me") for match in _ME.finditer(open_text)), None),
    )


def says(text: str, words: Sequence[str]) -> Span | None:
    """The first place where one of the words stands as a whole word (Chinese: anywhere); None if nowhere."""
    match = matcher(tuple(words)).search(text)
    return None if match is None else Span(match.start(), match.end(), match[0])


@cache
def matcher(words: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of the words as a whole word (Chinese: anywhere), the longest first."""
    ordered = sorted(words, key=len, reverse=True)
    parts = [
        rf"(?<!\w){re.escape(word)}(?![A-Za-z_])" if word.isascii() else re.escape(word) for word in ordered
    ]
    return re.compile("|".join(parts) or r"(?!)", re.IGNORECASE)


@cache
def words_of(table: str) -> Mapping[str, tuple[str, ...]]:
    """A table of the lexicon, `FIELDS`, `CHOICES`, `NOUNS` or `VERBS`: concept -> its words."""
    lines = (line.partition(":") for line in str(getattr(lexicon, table)).strip().splitlines())
    return {
        name.strip(): tuple(word.strip() for word in words.split(",") if word.strip())
        for name, _, words in lines
    }


def _spans(pattern: re.Pattern[str], text: str) -> list[Span]:
    return [Span(match.start(), match.end(), match[0]) for match in pattern.finditer(text)]


def _overlaps(span: Span, others: Sequence[Span]) -> bool:
    return any(span.start < other.end and other.start < span.end for other in others)


def _people(text: str, names: Sequence[str]) -> list[Span]:
    found: list[Span] = []
    for name in sorted(names, key=len, reverse=True):
        for part in dict.fromkeys((name, name.split()[0])):
            pattern = rf"(?<![\w:]){re.escape(part)}(?![^\W_])" if part.isascii() else re.escape(part)
            for match in re.finditer(pattern, text, re.IGNORECASE):
                span = Span(match.start(), match.end(), name)
                if not _overlaps(span, found):
                    found.append(span)
    return sorted(found)


def _numbers(text: str, taken: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
    for match in _NUMBER.finditer(text):
        number, unit = match[1] or match[3], (match[2] or match[4] or "").lower()
        span = Span(match.start(), match.end(), _amount(number.replace(",", ""), unit))
        if not _overlaps(span, taken):
            found.append(span)
    return found


def _amount(number: str, unit: str) -> str:
    if unit in ("万", "亿"):
        whole = round(float(number) * (10**4 if unit == "万" else 10**8))
        return f"{whole // 10**6}M" if whole % 10**6 == 0 else f"{whole // 10**3}k"
    return number + _FACTORS.get(unit, "")


def is_form(word: str) -> bool:
    """True for a word of the lexicon, such as `to-do` or `ask`: it names nothing of its own."""
    return word.lower() in _forms()


@cache
def _forms() -> frozenset[str]:
    tables = (words_of("NOUNS"), words_of("VERBS"))
    return frozenset(form for table in tables for forms in table.values() for form in forms)
