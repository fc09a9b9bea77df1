"""What a run may still spend: reserved before each call, for the run and everything above it.

The gateway holds a person's own limits; here it is the bound of the run. A child's calls count for its parents too.
What was used is what was billed: the replies in the journals and, where a call broke off, the books' own line of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from tokenhub.agents import journal, runs
from tokenhub.agents.types import Run, Step
from tokenhub.db.engine import Database
from tokenhub.metering.store import used_by_key
from tokenhub.metering.types import UsageEvent

OVERHEAD_TOKENS = 256
"""What a model's template may add to the bytes of a request."""
ANSWER_TOKENS = 2048
ANSWER_TOKENS_MIN = 32


@dataclass(frozen=True, slots=True)
class Room:
    """What a call may use."""

    answer_tokens: int
    """The `max_tokens` to ask for; 0 = there is no room for a call."""
    held_tokens: int
    """Held by other calls of the line: it may come back."""


def room(hub: Connection, run: Run, *, prompt_bound: int, lost_tokens: int, at_ms: int) -> Room:
    """The largest call that fits run, parents and root, read under the root's lock.

    `lost_tokens` were billed for calls that broke off (`lost`).
    """
    runs.lock_root(hub, run)
    left, held_most = run.tokens_max, 0
    one: Run | None = run
    while one is not None:
        used, held = journal.spent(hub, runs.below(hub, one.id), at_ms=at_ms)
        left, held_most = min(left, one.tokens_max - used - held), max(held_most, held)
        one = runs.load_run(hub, one.parent_id) if one.parent_id else None
    answer = min(left - lost_tokens - prompt_bound, ANSWER_TOKENS)
    return Room(answer if answer >= ANSWER_TOKENS_MIN else 0, held_most)


def lost(database: Database, run: Run) -> int:
    """Tokens billed on the line's key for calls whose reply never came; the books are asked only if any broke off."""
    with database.read("hub") as hub:
        calls = journal.calls_of(hub, runs.line_of(hub, run.root_id))
        if all(attempts == 1 for _, _, attempts in calls):
            return 0
        known = {request_id for request_id, _, _ in calls}
        with database.read("ledger") as ledger:
            lines = booked(ledger, hub, run)
    return sum(event.total_tokens for name, event in lines.items() if name not in known)


def booked(ledger: Connection, hub: Connection, run: Run) -> dict[str, UsageEvent]:
    """Every line of the books on the key of this run's line, by request id."""
    root = runs.load_run(hub, run.root_id) or run
    found = used_by_key(ledger, run.key_id, since_ms=root.created_at_ms)
    return {event.request_id: event for event in found}


def lines_of(
    hub: Connection, lines: dict[str, UsageEvent], run: Run, steps: Sequence[Step]
) -> list[UsageEvent]:
    """The lines of one run; calls that broke off, which name no run, are the first run's of the line."""
    own = [lines[step.request_id] for step in steps if step.request_id in lines]
    if run.id != run.root_id:
        return own
    known = {request_id for request_id, _, _ in journal.calls_of(hub, runs.line_of(hub, run.root_id))}
    return own + [line for request_id, line in lines.items() if request_id not in known]
