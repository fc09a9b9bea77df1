"""The life of a run: asked for, streamed into its log, ended, booked.

A run is a task of the app process, not of an HTTP connection: tabs come and go, the answer goes on. `stop` cancels the
call to the gateway at once (which cancels the engine) and keeps what was written.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import asdict

import structlog

from tokenhub.assistant import run_store, store
from tokenhub.assistant.completions import complete
from tokenhub.assistant.live import BATCH_S, LiveRun, end_data, replay, snapshot
from tokenhub.assistant.ports import Books, Credentials
from tokenhub.assistant.types import BooksLine, Outcome, Run, RunEvent, Status, Turn
from tokenhub.db.engine import Database
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError, Unavailable

RUNS_MAX = 256
"""Answers that one app process writes at the same time."""
KEY_WAIT_S = 3.0
"""How long a fresh delegated key may be unknown to a gateway."""
BOOKING_WAIT_S = 15.0
"""How long the ledger's line may follow the end of an answer."""
EVENTS_KEPT_MS = 3_600_000
_log = structlog.get_logger()


class Runner:
    """All runs of one app process."""

    def __init__(
        self,
        database: Database,
        *,
        gateway_url: Callable[[], str],
        credentials: Credentials,
        books: Books,
        process: str,
    ) -> None:
        self._database = database
        self._gateway_url = gateway_url
        self._credentials = credentials
        self._books = books
        self.process = process
        self._live: dict[str, LiveRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Settle what a former life of this process left: its runs are `interrupted`, their text is kept."""
        await asyncio.to_thread(self._recover)

    async def close(self) -> None:
        """End every run as `interrupted`, keeping its text."""
        for live in self._live.values():
            self._halt(live, "interrupted")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    def launch(self, run: Run, *, principal: Principal, turns: Sequence[Turn]) -> None:
        """Begin to write a stored run. Raises: Unavailable when too many are being written."""
        if len(self._live) >= RUNS_MAX:
            raise Unavailable("Too many answers are being written at once; try again in a moment.")
        live = LiveRun(run)
        self._live[run.id] = live
        task = asyncio.create_task(self._advance(live, principal=principal, turns=list(turns)), name=run.id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, run_id: str) -> None:
        """Cancel the call to the gateway at once; returns when the partial text is stored."""
        live = self._live.get(run_id)
        if live is None:
            return
        self._halt(live, "stopped")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await live.ended.wait()

    async def follow(self, run: Run, *, after: int) -> AsyncGenerator[RunEvent]:
        """Entries of the run's log above `after`, from the first that is missing to its last."""
        live = self._live.get(run.id)
        if live is not None:
            async for event in live.follow(after=after):
                yield event
            return
        async for event in self._follow_stored(run, after=after):
            yield event

    # one run

    async def _advance(self, live: LiveRun, *, principal: Principal, turns: list[Turn]) -> None:
        log = _log.bind(run_id=live.run.id, org_id=principal.org_id)
        try:
            outcome = await self._answer(live, principal=principal, turns=turns)
            await self._finish(live, outcome)
            log.info("run_ended", status=outcome.status, request_id=outcome.request_id, deltas=outcome.deltas)
            await self._book(live, outcome)
        except Exception as error:
            log.exception("run_failed", error=str(error))
        finally:
            live.ended.set()
            live.close()
            self._live.pop(live.run.id, None)

    async def _answer(self, live: LiveRun, *, principal: Principal, turns: list[Turn]) -> Outcome:
        """Stream the answer into the log; whatever happens, the outcome carries what was written."""
        reader = asyncio.create_task(self._read(live, principal=principal, turns=turns))
        live.reader = reader
        if live.halted_as is not None:
            reader.cancel()
        writer = asyncio.create_task(self._write(live))
        status: Status = "complete"
        code = message = ""
        try:
            await reader
            if not live.finish_reason:
                status, code, message = "error", "upstream_error", "The answer broke off; try again."
        except asyncio.CancelledError:
            status = live.halted_as or "interrupted"
        except HubError as error:
            status, code, message = "error", error.code, error.message
            live.request_id = live.request_id or error.headers.get("x-request-id", "")
        except Exception as error:
            log = _log.bind(run_id=live.run.id)
            log.exception("run_reader_failed", error=str(error))
            status, code, message = (
                "error",
                "internal_error",
                "Something went wrong in the hub; its log tells more.",
            )
        finally:
            live.reading = False
            live.dirty.set()
            await writer
        return Outcome(
            status=status,
            text=live.text,
            reasoning=live.reasoning,
            finish_reason=live.finish_reason,
            error_code=code,
            error_message=message,
            request_id=live.request_id,
            deltas=live.deltas,
        )

    async def _read(self, live: LiveRun, *, principal: Principal, turns: list[Turn]) -> None:
        secret = await asyncio.to_thread(self._credentials.secret_for, principal)
        give_up_at = asyncio.get_running_loop().time() + KEY_WAIT_S
        while True:
            try:
                async with complete(
                    self._gateway_url(), secret=secret, model=live.run.model, turns=turns
                ) as answer:
                    live.begin(answer.request_id)
                    async for piece in answer.pieces():
                        live.add(piece)
                return
            except HubError as error:
                # A key is known to a gateway within a second of its creation.
                if error.status != 401 or asyncio.get_running_loop().time() > give_up_at:
                    raise
                await asyncio.sleep(0.1)

    async def _write(self, live: LiveRun) -> None:
        """Turn gathered text into entries, at most one batch each `BATCH_S`, until the reader is done."""
        while live.reading:
            await live.dirty.wait()
            if not live.reading:
                return
            events = live.take()
            await asyncio.to_thread(self._append, live.run, events, live.request_id)
            live.publish(events)
            await asyncio.sleep(BATCH_S)

    def _append(self, run: Run, events: list[RunEvent], request_id: str) -> None:
        with self._database.write("hub") as connection:
            if any(event.kind == "start" for event in events):
                run_store.set_request_id(connection, run.id, request_id)
            run_store.append_events(connection, run.id, events)

    async def _finish(self, live: LiveRun, outcome: Outcome) -> None:
        events = [*live.take(), live.entry("end", end_data(outcome))]

        def store() -> None:
            with self._database.write("hub") as connection:
                run_store.append_events(connection, live.run.id, events)
                run_store.finish_run(connection, live.run, outcome, at_ms=now_ms())
                run_store.prune_events(connection, ended_before_ms=now_ms() - EVENTS_KEPT_MS)

        await asyncio.to_thread(store)
        live.publish(events)
        live.ended.set()

    async def _book(self, live: LiveRun, outcome: Outcome) -> None:
        """Wait for the ledger's line, tell the ledger what was applied, and show the line."""
        if not outcome.request_id:
            return
        line = await self._await_line(outcome)
        if line is None:
            return
        await asyncio.to_thread(self._mark_applied, line, outcome)
        event = live.entry("ledger", asdict(line))
        await asyncio.to_thread(self._append, live.run, [event], live.request_id)
        live.publish([event])

    async def _await_line(self, outcome: Outcome) -> BooksLine | None:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + (BOOKING_WAIT_S if outcome.status != "error" else 2.0)
        pause_s = 0.02
        while True:
            line = await asyncio.to_thread(self._books.line, outcome.request_id)
            if line is not None or loop.time() > give_up_at:
                return line
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.5)

    def _mark_applied(self, line: BooksLine, outcome: Outcome) -> None:
        delivered = line.output_tokens + line.reasoning_tokens
        applied = min(delivered, outcome.deltas) if outcome.status == "interrupted" else delivered
        self._books.mark_applied(
            line.request_id, applied_tokens=applied, discarded_tokens=delivered - applied
        )

    def _halt(self, live: LiveRun, status: Status) -> None:
        if live.halted_as is None and live.reading:
            live.halted_as = status
            if live.reader is not None:
                live.reader.cancel()

    # runs of other lives

    def _recover(self) -> None:
        with self._database.read("hub") as connection:
            orphans = run_store.running_of_process(connection, self.process)
        for run in orphans:
            outcome = self._interrupt(run)
            line = self._books.line(outcome.request_id) if outcome.request_id else None
            if line is not None:
                self._mark_applied(line, outcome)
            _log.info("run_interrupted", run_id=run.id, request_id=run.request_id)

    def _interrupt(self, run: Run) -> Outcome:
        with self._database.write("hub") as connection:
            events = run_store.events_after(connection, run.id, after=0, limit=1_000_000)
            outcome = replay(run, events)
            last = events[-1].seq if events else 0
            end = LiveRun(run).entry("end", end_data(outcome))
            run_store.append_events(connection, run.id, [RunEvent(seq=last + 1, kind="end", data=end.data)])
            run_store.finish_run(connection, run, outcome, at_ms=now_ms())
        return outcome

    async def _follow_stored(self, run: Run, *, after: int) -> AsyncIterator[RunEvent]:
        """The log of a run that ended, or that another process writes; the whole text where the log is gone."""
        seen = after
        while True:
            current, events = await asyncio.to_thread(self._stored, run, seen)
            for event in events:
                seen = event.seq
                yield event
            if events:
                continue
            if current.status == "running":
                await asyncio.sleep(0.25)
                continue
            if seen == after:
                for event in await asyncio.to_thread(self._snapshot, current, seen):
                    yield event
            return

    def _stored(self, run: Run, after: int) -> tuple[Run, list[RunEvent]]:
        with self._database.read("hub") as connection:
            return (
                run_store.get_run(connection, run.id),
                run_store.events_after(connection, run.id, after=after, limit=500),
            )

    def _snapshot(self, run: Run, after: int) -> list[RunEvent]:
        with self._database.read("hub") as connection:
            message = store.get_message(connection, run.conversation_id, run.message_id)
        outcome = Outcome(
            status=run.status,
            text=message.content,
            reasoning=message.reasoning,
            finish_reason=run.finish_reason,
            error_code=run.error_code,
            error_message=run.error_message,
        )
        return snapshot(outcome, after=after)
