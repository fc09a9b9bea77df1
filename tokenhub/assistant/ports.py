"""What the assistant needs from others; `bootstrap` hands it over."""

from dataclasses import dataclass
from typing import Protocol

from tokenhub.assistant.types import BooksLine
from tokenhub.identity.types import Principal


@dataclass(frozen=True, slots=True)
class Envelope:
    """One limit that a person is under, now. Amounts in the limit's unit (tokens, requests, nano-units of money)."""

    limit_id: str
    name: str
    scope: str
    unit: str
    window: str
    cap: int
    used: int
    held: int
    hard: bool
    resets_at_ms: int | None
    forecast_at_ms: int | None
    """When it will be used up at the pace so far; None if not before its reset."""


class Books(Protocol):
    """The ledger, as far as the assistant reads and tells it. Synchronous: called from threads."""

    def line(self, request_id: str) -> BooksLine | None:
        """What was booked for this request; None while nothing is settled."""
        ...

    def mark_applied(self, request_id: str, *, applied_tokens: int, discarded_tokens: int) -> None:
        """Tell how many delivered tokens reached the person. Idempotent."""
        ...

    def envelopes(self, principal: Principal) -> list[Envelope]:
        """Every limit on the principal's path, tightest first."""
        ...


class Credentials(Protocol):
    """The key with which the assistant acts for a person."""

    def secret_for(self, principal: Principal) -> str:
        """Secret of a short-lived child of the principal's key."""
        ...
