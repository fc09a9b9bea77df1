"""Plain uses: what most requests are, a few numbers beside a kind that thousands of others share.

A gateway makes, journals, gathers and settles them as tuples; `Kinds.event` says the same as a usage event.
"""

from collections.abc import Callable

import msgspec

from tokenhub.metering.types import LINE_FIELDS, Kind, UsageEvent

PlainUse = tuple[int, str, int, int, int, int, int, int]
"""(number of its kind, request id, at_ms, input, cache-read and output tokens, amount in nano-units, latency in ms).
Whatever the engine made was delivered, whole and at once, within the hold."""

PLAIN_WIDTH = 8

_AT = {
    "request_id": 1,
    "at_ms": 2,
    "input_tokens": 3,
    "cache_read_tokens": 4,
    "output_tokens": 5,
    "created_tokens": 5,
    "amount_nano": 6,
    "latency_ms": 7,
    "ttft_ms": 7,
}
PLAIN_COLUMNS: tuple[int | None, ...] = tuple(_AT.get(name) for name in LINE_FIELDS[1:])
"""For each number of LINE_FIELDS its place in a plain use; None where it is 0."""


class Kinds:
    """The kinds of one process, by number. One thread adds and forgets; any may look up what is in use."""

    def __init__(self) -> None:
        self._numbers: dict[Kind, int] = {}
        self._kinds: dict[int, Kind] = {}
        self._old_numbers: dict[Kind, int] = {}  # of the epoch before
        self._old_kinds: dict[int, Kind] = {}
        self._next = 0
        self.epoch = 0
        """Grows when numbers are forgotten: those of another epoch must be asked for again."""
        self.before_forgetting: list[Callable[[], None]] = []
        """Those who keep uses for a while: their last chance to look up a kind."""

    def __len__(self) -> int:
        """Those of this epoch."""
        return len(self._numbers)

    def __getitem__(self, number: int) -> Kind:
        kind = self._kinds.get(number)
        return self._old_kinds[number] if kind is None else kind

    def number(self, example: UsageEvent) -> int:
        """The number of this event's kind, which never stands for another."""
        example.clean()
        kind: Kind = msgspec.structs.astuple(example)[len(LINE_FIELDS) :]
        number = self._numbers.get(kind)
        if number is None:
            number = self._old_numbers.get(kind)  # two numbers of one kind would be two groups of a batch
            if number is None:
                number, self._next = self._next, self._next + 1
            self._kinds[number] = kind
            self._numbers[kind] = number
        return number

    def forget(self) -> None:
        """Begin an epoch. Those of the last one can be looked up until the next; those of the one before that are gone:
        nothing that is not settled may bear their numbers."""
        for call in self.before_forgetting:
            call()
        # In this order: who looks up meanwhile looks among the old ones last.
        self._old_numbers, self._old_kinds = self._numbers, self._kinds
        self._numbers, self._kinds = {}, {}
        self.epoch += 1

    def event(self, use: PlainUse) -> UsageEvent:
        """The same use as an event."""
        return event_of(use, self[use[0]])


def event_of(use: PlainUse, kind: Kind) -> UsageEvent:
    """A plain use of this kind as an event. Raises: msgspec.ValidationError for words of another kind of thing."""
    numbers = [0 if place is None else use[place] for place in PLAIN_COLUMNS]
    return msgspec.convert((use[1], *numbers, *kind), UsageEvent)
