"""Forgiving flags: `--expiresIn`, `--expires_in`, `--limit100`, `--Limit=100` and near misses mean what they must.

A spelling is mended silently; a guess (`--exipres-in`) is said on standard error. Nothing is guessed when two flags are
about as near.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_GLUED = re.compile(r"(--[a-z][a-z-]*[a-z])=?(\d.*)")
_NEAR = 0.8
_APART = 0.08


def mend(arguments: Sequence[str], flags: Iterable[str]) -> tuple[list[str], list[str]]:
    """The arguments with known flags, and a sentence for each guess."""
    known = frozenset(flags)
    mended: list[str] = []
    notes: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return mended + list(arguments[place:]), notes
        mended.append(_mend_one(argument, known, notes))
    return mended, notes


def _mend_one(argument: str, known: frozenset[str], notes: list[str]) -> str:
    if not argument.startswith("--") or len(argument) < 4:
        return argument
    name, equals, value = argument.partition("=")
    if name in known:
        return argument
    plain = _CAMEL.sub("-", name[2:]).replace("_", "-").lower()
    spelled = "--" + plain.strip("-")
    for candidate in (spelled, spelled + "s", spelled.removesuffix("s")):
        if candidate in known:
            return candidate + equals + value
    glued = _GLUED.fullmatch(spelled)
    if glued and not equals and glued[1] in known:
        return f"{glued[1]}={glued[2]}"
    guess = _nearest(spelled, known)
    if guess is None:
        return argument
    notes.append(f"Read {name} as {guess}.")
    return guess + equals + value


def _nearest(flag: str, known: frozenset[str]) -> str | None:
    ranked = sorted(((SequenceMatcher(None, flag, other).ratio(), other) for other in known), reverse=True)
    if not ranked or ranked[0][0] < _NEAR:
        return None
    clear = len(ranked) == 1 or ranked[0][0] - ranked[1][0] >= _APART
    return ranked[0][1] if clear else None
