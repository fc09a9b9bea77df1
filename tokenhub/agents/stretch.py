"""What a stretch of a run stands on: its row, its journal in memory and in the database, and the ways to leave.

Every write names the segment, so that a stretch that was superseded changes nothing more.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import structlog
from sqlalchemy import Connection

from tokenhub.agents import journal, runs
from tokenhub.agents.minds import MINDS
from tokenhub.agents.model import Gateway
from tokenhub.agents.types import Run, Step, StepState
from tokenhub.commands import gates
from tokenhub.commands.door import Runtime
from tokenhub.commands.registry import Registry
from tokenhub.identity import grants
from tokenhub.identity.keys import principal_of
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import HubError

log = structlog.get_logger()
LOOK_MS = 24 * 3_600_000
"""A run that waits for a person or a child looks once a day whether it still has to (a question may have expired)."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What runs are advanced with."""

    registry: Registry
    runtime: Runtime
    gateway: Gateway
    worker: str
    """Who advances; the same in the process's next life, which takes up what this one leaves."""
    halt: threading.Event
    """Set when the worker stops: stretches end at the next step."""
    turn: threading.Semaphore = field(default_factory=threading.Semaphore)
    """Held by whoever works; nobody holds it while a model thinks. Threads that all want to write would only get in
    each other's way: SQLite lets one write, and lets none of the others wait in line."""


class Stretch:
    """One run in one thread."""

    def __init__(self, tools: Tools, run: Run) -> None:
        self._loop, self.run = tools, run
        self._database = tools.runtime.database
        self._mind = MINDS[run.mind]
        self.steps: list[Step] = []

    def _admitted(self) -> Principal | None:
        """Who acts, if the run may go on at all; else it has stopped or ended."""
        run, now = self.run, self._now()
        with self._database.read("hub") as connection:
            lent = grants.chain(connection, run.id)
            why = grants.stopped_by(connection, lent) if lent else None
            live = bool(lent) and all(grant.live(now) for grant in lent)
            try:
                principal = principal_of(connection, run.key_id, at_ms=now)
            except HubError as error:
                principal, live, ended = None, False, error.message
            else:
                ended = "Its grant has expired or was revoked."
        if why is not None:
            self._leave(
                lambda connection: runs.halt(
                    connection, run, code="stopped", why=f"Stopped: {why}.", at_ms=self._now()
                )
            )
            return None
        if not live or principal is None:
            self._end("failed", "grant_ended", ended)
            return None
        if run.work_left_ms(now) <= 0:
            self._end("failed", "time", f"It worked {run.work_ms_max // 1000} s without an end.")
            return None
        return replace(principal, grant_id=run.id)

    def _journal(
        self,
        step: Step,
        answer: dict[str, Any],
        *,
        state: str = "done",
        audit_id: str = "",
        gate_id: str = "",
        waits_for: str = "",
    ) -> None:
        now = self._now()
        with self._database.write("hub") as connection:
            runs.extend(connection, self.run, at_ms=now)
            journal.close(
                connection,
                step.run_id,
                step.seq,
                answer=answer,
                at_ms=now,
                state=state,
                audit_id=audit_id,
                gate_id=gate_id,
            )
            if waits_for:
                self._wait(connection, waits_for, at_ms=now)
        self._put(
            replace(step, state=cast(StepState, state), answer=answer, audit_id=audit_id, gate_id=gate_id)
        )

    def _wait(self, connection: Connection, subject: str, *, at_ms: int) -> None:
        """Wait for a question or a child; if it was decided or has ended meanwhile, go on at once."""
        runs.park(connection, self.run, waits_for=subject, wake_at_ms=at_ms + LOOK_MS, at_ms=at_ms)
        if not (gates.is_open(connection, subject) or runs.goes_on(connection, subject)):
            runs.wake(connection, [subject])

    def _park(self, waits_for: str, wake_at_ms: int) -> None:
        now = self._now()
        self._leave(
            lambda connection: runs.park(
                connection, self.run, waits_for=waits_for, wake_at_ms=wake_at_ms, at_ms=now
            )
        )

    def _end(self, state: str, code: str, answer: str) -> None:
        def end(connection: Connection) -> None:
            now = self._now()
            runs.end(connection, self.run, state=state, code=code, answer=answer, at_ms=now)
            if runs.line_ended(connection, self.run.root_id):
                # What was lent for this work ends with it, and the key with which it was done.
                root = grants.chain(connection, self.run.root_id)[0]
                grants.revoke_grant(connection, root, at_ms=now)

        self._leave(end)
        log.info("run_ended", run_id=self.run.id, state=state, code=code)

    def _leave(self, how: Callable[[Connection], None]) -> None:
        with self._database.write("hub") as connection:
            how(connection)

    def _put(self, step: Step) -> None:
        self.steps = [step if one.seq == step.seq else one for one in self.steps]

    def _now(self) -> int:
        return self._loop.runtime.clock.now_ms()
