"""Carrying the outbox out: the worker claims one letter, hands it to its carrier, and writes down how it ended.

At least once with the same key: whatever may have arrived is sent again only under its old id, so a receiver that keeps
the key acts once. For one that does not, a hook is made with `--once`: it then stops at `unknown` and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from sqlalchemy import insert, select

from tokenhub.db import outbox
from tokenhub.db.engine import Database
from tokenhub.db.outbox import Letter, Outcome
from tokenhub.identity import grants
from tokenhub.kernel.clock import Clock, SystemClock
from tokenhub.kernel.ids import new_id
from tokenhub.work.calendar_tables import hooks
from tokenhub.work.tables import notices

log = structlog.get_logger()
BATCH_MAX = 100
"""Letters that one round carries at most."""
STOPPED = "The agent that asked for this was stopped, or its grant was revoked; it was not sent."


@dataclass(frozen=True, slots=True)
class Address:
    """Where to, and what signs it."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt ended."""

    outcome: Outcome
    error: str


class Carrier(Protocol):
    """One way out of the hub."""

    def carry(self, address: Address, key: str, payload: Mapping[str, Any]) -> Attempt:
        """Try once. Never raises; `unknown` if it may have arrived."""
        ...


class Deliverer:
    """One that claims and carries, for as long as something is due."""

    def __init__(self, database: Database, carrier: Carrier, *, clock: Clock | None = None) -> None:
        self._database, self._carrier = database, carrier
        self._clock = clock or SystemClock()
        self._runner = new_id("carrier")

    def run(self) -> int:
        """Carry what is due; returns how many were tried."""
        for number in range(BATCH_MAX):
            if not self._one():
                return number
        return BATCH_MAX

    def _one(self) -> bool:
        now = self._clock.now_ms()
        with self._database.read("hub") as connection:
            if not outbox.anything_due(connection, at_ms=now):
                return False
        with self._database.write("hub") as connection:
            letter = outbox.claim(connection, runner=self._runner, at_ms=now)
        if letter is None:
            return True  # another carrier was faster
        with self._database.read("hub") as connection:
            hook = connection.execute(
                select(hooks).where(hooks.c.id == letter.target, hooks.c.org_id == letter.org_id)
            ).one_or_none()
            stopped = letter.grant_id is not None and grants.taken_back(connection, letter.grant_id)
        once = hook is not None and hook.once
        if hook is None:
            attempt = Attempt("refused", "The hook was removed.")
        elif stopped:
            attempt = Attempt("refused", STOPPED)
        elif once and letter.unknowns:
            attempt = Attempt("refused", "The hub was stopped while it sent this; it may have arrived.")
        else:
            attempt = self._carrier.carry(Address(hook.url, hook.secret), letter.id, letter.payload)
        self._finish(letter, attempt, once=once)
        return True

    def _finish(self, letter: Letter, attempt: Attempt, *, once: bool) -> None:
        now = self._clock.now_ms()
        with self._database.write("hub") as connection:
            state = outbox.finish(
                connection,
                letter,
                runner=self._runner,
                outcome=attempt.outcome,
                error=attempt.error,
                at_ms=now,
                once=once,
            )
            if state in ("failed", "unknown"):
                words = "could not be delivered" if state == "failed" else "may or may not have arrived"
                notice = {
                    "id": new_id("note"),
                    "org_id": letter.org_id,
                    "user_id": letter.actor_id,
                    "kind": "undelivered",
                    "subject": letter.id,
                    "text": f"It {words}: {attempt.error}"[:500],
                    "actor_id": "hub",
                    "created_at_ms": now,
                }
                connection.execute(insert(notices).values(**notice))
        log.info(
            "outbox_attempt",
            letter=letter.id,
            attempt=letter.attempts,
            outcome=attempt.outcome,
            state=state,
            error=attempt.error,
        )
