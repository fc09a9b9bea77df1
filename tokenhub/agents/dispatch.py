"""What wakes runs, and hands their stretches to the engine that carries them through the death of the worker.

Every `TICK_S`: what was done since (the audit trail is the outbox: a decided question, a stop, an event that somebody
waits for), what is due by the clock, what is queued. Waking is a change of rows, together with the place up to which
was read; it happens once whoever dies.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection

from tokenhub.agents import runs, schedules
from tokenhub.agents.schedules import Schedule
from tokenhub.commands import audit
from tokenhub.db.engine import Database
from tokenhub.kernel.clock import now_ms

log = structlog.get_logger()
TICK_S = 0.05
EVENTS_MAX = 500
BACKLOG_MAX = 10_000
"""A hub that never had agents looks back so far at first."""
STRETCHES_MAX = 16
"""Runs that one worker advances at the same time."""


class Engine(Protocol):
    """Carries stretches: what was started runs to its end, in this life of the process or the next."""

    def start(self, run_id: str, segment: int) -> None:
        """Begin a stretch; harmless if it was begun."""
        ...

    def running(self) -> int:
        """Stretches under way in this process."""
        ...

    def busy(self, run_id: str) -> bool:
        """True while this process works on the run."""
        ...

    def close(self) -> None:
        """Wait for what runs, a few seconds."""
        ...


@dataclass(slots=True)
class Dispatcher:
    """One per worker."""

    database: Database
    make_engine: Callable[[], Engine]
    """Called at the first run, so that a hub without agents pays nothing."""
    halt: threading.Event = field(default_factory=threading.Event)
    """Set when the worker stops: runs then leave their threads at the next step."""
    _engine: Engine | None = None
    _cursors: dict[str, int] = field(default_factory=dict[str, int])
    _begun: dict[str, int] = field(default_factory=dict[str, int])

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        try:
            while not stop.is_set():
                await asyncio.to_thread(self.tick)
                try:
                    async with asyncio.timeout(TICK_S):
                        await stop.wait()
                except TimeoutError:
                    pass
        finally:
            self.halt.set()
            if self._engine is not None:
                await asyncio.to_thread(self._engine.close)

    def tick(self) -> None:
        """Look once."""
        at_ms = now_ms()
        with self.database.read("hub") as connection:
            heads = audit.heads(connection)
            behind = [org for org, seq in heads.items() if self._cursors.get(org) != seq]
            due = runs.anything_due(connection, at_ms=at_ms) or schedules.anything_due(
                connection, at_ms=at_ms
            )
        for org_id in behind:
            self._follow(org_id, heads[org_id])
        if due:
            with self.database.write("hub") as connection:
                runs.wake_due(connection, at_ms=at_ms)
                schedules.fire_due(connection, at_ms=at_ms)
        self._dispatch()

    def _follow(self, org_id: str, head: int) -> None:
        """Read what was done up to `head`, and act on it."""
        with self.database.read("hub") as connection:
            before = runs.cursor(connection, org_id)
            after = max(head - BACKLOG_MAX, 0) if before is None else before
            events = audit.done_since(connection, org_id, after_seq=after, limit=EVENTS_MAX)
        if not events:
            self._cursors[org_id] = head
            return
        last = int(events[-1]["seq"])
        with self.database.write("hub") as connection:
            if runs.move_cursor(connection, org_id, before, last):
                followers = schedules.followers(connection, org_id)
                for event in events:
                    if event["outcome"] not in ("denied", "asked"):
                        _heed(connection, org_id, event, followers)
        self._cursors[org_id] = last

    def _dispatch(self) -> None:
        """Give queued stretches to the engine, as many as it may carry."""
        with self.database.read("hub") as connection:
            if self._engine is None and not runs.unfinished(connection):
                return
            waiting = runs.ready(connection, limit=4 * STRETCHES_MAX)
        engine = self._engine = self._engine or self.make_engine()
        for run_id, segment in waiting:
            if engine.running() >= STRETCHES_MAX:
                return
            if engine.busy(run_id):
                continue
            if self._begun.get(run_id) == segment:  # it was begun, and left the row as it was
                with self.database.write("hub") as connection:
                    runs.set_back(connection, run_id, segment)
                continue
            self._begun[run_id] = segment
            engine.start(run_id, segment)
        if len(self._begun) > 10_000:
            self._begun.clear()


def _heed(connection: Connection, org_id: str, event: Any, followers: Sequence[Schedule]) -> None:
    """What one thing that was done means for runs."""
    match event["command"]:
        case "gate.approve" | "gate.deny":
            runs.wake(connection, [str(json.loads(event["arguments"])["gate"])])
        case "gate.answer":
            told = json.loads(event["arguments"])
            runs.wake(connection, [*map(str, told["approve"]), *map(str, told["deny"])])
        case "agent.stop" | "agent.resume":
            states = ("waiting",) if event["command"] == "agent.stop" else ("stopped",)
            for subject in _stopped(connection, org_id, str(event["id"])):
                runs.wake_stopped(connection, org_id, subject, states=states)
        case "agent.approve" | "agent.deny":
            run = runs.load_run(connection, str(json.loads(event["arguments"])["run"]))
            if run is not None and run.waits_for.startswith("gate_"):
                runs.wake(connection, [run.waits_for])
        case "grant.revoke":
            subject = str(json.loads(event["arguments"])["grant"])
            runs.wake_stopped(connection, org_id, subject, states=("waiting", "stopped"))
        case _:
            pass
    if event["effect"] != "read":
        for schedule in followers:
            schedules.fire_event(connection, schedule, event, at_ms=now_ms())


def _stopped(connection: Connection, org_id: str, audit_id: str) -> list[str]:
    """Whom a stop or its end concerns: what it wrote."""
    row = audit.find(connection, "hub", org_id, audit_id)
    changes: list[dict[str, Any]] = json.loads(row["changes"] or "[]") if row is not None else []
    return [str(change["key"]["subject"]) for change in changes if change["table"] == "stops"]
