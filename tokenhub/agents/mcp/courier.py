"""How calls leave the hub: one courier in the worker takes them from the outbox and writes down how each ended.

    queued → sent → done | failed | unknown          queued → failed | withdrawn

`sent` is committed just before the call leaves, by whoever wins that row, so a call leaves at most once. What ends
after that without a readable answer (a time-out, a broken connection, garbage, a killed worker) is `unknown`, and is
never sent again by the hub. See decision 0015.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import structlog
from sqlalchemy import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from tokenhub.agents.mcp import store
from tokenhub.agents.mcp.outside import HOLD_MS
from tokenhub.agents.mcp.ports import Outside
from tokenhub.agents.mcp.types import Answer, Json, NoAnswer, NotReached, Seen, Server, State
from tokenhub.db.engine import Database
from tokenhub.identity import grants
from tokenhub.jobs.types import Arguments, Handler, Reporter
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError

log = structlog.get_logger()
POLL_S = 0.25
PARALLEL = 8
GRACE_MS = 30_000
"""How much longer than its time-out a call may be under way before its sender counts as dead."""
CHANGED = "The tool is not what an administrator allowed any more."
STOPPED = "The agent that asked for this was stopped, or its grant was revoked."
UNKNOWN = (
    "It was sent and no answer came that can be read: it may have been done. The hub does not send it again."
)


async def run_courier(
    database: Database, outside: Outside, stop: asyncio.Event, *, hold_ms: int = HOLD_MS
) -> None:
    """Send what is due until `stop`; what then is under way ends as it ends, within a second, or is unknown."""
    running: dict[str, asyncio.Task[None]] = {}
    try:
        while not stop.is_set():
            due = await asyncio.to_thread(_due, database, hold_ms, PARALLEL + len(running))
            for call_id in due:
                if call_id not in running and len(running) < PARALLEL:
                    running[call_id] = asyncio.create_task(carry(database, outside, call_id))
                    running[call_id].add_done_callback(lambda _, call_id=call_id: running.pop(call_id, None))
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await stop.wait()
    finally:
        for task in list(running.values()):
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


async def carry(database: Database, outside: Outside, call_id: str) -> None:
    """Send one call, if it still waits, and write down how it ended."""
    state: State = "failed"
    result, error, sent = Json(), "", False

    async def before(listed: Sequence[Seen]) -> bool:
        nonlocal sent, error
        verdict = await asyncio.to_thread(_leave, database, call_id, listed)
        sent, error = verdict == "leave", f"{STOPPED if verdict == 'stopped' else CHANGED} Nothing was sent."
        return sent

    try:
        row, server = await asyncio.to_thread(_load, database, call_id)
        arguments: Json = store.arguments_of(row)
        answer = await outside.call(server, row["tool"], arguments, before=before)
        if answer is not None:
            state, result = ("failed" if answer.failed else "done"), _kept(answer)
            error = "The tool says that it failed." if answer.failed else ""
    except NoAnswer as failure:
        state, error = ("unknown", f"{UNKNOWN} ({failure.message})") if sent else ("failed", failure.message)
    except HubError as failure:
        error = f"{failure.message} Nothing was sent."
    except asyncio.CancelledError:  # the worker stops: nobody will read the answer
        if not sent:
            raise
        state, error = "unknown", UNKNOWN
    except SQLAlchemyError:  # it waits, or counts as lost after a while
        log.exception("mcp_call_not_written", call_id=call_id)
        return
    of: Literal["queued", "sent"] = "sent" if sent else "queued"

    def write() -> None:
        with database.write("hub") as connection:
            store.end_call(
                connection, call_id, of=of, state=state, result=result, error=error, at_ms=now_ms()
            )

    await asyncio.shield(asyncio.to_thread(write))


def refresh_handler(database: Database, outside: Outside) -> Handler:
    """The job that asks a server for its tools (`mcp.refresh`)."""

    def run(arguments: Arguments, reporter: Reporter) -> Arguments:
        with database.read("hub") as connection:
            server = store.get_server(connection, arguments["org"], arguments["server"])
        try:
            seen = asyncio.run(outside.tools(server))
        except NotReached as failure:
            with database.write("hub") as connection:
                store.record_problem(connection, server.id, failure.message)
            raise
        with database.write("hub") as connection:
            store.record(connection, server, seen, at_ms=now_ms())
        return {"tools": str(len(seen))}

    return run


def _due(database: Database, hold_ms: int, limit: int) -> list[str]:
    """Calls that may leave now; calls whose sender died are written down as unknown on the way."""
    at_ms = now_ms()
    with database.read("hub") as connection:
        due = store.due_calls(connection, at_ms=at_ms, hold_ms=hold_ms, limit=limit)
        lost = store.lost_calls(connection, at_ms=at_ms, grace_ms=GRACE_MS)
    if lost:
        with database.write("hub") as connection:
            for call_id in lost:
                store.end_call(
                    connection, call_id, of="sent", state="unknown", result={}, error=UNKNOWN, at_ms=at_ms
                )
    return due


def _load(database: Database, call_id: str) -> tuple[RowMapping, Server]:
    with database.read("hub") as connection:
        row = store.get_call(connection, call_id)
        return row, store.get_server(connection, row["org_id"], row["server_id"])


def _leave(
    database: Database, call_id: str, listed: Sequence[Seen]
) -> Literal["leave", "changed", "stopped", "taken"]:
    """The last look before a call leaves: the tool is still what was allowed, nobody stopped it or sent it before."""
    at_ms = now_ms()
    with database.write("hub") as connection:
        row = store.get_call(connection, call_id)
        server = store.get_server(connection, row["org_id"], row["server_id"])
        store.record(connection, server, listed, at_ms=at_ms)
        tool = store.find_tool(connection, row["org_id"], server.name, row["tool"])
        if tool is None or tool.state != "allowed" or tool.digest != row["digest"]:
            return "changed"  # what was seen is kept
        if row["grant_id"] and grants.taken_back(connection, row["grant_id"]):
            return "stopped"
        return "leave" if store.mark_sent(connection, call_id, at_ms=at_ms) else "taken"


def _kept(answer: Answer) -> Json:
    return {"text": answer.text, "structured": answer.structured, "notes": list(answer.notes)}
