"""What is to be settled, as it was captured: events, and the journal's lines of plain uses.

The lines are read once they are settled, a kind at a time; until then a use is a hundred bytes of text. Where `uses.c` was
compiled it does that for lines as the clerk writes them, with the result of its twin (tests/metering/test_uses.py).
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby
from typing import Any, NamedTuple

import msgspec

from tokenhub import native
from tokenhub.metering.plain import PLAIN_WIDTH, Kinds, PlainUse
from tokenhub.metering.types import UsageEvent

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_lines = msgspec.json.Decoder(PlainUse).decode_lines


class OneKind(NamedTuple):
    """Plain uses of one kind, in order of their ids."""

    number: int
    """Of the kind."""
    lines: bytes
    columns: tuple[bytes, ...]
    """For each place but the first of a plain use what they have there, as JSON."""
    requests: int
    tokens: int
    amount_nano: int
    first_ms: int
    last_ms: int


def lines_of(uses: Sequence[PlainUse]) -> bytes:
    """A line for each."""
    return _encode_lines(uses)


def plain_uses(lines: bytes) -> list[PlainUse]:
    """Of these lines."""
    return _decode_lines(lines)


def read_by_kind(lines: bytes) -> list[OneKind]:
    """The uses of these lines by kind, kinds in order of their numbers."""
    found: list[OneKind] = []
    for number, some in groupby(sorted(plain_uses(lines)), lambda use: use[0]):
        uses = list(some)
        columns: list[Sequence[Any]] = [*zip(*uses, strict=True)]
        at_ms = columns[2]
        found.append(
            OneKind(
                number,
                lines_of(uses),
                tuple(map(_encode, columns[1:])),
                len(uses),
                sum(map(sum, columns[3:6])),
                sum(columns[6]),
                min(at_ms),
                max(at_ms),
            )
        )
    return found


def read_values(lines: bytes, at: int, count: int, first: object, kind_id: int) -> tuple[list[Any], int]:
    """`first`, then for each of `count` lines from index `at` on its plain use, with `kind_id` for the kind; and the index of
    the next line."""
    end = at
    for _ in range(count):
        end = lines.index(b"\n", end) + 1
    uses = plain_uses(lines[at:end])
    return [first, *chain.from_iterable((kind_id, *use[1:]) for use in uses)], end


def _no_kinds(_lines: bytes) -> None:
    return None


def _no_values(_lines: bytes, _at: int, _count: int, _first: object, _kind_id: int) -> None:
    return None


_module = native.load("uses")
compiled = _module is not None
quick_by_kind: Callable[[bytes], list[tuple[Any, ...]] | None] = getattr(_module, "by_kind", _no_kinds)
"""None where it says nothing. Twin: `read_by_kind`."""
quick_values: Callable[[bytes, int, int, object, int], tuple[list[Any], int] | None] = getattr(
    _module, "values", _no_values
)
"""None where it says nothing. Twin: `read_values`."""


def by_kind(lines: bytes) -> list[OneKind]:
    """`read_by_kind`."""
    found = quick_by_kind(lines)
    return read_by_kind(lines) if found is None else [OneKind(*one) for one in found]


def values_of(lines: bytes, at: int, count: int, first: object, kind_id: int) -> tuple[list[Any], int]:
    """`read_values`."""
    return quick_values(lines, at, count, first, kind_id) or read_values(lines, at, count, first, kind_id)


class Uses:
    """Some of both, to be settled together."""

    __slots__ = ("_lines", "count", "events")

    def __init__(self, events: Iterable[UsageEvent] = ()) -> None:
        self.events = list(events)
        self.count = len(self.events)
        self._lines: list[bytes] = []

    def add(self, some: Sequence[UsageEvent] | bytes) -> None:
        """Events, or whole lines."""
        if isinstance(some, bytes):
            self._lines.append(some)
            self.count += some.count(b"\n")
        else:
            self.events += some
            self.count += len(some)

    def lines(self) -> bytes:
        """Of the plain uses."""
        return b"".join(self._lines)

    def as_events(self, kinds: Kinds) -> list[UsageEvent]:
        """All of them."""
        return [*self.events, *(kinds.event(use) for use in plain_uses(self.lines()))]


def columns_of(one: OneKind) -> list[list[Any]]:
    """For each place of a plain use what they have there; the kind is 0."""
    flat, _ = values_of(one.lines, 0, one.requests, None, 0)
    return [flat[1 + place :: PLAIN_WIDTH] for place in range(PLAIN_WIDTH)]
