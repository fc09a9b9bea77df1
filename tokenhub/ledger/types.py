"""Words of the ledger that other packages speak."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Unit(IntEnum):
    """What a bucket counts. The value is the index in a `Need`."""

    TOKENS = 0
    REQUESTS = 1
    MONEY = 2
    """Nano-units of the hub's currency."""
    CONCURRENCY = 3
    """Requests in flight: held while one runs, never used up."""


class Need(NamedTuple):
    """Amounts per unit, indexed by `Unit`. All >= 0."""

    tokens: int
    requests: int
    money: int
    concurrency: int


Amounts = tuple[int, int, int, int]
"""The same without names: what is done for every request is done with these."""


@dataclass(frozen=True, slots=True)
class BucketSpec:
    """The window of one limit that is current at some instant.

    `bucket_id` is `<limit_id>:<window_start_ms>`; rolling windows have one bucket and sub-windows inside it.
    """

    bucket_id: str
    limit_id: str
    unit: Unit
    cap: int
    hard: bool
    window_start_ms: int
    window_end_ms: int
    """Exclusive; 2**62 for a lifetime or rolling window."""
    length_ms: int = 0
    """Rolling windows only: how long a use counts."""
    step_ms: int = 0
    """Rolling windows only: length of a sub-window."""
