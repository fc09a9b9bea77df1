"""Make engines match the `deployments` table: start, watch, restart, count, stop.

An engine that served and died starts again at once; one that fails before or just after it served, again and again,
waits between its lives: 0.5 s, 1 s … 30 s.

One task a deployment; a failure of one never touches another. What happens is written to the row (and
`revision.bump`ed), so that gateways route to an engine as soon as it serves and stop when it is gone.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.errors import HubError
from tokenhub.maas.catalog.store import get_entry
from tokenhub.maas.deployments import store
from tokenhub.maas.deployments.engine import Engine, EngineCounts, EngineFailed, EngineLauncher, EngineSpec
from tokenhub.maas.deployments.store import DeploymentRow

log = structlog.get_logger()
POLL_S = 0.3
COUNT_EVERY_S = 0.5
"""Requests that an engine finishes after its last sample are lost to its own count when it is killed."""
REST_RECORD_S = 2.0
BACKOFF_S_MAX = 30.0
SETTLED_S = 1.0
"""An engine that served for this long did not die early."""
SILENT_MAX = 24
"""Counter samples in a row without an answer (about a minute) after which an engine counts as hung."""
FETCH_POLL_S = 0.5
RecordCount = Callable[[str, EngineCounts], None]
"""`(engine_boot, counts)`; called in a thread."""


class EngineSupervisor:
    """Owns the engine processes of this worker."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        launchers: Mapping[str, EngineLauncher],
        record_count: RecordCount,
    ) -> None:
        self._database = database
        self._settings = settings
        self._launchers = launchers
        self._record_count = record_count
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._halts: dict[str, asyncio.Event] = {}
        self._recorded: dict[str, tuple[EngineCounts, float]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then every engine is counted and stopped."""
        await asyncio.to_thread(self._forget_old_engines)
        try:
            while not stop.is_set():
                await self._reconcile()
                await _pause(stop, POLL_S)
        finally:
            for halt in self._halts.values():
                halt.set()
            if self._keepers:
                await asyncio.wait(self._keepers.values())

    async def _reconcile(self) -> None:
        rows = {row.id: row for row in await asyncio.to_thread(self._own_rows)}
        for deployment_id in list(self._keepers):
            keeper = self._keepers[deployment_id]
            if keeper.done():
                del self._keepers[deployment_id], self._halts[deployment_id]
                if not keeper.cancelled() and keeper.exception() is not None:
                    log.error(
                        "engine_keeper_failed", deployment=deployment_id, error=repr(keeper.exception())
                    )
            elif deployment_id not in rows or rows[deployment_id].desired != "running":
                self._halts[deployment_id].set()
        for row in rows.values():
            if row.desired == "running" and row.id not in self._keepers:
                halt = self._halts[row.id] = asyncio.Event()
                self._keepers[row.id] = asyncio.create_task(self._keep(row, halt), name=f"engine-{row.model}")
            elif row.desired == "stopped" and row.id not in self._keepers and row.status != "stopped":
                await self._set(row, "stopped")

    async def _keep(self, row: DeploymentRow, halt: asyncio.Event) -> None:
        """Keep one deployment's engine running until `halt`."""
        failures = 0
        try:
            while not halt.is_set():
                served_s, reason = 0.0, ""
                try:
                    served_s = await self._one_life(row, halt)
                except HubError as error:
                    reason = error.message
                except OSError as error:
                    reason = f"The engine could not be started ({error})."
                if halt.is_set():
                    break
                failures = 0 if served_s >= SETTLED_S else failures + 1
                delay = 0.0 if failures <= 1 and not reason else min(0.25 * 2**failures, BACKOFF_S_MAX)
                log.warning("engine_ended", model=row.model, reason=reason, restart_in_s=delay)
                await self._set(
                    row,
                    "failing",
                    message=reason or "The engine ended and is being restarted.",
                    restarted=True,
                )
                await _pause(halt, delay)
        finally:
            if halt.is_set():
                await self._set(row, "stopped")

    async def _one_life(self, row: DeploymentRow, halt: asyncio.Event) -> float:
        """From the model's file to the end of one engine process; returns how long it served, in seconds.

        Raises: EngineFailed, NotFound.
        """
        spec = await asyncio.to_thread(self._spec, row)
        if not spec.model_path.exists():
            await self._set(row, "fetching", message=f"Waiting for {row.entry} to be fetched.")
            while not spec.model_path.exists():
                await _pause(halt, FETCH_POLL_S)
                if halt.is_set():
                    return 0.0
        await self._set(row, "starting", message="The engine loads the model.")
        starting = asyncio.create_task(self._launchers[row.adapter].start(spec))
        engine = await _unless(halt, starting)
        if engine is None:
            return 0.0
        started = time.monotonic()
        try:
            await self._set(
                row,
                "running",
                base_url=engine.base_url,
                api_key=engine.api_key,
                engine_boot=engine.boot,
                engine_pid=engine.pid,
                context_tokens=engine.context_tokens,
            )
            log.info("engine_serves", model=row.model, boot=engine.boot, pid=engine.pid, url=engine.base_url)
            await self._watch(engine, halt)
        finally:
            served_s = time.monotonic() - started
            await self._count(engine)
            self._recorded.pop(engine.boot, None)
            await engine.stop()
        return served_s

    async def _watch(self, engine: Engine, halt: asyncio.Event) -> None:
        """Until the engine ends, hangs, or `halt`; its counters are recorded on the way. Raises: EngineFailed."""
        ended = asyncio.create_task(engine.wait())
        halted = asyncio.create_task(halt.wait())
        silent = 0
        try:
            while not ended.done() and not halted.done():
                await asyncio.wait(
                    {ended, halted}, timeout=COUNT_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                if not ended.done():
                    silent = 0 if await self._count(engine) else silent + 1
                if silent >= SILENT_MAX:
                    raise EngineFailed("The engine stopped answering and is being restarted.")
        finally:
            ended.cancel()
            halted.cancel()

    async def _count(self, engine: Engine) -> bool:
        """Record the engine's counters; False if it did not answer. Of an engine at rest now and then is enough."""
        counts, now = await engine.counts(), time.monotonic()
        if counts is None:
            return False
        known, at = self._recorded.get(engine.boot, (None, 0.0))
        if counts == known and now - at < REST_RECORD_S:
            return True
        self._recorded[engine.boot] = counts, now
        try:
            await asyncio.to_thread(self._record_count, engine.boot, counts)
        except Exception:  # the books' database may be away; the next sample carries the same totals
            log.exception("engine_count_failed", boot=engine.boot)
        return True

    def _own_rows(self) -> list[DeploymentRow]:
        with self._database.read("hub") as connection:
            return [row for row in store.list_deployments(connection) if row.adapter in self._launchers]

    def _forget_old_engines(self) -> None:
        """Engines of a worker that died are gone with it."""
        for row in self._own_rows():
            if row.status in ("running", "starting"):
                with self._database.write("hub") as connection:
                    store.set_status(connection, row.id, "pending")

    def _spec(self, row: DeploymentRow) -> EngineSpec:
        with self._database.read("hub") as connection:
            entry = get_entry(connection, row.entry)
        return EngineSpec(
            model_path=entry.path(self._settings),
            alias=row.model,
            slots=row.slots,
            context_tokens=row.context_tokens,
            threads=self._settings.engine_threads,
            template=entry.template,
            embedding="embedding" in row.kinds,
            pooling=entry.pooling,
        )

    async def _set(self, row: DeploymentRow, status: store.Status, **values: Any) -> None:
        await asyncio.to_thread(self._write_status, row.id, status, values)

    def _write_status(self, deployment_id: str, status: store.Status, values: dict[str, Any]) -> None:
        with self._database.write("hub") as connection:
            store.set_status(connection, deployment_id, status, **values)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


async def _unless(halt: asyncio.Event, work: asyncio.Task[Engine]) -> Engine | None:
    """The result of `work`; None (and `work` cancelled) if `halt` comes first."""
    halted = asyncio.create_task(halt.wait())
    try:
        await asyncio.wait({work, halted}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        work.cancel()
        await asyncio.wait({work})
        return None
    finally:
        halted.cancel()
