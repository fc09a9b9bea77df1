"""Usage events by what they have in common: the form in which a batch is settled and proved."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from operator import attrgetter, itemgetter
from typing import Any, cast

import msgspec
from msgspec.structs import astuple

from tokenhub.metering.plain import PLAIN_COLUMNS, PLAIN_WIDTH, Kinds, PlainUse, Use
from tokenhub.metering.types import EVENT_FIELDS, KIND_FIELDS, LINE_FIELDS, SELDOM_FIELDS, Kind, UsageEvent

_ORG, _MODEL, _CURRENCY, _PATH = (
    KIND_FIELDS.index(name) for name in ("org_id", "model", "currency", "path_id")
)
_NUMBERS = LINE_FIELDS[1:]
_AT = _NUMBERS.index("at_ms")
_TOKENS = slice(_NUMBERS.index("input_tokens"), _NUMBERS.index("image_output_tokens") + 1)
_AMOUNT = _NUMBERS.index("amount_nano")
_UNDELIVERED = _NUMBERS.index("undelivered_tokens")
_SELDOM = [number for number, name in enumerate(_NUMBERS) if name in SELDOM_FIELDS]
_OVER_TOKENS, _OVER_NANO = _NUMBERS.index("overage_tokens"), _NUMBERS.index("overage_nano")
_WIDTH, _LINE = len(EVENT_FIELDS), len(LINE_FIELDS)
_encode = msgspec.json.Encoder().encode
_request_id = attrgetter("request_id")
_number = itemgetter(0)


class Group:
    """Requests of one kind, in order of their ids: a column for each of LINE_FIELDS, and sums."""

    __slots__ = (
        "amount_nano",
        "columns",
        "ids",
        "kind",
        "overage_nano",
        "overage_tokens",
        "plain",
        "seldom",
        "tokens",
        "undelivered",
    )

    def __init__(
        self, kind: Kind, ids: list[str], columns: list[list[int]], plain: list[Any] | None = None
    ) -> None:
        self.kind = kind
        self.ids = ids
        self.plain = plain
        """Plain uses, if they all are, one behind the other."""
        self.columns = columns
        """Of everything but the request ids. One list may stand for several columns."""
        distinct = {id(column): column for column in columns[_TOKENS]}
        self.tokens = sum(map(sum, distinct.values()))
        self.amount_nano = sum(columns[_AMOUNT])
        self.seldom = plain is None and any(any(columns[number]) for number in _SELDOM)
        """Some of SELDOM_FIELDS are not 0."""
        self.undelivered = sum(columns[_UNDELIVERED]) if self.seldom else 0
        self.overage_tokens = sum(columns[_OVER_TOKENS]) if self.seldom else 0
        self.overage_nano = sum(columns[_OVER_NANO]) if self.seldom else 0

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
        return self.tokens, len(self.ids), self.amount_nano

    def totals_by_step(self, step_ms: int) -> dict[int, tuple[int, int, int]]:
        """The same for each sub-window of this length: its start -> totals."""
        at = self.columns[_AT]
        first = min(at) // step_ms
        if max(at) // step_ms == first:
            return {first * step_ms: self.totals()}
        steps: dict[int, tuple[int, int, int]] = {}
        tokens = map(sum, zip(*self.columns[_TOKENS], strict=True))
        for instant, used, nano in zip(at, tokens, self.columns[_AMOUNT], strict=True):
            start = instant // step_ms * step_ms
            have = steps.get(start, (0, 0, 0))
            steps[start] = (have[0] + used, have[1] + 1, have[2] + nano)
        return steps


def groups_of(events: Iterable[UsageEvent]) -> list[Group]:
    """The events by kind, kinds in order of their first request id.

    Flat lists and slices: a tuple a row would cost as much again, and wake the garbage collector.
    """
    return [_of_rows(kind, values) for kind, values in _rows_by_kind(events).items()]


def groups_of_uses(uses: Sequence[Use], kinds: Kinds) -> list[Group]:
    """`groups_of` of events and plain uses, whose kinds `kinds` knows. A kind is one group, whichever form it came in."""
    events, plain = list[UsageEvent](), cast(Sequence[PlainUse], uses)
    if set(map(type, uses)) != {tuple}:
        events = [use for use in uses if not isinstance(use, tuple)]
        plain = [use for use in uses if isinstance(use, tuple)]
    by_number = {number: list(some) for number, some in groupby(sorted(plain), _number)}
    if not events:
        return [_of_plain(kinds[number], some) for number, some in by_number.items()]
    by_kind = _rows_by_kind(events)
    both = [number for number in by_number if kinds[number] in by_kind]
    if both:
        events += [kinds.event(use) for number in both for use in by_number.pop(number)]
        by_kind = _rows_by_kind(events)
    groups = [_of_rows(kind, values) for kind, values in by_kind.items()]
    return groups + [_of_plain(kinds[number], some) for number, some in by_number.items()]


def _of_rows(kind: Kind, values: list[Any]) -> Group:
    """values: whole events, one behind the other."""
    columns = [cast(list[int], values[number::_WIDTH]) for number in range(1, _LINE)]
    return Group(kind, cast(list[str], values[0::_WIDTH]), columns)


def _of_plain(kind: Kind, uses: list[PlainUse]) -> Group:
    """uses: in order of their ids."""
    values = cast(list[Any], list(chain.from_iterable(uses)))
    own = [cast(list[int], values[place::PLAIN_WIDTH]) for place in range(PLAIN_WIDTH)]
    zeros = [0] * len(uses)
    columns = [zeros if place is None else own[place] for place in PLAIN_COLUMNS]
    return Group(kind, cast(list[str], own[1]), columns, values)


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
    for words, group in sorted((_encode(group.kind), group) for group in groups):
        found.update(words)
        found.update(_encode(group.ids))
        written = {id(column): column for column in group.columns}
        texts = {name: _encode(column) for name, column in written.items()}
        for column in group.columns:
            found.update(texts[id(column)])
    return found.hexdigest()
