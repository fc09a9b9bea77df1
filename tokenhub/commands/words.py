"""A person's own words, read as whole tokens: what they name, and of which kind.

Nothing is matched in part: `doe@x.org` is not in `john.doe@x.org`, 13 is not in `June 13`'s file, and a file called
like a person is not the person.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tokenhub.commands.kinds import (
    DEEDS_CHINESE,
    FAMILIES,
    FUNCTION,
    PLACE,
    RIGHT,
    USER,
    is_deed,
    is_least_right,
    kind_word,
    singular,
)

_QUOTES = "'\"“”‘’«»`「」『』《》"
_EDGE = _QUOTES + "()[]{}<>,;:!?…*，。；：！？、（）"
_OPENING, _CLOSING = re.compile("(?=[“«「『《])"), re.compile("(?<=[”»」』》])")
"""Marks that stand between words also where no space does, as in Chinese."""
_ADDRESS = re.compile(
    r"[^\s@/]+@[^\s@/]+\.[^\s@/]+|[a-z][a-z0-9+.-]*://\S+|www\.\S+|\S+\.\S+/\S*", re.IGNORECASE
)
_CODE = re.compile(r"(?=.*\d)[A-Za-z0-9_-]{12,}")
_NAME = re.compile(r"[\w .:'’&()+#-]+")
_ENDS = frozenset(".!?:")
_BETWEEN = frozenset(("named", "called", "titled", "name", "id", "number", "no", "the"))
"""Words that may stand between a kind and the name: `the file named X`, `file with ID 7`."""
_BECOMES = frozenset(("to", "is", "as"))
"""And between what is set and its value: `the password to X`."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One word between spaces, without the marks around it."""

    text: str
    atoms: tuple[str, ...]
    opens: bool
    """A quotation begins with it."""
    closes: bool
    starts: bool
    """A sentence begins with it."""
    address: bool
    """It is one, and names nothing but itself."""


def atoms_of(text: str) -> tuple[str, ...]:
    """Letters and digits between everything else, without case."""
    return tuple(re.findall(r"[^\W_]+", text.casefold()))


def is_address(value: str) -> bool:
    """True for what can only be an address or a link: it names by its form alone."""
    return _ADDRESS.fullmatch(value) is not None


def is_code(value: str) -> bool:
    """True for a long account number or id, which nobody writes by chance."""
    return _CODE.fullmatch(value) is not None


def _is_plain(value: str) -> bool:
    """False for what is written to look like something else: other alphabets' forms, hidden characters, lists."""
    return unicodedata.normalize("NFKC", value) == value and (
        _NAME.fullmatch(value) is not None or (value.isascii() and is_address(value))
    )


