"""Usage events by what they have in common: the form in which a batch is settled and proved."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
from msgspec.structs import astuple

from tokenhub.metering.plain import PLAIN_COLUMNS, Kinds
from tokenhub.metering.types import EVENT_FIELDS, KIND_FIELDS, LINE_FIELDS, SELDOM_FIELDS, Kind, UsageEvent
from tokenhub.metering.uses import OneKind, Uses, by_kind, columns_of, plain_uses

_ORG, _MODEL, _CURRENCY, _PATH = (
    KIND_FIELDS.index(name) for name in ("org_id", "model", "currency", "path_id")
)
_AT = LINE_FIELDS.index("at_ms")
_TOKENS = slice(LINE_FIELDS.index("input_tokens"), LINE_FIELDS.index("image_output_tokens") + 1)
_AMOUNT = LINE_FIELDS.index("amount_nano")
_UNDELIVERED = LINE_FIELDS.index("undelivered_tokens")
_SELDOM = [number for number, name in enumerate(LINE_FIELDS) if name in SELDOM_FIELDS]
_OVER_TOKENS, _OVER_NANO = LINE_FIELDS.index("overage_tokens"), LINE_FIELDS.index("overage_nano")
_WIDTH, _LINE = len(EVENT_FIELDS), len(LINE_FIELDS)
_encode = msgspec.json.Encoder().encode
_request_id = attrgetter("request_id")
_words = itemgetter(0)


class Group:
    """Requests of one kind, in order of their ids, and sums."""

    __slots__ = (
        *("amount_nano", "count", "kind", "overage_nano", "overage_tokens", "seldom", "tokens"),
        "undelivered",
    )

    def __init__(self, kind: Kind, count: int, tokens: int, amount_nano: int) -> None:
        self.kind = kind
        self.count = count
        self.tokens = tokens
        self.amount_nano = amount_nano
        self.seldom = False
        """Some of SELDOM_FIELDS are not 0."""
        self.undelivered = self.overage_tokens = self.overage_nano = 0

    @property
    def org_id(self) -> str:
        """Whose."""
        return str(self.kind[_ORG])

    @property
    def model(self) -> str:
        """Of which model."""
        return str(self.kind[_MODEL])

    @property
    def currency(self) -> str:
        """In which currency the amounts are."""
        return str(self.kind[_CURRENCY])

    @property
    def path_id(self) -> str:
        """Which buckets they charge."""
        return str(self.kind[_PATH])

    def totals(self) -> tuple[int, int, int]:
        """(tokens, requests, nano)."""
        return self.tokens, self.count, self.amount_nano

    def columns(self) -> list[list[Any]]:
        """For each of LINE_FIELDS. One list may stand for several columns."""
        raise NotImplementedError

    def texts(self) -> Iterator[bytes]:
        """The columns as JSON."""
        columns = self.columns()
        written = {id(column): column for column in columns}
        texts = {name: _encode(column) for name, column in written.items()}
        for column in columns:
            yield texts[id(column)]

    def span_ms(self) -> tuple[int, int]:
        """The first and the last instant."""
        at_ms = self.columns()[_AT]
        return min(at_ms), max(at_ms)

    def totals_by_step(self, step_ms: int) -> dict[int, tuple[int, int, int]]:
        """Totals of each sub-window of this length, by its start."""
        first, last = (instant // step_ms for instant in self.span_ms())
        if first == last:
            return {first * step_ms: self.totals()}
        columns = self.columns()
        steps: dict[int, tuple[int, int, int]] = {}
        tokens = map(sum, zip(*columns[_TOKENS], strict=True))
        for instant, used, nano in zip(columns[_AT], tokens, columns[_AMOUNT], strict=True):
            start = instant // step_ms * step_ms
            have = steps.get(start, (0, 0, 0))
            steps[start] = (have[0] + used, have[1] + 1, have[2] + nano)
        return steps


class EventGroup(Group):
    """Of events."""

    __slots__ = ("_columns",)

    def __init__(self, kind: Kind, values: list[Any]) -> None:
        """values: whole events, one behind the other."""
        columns = self._columns = [values[number::_WIDTH] for number in range(_LINE)]
        super().__init__(kind, len(columns[0]), sum(map(sum, columns[_TOKENS])), sum(columns[_AMOUNT]))
        if any(any(columns[number]) for number in _SELDOM):
            self.seldom = True
            self.undelivered = sum(columns[_UNDELIVERED])
            self.overage_tokens = sum(columns[_OVER_TOKENS])
            self.overage_nano = sum(columns[_OVER_NANO])

    def columns(self) -> list[list[Any]]:
        """Made at the start."""
        return self._columns


class PlainGroup(Group):
    """Of plain uses, read from their lines where somebody wants more than sums."""

    __slots__ = ("uses",)

    def __init__(self, kind: Kind, uses: OneKind) -> None:
        super().__init__(kind, uses.requests, uses.tokens, uses.amount_nano)
        self.uses = uses

    def columns(self) -> list[list[Any]]:
        """Read each time."""
        own = columns_of(self.uses)
        zeros = [0] * self.count
        return [zeros if place is None else own[place] for place in (1, *PLAIN_COLUMNS)]

    def texts(self) -> Iterator[bytes]:
        """As the lines have them."""
        own = self.uses.columns
        zeros = b"[0" + b",0" * (self.count - 1) + b"]"
        for place in (1, *PLAIN_COLUMNS):
            yield zeros if place is None else own[place - 1]

    def span_ms(self) -> tuple[int, int]:
        """The first and the last instant."""
        return self.uses.first_ms, self.uses.last_ms


def groups_of(events: Iterable[UsageEvent]) -> list[Group]:
    """The events by kind, kinds in order of their first request id.

    Flat lists and slices: a tuple a row would cost as much again, and wake the garbage collector.
    """
    return [EventGroup(kind, values) for kind, values in _rows_by_kind(events).items()]


def groups_of_uses(uses: Uses, kinds: Kinds) -> list[Group]:
    """`groups_of` of events and plain uses, whose kinds `kinds` knows. A kind is one group, whichever form it came in."""
    plain = [PlainGroup(kinds[one.number], one) for one in by_kind(uses.lines())]
    if not uses.events:
        return [*plain]
    of_events = {astuple(event)[_LINE:] for event in uses.events}
    both = [group for group in plain if group.kind in of_events]
    events = [*uses.events, *(kinds.event(use) for group in both for use in plain_uses(group.uses.lines))]
    return [*groups_of(events), *(group for group in plain if group not in both)]


def _rows_by_kind(events: Iterable[UsageEvent]) -> dict[Kind, list[Any]]:
    by_kind: dict[Kind, list[Any]] = {}
    last: Kind = ()
    values: list[Any] = []
    for event in sorted(events, key=_request_id):
        row = astuple(event)
        kind: Kind = row[_LINE:]
        if kind != last:
            last = kind
            values = by_kind.setdefault(kind, [])
        values += row
    return by_kind


def kind_hash(kind: Kind) -> str:
    """A name of a kind, the same in every process."""
    return hashlib.blake2b(_encode(kind), digest_size=16).hexdigest()


def digest(groups: Sequence[Group]) -> str:
    """sha256 over every kind, its request ids and its columns: what a transfer's `events_sha256` says."""
    found = hashlib.sha256()
    for words, group in sorted(((_encode(group.kind), group) for group in groups), key=_words):
        found.update(words)
        for written in group.texts():
            found.update(written)
    return found.hexdigest()
