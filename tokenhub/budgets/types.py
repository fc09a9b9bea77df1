"""A limit and its window."""

from dataclasses import dataclass
from typing import Literal

from tokenhub.ledger.types import Unit

WindowKind = Literal["lifetime", "calendar", "anniversary", "anchored", "rolling"]
WindowLength = Literal["", "minute", "hour", "day", "week", "month", "year"]
ScopeType = Literal["org", "team", "project", "user", "key", "model"]


@dataclass(frozen=True, slots=True)
class Window:
    """When a limit starts to count from zero again.

    lifetime: never. calendar: at each minute, hour, day, Monday, month or year of `tz`.
    anniversary: every `length` (or `length_ms`) from `anchor_ms` on, by the calendar of `tz`.
    anchored: starts with the first use, lasts `length`, starts again with the next use after its end.
    rolling: the last `length`, in 60 steps; a step leaves when all of it is outside.
    """

    kind: WindowKind = "lifetime"
    length: WindowLength = ""
    length_ms: int = 0
    """Instead of `length`, for anniversary, anchored and rolling windows."""
    tz: str = "UTC"
    """IANA time zone name."""
    anchor_ms: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `cap` of `unit` in each window; `hard` refuses, soft only counts."""

    id: str
    scope_type: ScopeType
    scope_id: str
    unit: Unit
    cap: int
    hard: bool = True
    window: Window = Window()
    model: str | None = None
    """Counts only requests for this model; None counts all."""
    name: str = ""