class Words:
    """What a person asked for."""

    def __init__(self, text: str) -> None:
        self.units = _units(text)
        self._chinese = any(word in text for word in DEEDS_CHINESE)
        self._exact = {unit.text.casefold() for unit in self.units}
        self._atoms = {atom for unit in self.units for atom in unit.atoms}

    def says(self, word: str) -> bool:
        """True if the word stands there, in the singular or the plural."""
        return word in self._atoms or any(singular(atom) == singular(word) for atom in self._atoms)

    def speaks_of(self, kinds: Iterable[str]) -> bool:
        """True if a word stands there that means a thing of one of these kinds: `meeting` for an event."""
        wanted = frozenset(kinds)
        return any(kind_word(atom) in wanted or singular(atom) in wanted for atom in self._atoms)

    def mentions(self, value: str) -> bool:
        """True if the value stands there whole, whatever it is."""
        if is_address(value):
            return value.isascii() and value.casefold() in self._exact
        return _is_plain(value) and any(True for _ in self._spans(atoms_of(value)))

    def name(self, value: str, kinds: Iterable[str], *, listed: bool = False) -> bool:
        """True if the value is named, whole, as a thing of one of these kinds.

        An address or a long code by its form. A name in quotation marks, of several words, or that says its kind
        (`the general channel`, `file 13`); a person's also by its capital. A bare number or a single common word
        names nothing, unless `listed`: it is a whole name in a directory that nobody but administrators writes.
        """
        wanted = frozenset(kinds)
        if not _is_plain(value):
            return False
        if is_address(value) or (is_code(value) and wanted & FAMILIES):
            return bool(wanted & FAMILIES) and value.casefold() in self._exact
        if PLACE in wanted:
            return False
        if RIGHT in wanted:
            return is_least_right(value) or any(True for _ in self._spans(atoms_of(value)))
        atoms = atoms_of(value)
        return any(self._names(span, atoms, wanted, listed) for span in self._spans(atoms))

    def wants_change(self) -> bool:
        """True if a word stands there that asks for more than an answer: `add`, `invited`."""
        return self._chinese or any(is_deed(atom) for atom in self._atoms)

    def cued(self, value: str, kinds: Iterable[str]) -> bool:
        """True if the value stands there whole beside a word for one of these kinds: `file 13`, `the file X`."""
        wanted, atoms = frozenset(kinds), atoms_of(value)
        if not _is_plain(value) or FUNCTION.issuperset(atoms):
            return False
        return any(self._cues(*span, wanted) & wanted for span in self._spans(atoms))

    def calls(self, name: str, kinds: Iterable[str]) -> bool:
        """True if a thing of this whole name and kind is named; a file's ending may be left out."""
        stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name)
        return self.name(name, kinds) or (stem != name and self.name(stem, kinds))

    def _names(
        self, span: tuple[int, int], atoms: Sequence[str], wanted: frozenset[str], listed: bool
    ) -> bool:
        if FUNCTION.issuperset(atoms):
            return False
        first, after = span
        cues = self._cues(first, after, wanted)
        if cues:
            return bool(cues & wanted)
        units = self.units[first:after]
        if units[0].opens and units[-1].closes:
            return not all(atom.isdigit() for atom in atoms)
        if not wanted & FAMILIES and not listed:
            proper = [unit for unit in units if not FUNCTION.issuperset(unit.atoms)]
            capitals = len(proper) > 1 and all(unit.text[:1].isupper() for unit in proper)
            return capitals or bool(wanted & {singular(atom) for atom in atoms})
        if all(atom.isdigit() for atom in atoms):
            return False
        if listed or len(atoms) > 1:
            return True
        return USER in wanted and units[0].text[:1].isupper() and not units[0].starts

    def _cues(self, first: int, after: int, wanted: frozenset[str]) -> set[str]:
        """Kinds that the words beside a name say: `file NAME`, `NAME file`, `file with ID NAME`."""
        near: list[str] = []
        between = _BETWEEN if wanted & FAMILIES else _BETWEEN | _BECOMES
        place = first - 1
        while place >= 0 and not self.units[place + 1].starts:
            beside = self.units[place]
            if beside.closes or len(beside.atoms) != 1:
                break
            word = beside.atoms[0]
            near.append(word)
            if word not in between and not (word == "with" and set(near) & between):
                break
            place -= 1
        if after < len(self.units):
            beside = self.units[after]
            if not beside.opens and not beside.starts and len(beside.atoms) == 1:
                near.append(beside.atoms[0])
        said = {singular(word) for word in near}
        return {kind_word(word) for word in said if kind_word(word)} | (said & wanted)

    def _spans(self, atoms: Sequence[str]) -> Iterable[tuple[int, int]]:
        """Where whole units together are exactly these atoms."""
        if not atoms:
            return
        for first, unit in enumerate(self.units):
            if unit.atoms[:1] != (atoms[0],):
                continue
            got: tuple[str, ...] = ()
            for after in range(first, min(len(self.units), first + len(atoms))):
                if self.units[after].address:
                    break
                got += self.units[after].atoms
                if len(got) >= len(atoms):
                    if got == tuple(atoms):
                        yield first, after + 1
                    break


@lru_cache(maxsize=256)
def words_of(text: str) -> Words:
    """The words of a text, read once."""
    return Words(text)


def _units(text: str) -> tuple[Unit, ...]:
    found: list[Unit] = []
    starts = True
    for raw in _CLOSING.sub(" ", _OPENING.sub(" ", text)).split():
        bare = raw.strip(_EDGE)
        ends = raw.rstrip(_QUOTES)[-1:] in _ENDS
        bare = bare.rstrip(".").rstrip(_EDGE)
        opens = raw[:1] in _QUOTES
        closes = any(mark in _QUOTES for mark in raw[len(raw.rstrip(_EDGE + ".")) :])
        if bare.endswith(("'s", "’s")):
            bare = bare[:-2].rstrip(_QUOTES)
        if bare:
            found.append(Unit(bare, atoms_of(bare), opens, closes, starts, is_address(bare)))
        starts = ends
    return tuple(found)
