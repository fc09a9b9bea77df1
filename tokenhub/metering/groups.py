"""Usage events by what they have in common: the form in which a batch is settled and proved."""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from tokenhub.metering.types import KIND_FIELDS, LINE_FIELDS, Kind, Line, UsageEvent, kind_of, line_of

_ORG, _MODEL, _CURRENCY, _PATH = (
    KIND_FIELDS.index(name) for name in ("org_id", "model", "currency", "path_id")
)
_AT = LINE_FIELDS.index("at_ms")
_TOKENS = slice(LINE_FIELDS.index("input_tokens"), LINE_FIELDS.index("image_output_tokens") + 1)
_AMOUNT = LINE_FIELDS.index("amount_nano")
_UNDELIVERED = LINE_FIELDS.index("undelivered_tokens")
_OVER_TOKENS, _OVER_NANO = LINE_FIELDS.index("overage_tokens"), LINE_FIELDS.index("overage_nano")
_DIGEST_LINES = 256
_encode = msgspec.json.Encoder().encode


class Group:
    """Lines of one kind, in order of their request ids, and their sums."""

    __slots__ = (
        "_columns",
        "amount_nano",
        "kind",
        "lines",
        "overage_nano",
        "overage_tokens",
        "tokens",
        "undelivered",
    )

    def __init__(self, kind: Kind, lines: list[Line]) -> None:
        lines.sort()
        self.kind = kind
        self.lines = lines
        self._columns: list[tuple[int, ...]] = list(zip(*lines, strict=True))  # pyright: ignore[reportAttributeAccessIssue]  # the first column is text
        columns = self._columns
        self.tokens = sum(map(sum, columns[_TOKENS]))
        self.undelivered = sum(columns[_UNDELIVERED])
        self.amount_nano = sum(columns[_AMOUNT])
        self.overage_tokens = sum(columns[_OVER_TOKENS])
        self.overage_nano = sum(columns[_OVER_NANO])

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
        return self.tokens, len(self.lines), self.amount_nano

    def totals_by_step(self, step_ms: int) -> dict[int, tuple[int, int, int]]:
        """The same for each sub-window of this length: its start -> totals."""
        at = self._columns[_AT]
        first = min(at) // step_ms
        if max(at) // step_ms == first:
            return {first * step_ms: self.totals()}
        steps: dict[int, tuple[int, int, int]] = {}
        tokens = map(sum, zip(*self._columns[_TOKENS], strict=True))
        for instant, used, nano in zip(at, tokens, self._columns[_AMOUNT], strict=True):
            start = instant // step_ms * step_ms
            have = steps.get(start, (0, 0, 0))
            steps[start] = (have[0] + used, have[1] + 1, have[2] + nano)
        return steps


def groups_of(events: Iterable[UsageEvent]) -> list[Group]:
    """The events by kind, kinds in order of appearance."""
    lines_of: dict[Kind, list[Line]] = {}
    for event in events:
        kind: Kind = kind_of(event)
        lines = lines_of.get(kind)
        if lines is None:
            lines = lines_of[kind] = []
        lines.append(line_of(event))
    return [Group(kind, lines) for kind, lines in lines_of.items()]


def kind_hash(kind: Kind) -> str:
    """A name of a kind, the same in every process."""
    return hashlib.blake2b(_encode(kind), digest_size=16).hexdigest()


def digest(groups: Sequence[Group]) -> str:
    """sha256 over everything in the groups, kinds and lines in order: what a transfer's `events_sha256` says."""
    found = hashlib.sha256()
    for words, group in sorted((_encode(group.kind), group) for group in groups):
        found.update(words)
        for start in range(0, len(group.lines), _DIGEST_LINES):  # never all rows as JSON in memory at once
            found.update(_encode(group.lines[start : start + _DIGEST_LINES]))
    return found.hexdigest()
