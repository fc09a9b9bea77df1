"""`execute()`: the one door through which every action of a person, a script or an app goes.

    parse → kill flag → authorize → taint → budget → gate → one transaction (effect, key, audit) → envelope

A face (CLI, HTTP) only turns its input into arguments and the envelope into its output. What it answers never
raises: a refusal and a failure are envelopes too.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, OperationalError

from tokenhub.commands.context import Context
from tokenhub.commands.declare import Command
from tokenhub.commands.envelope import Envelope, Fault
from tokenhub.commands.parsing import parse
from tokenhub.commands.redaction import without_secrets
from tokenhub.commands.registry import Registry
from tokenhub.commands.store import claim, keep_answer, write_audit
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import Clock, SystemClock
from tokenhub.kernel.errors import Conflict, HubError, PermissionDenied, Unavailable

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Runtime:
    """What commands run on."""

    database: Database
    settings: Settings
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call on its way through the door."""

    command: Command
    principal: Principal
    arguments: BaseModel
    dry_run: bool
    key: str
    request_id: str
    at_ms: int


class _Undo(Exception):
    """Leaves the transactions of a dry run, so that they roll back."""


def execute(
    registry: Registry,
    runtime: Runtime,
    principal: Principal,
    name: str,
    raw: Mapping[str, Any],
    *,
    dry_run: bool = False,
    idempotency_key: str = "",
    request_id: str = "",
) -> Envelope:
    """Run one command for `principal`; never raises, every outcome is an envelope.

    `raw` are the arguments as JSON values. `dry_run` runs the effect and rolls it back. The same
    `idempotency_key` (per caller, 24 hours) with the same command and arguments answers as the first time.
    """
    try:
        command = registry.get(name)
        call = _Call(
            command,
            principal,
            parse(command, raw),
            dry_run,
            "" if command.effect == "read" else idempotency_key,
            request_id,
            runtime.clock.now_ms(),
        )
        _admit(runtime, call)
        return _run(runtime, call)
    except HubError as error:
        return _failed(error)
    except IntegrityError as error:
        log.warning("command_clashed", command=name, request_id=request_id, error=str(error.orig))
        return _failed(Conflict("This clashes with something that exists already; list it and look."))
    except OperationalError as error:
        log.error("database_unavailable", command=name, request_id=request_id, error=str(error.orig))
        return _failed(Unavailable("The database did not answer in time.", hint="Try `hub doctor`."))
    except Exception:
        log.exception("command_crashed", command=name, request_id=request_id)
        message = "The hub failed at this command; its log has the reason."
        return _failed(HubError(message, hint="Try `hub doctor`."))


def _admit(runtime: Runtime, call: _Call) -> None:
    """Refuse what may not run, before any transaction; the order is part of the contract of the door.

    The kill flag is asked before, taint, budget and gate after the permission; today only the scope decides.
    """
    permission = call.command.permission
    if call.principal.allows(permission):
        return
    if call.command.writes is not None and not call.dry_run:
        with runtime.database.write("hub") as connection:
            write_audit(
                connection,
                "hub",
                call.principal,
                command=call.command.name,
                effect=call.command.effect,
                outcome="denied",
                arguments=without_secrets(call.arguments),
                request_id=call.request_id,
                at_ms=call.at_ms,
            )
    raise PermissionDenied(
        f"`{call.command.name}` needs a key with the scope `{permission}`.",
        hint="Ask an administrator for a key, or sign in as one.",
    )


def _run(runtime: Runtime, call: _Call) -> Envelope:
    """Effect, idempotency key and audit row in one transaction of the database that the command writes.

    A second database, if read, is closed first; the written one commits last.
    """
    envelope: Envelope | None = None
    try:
        with ExitStack() as stack:
            # Opened before, so that it is closed (committed) after everything that was only read.
            writes = call.command.writes
            written = stack.enter_context(runtime.database.write(writes)) if writes else None
            context = Context(
                principal=call.principal,
                settings=runtime.settings,
                now_ms=call.at_ms,
                dry_run=call.dry_run,
                database=runtime.database,
                writes=writes,
                stack=stack,
            )
            if writes is not None and written is not None:
                context.adopt(writes, written)
            envelope = _effect(context, call, written)
            if call.dry_run:
                raise _Undo
    except _Undo:
        pass
    assert envelope is not None
    return envelope


def _effect(context: Context, call: _Call, written: Connection | None) -> Envelope:
    command = call.command
    if written is not None and call.key and not call.dry_run:
        replayed = _replay(written, call)
        if replayed is not None:
            return replayed
    result = command.run(context, call.arguments)
    safe = without_secrets(result)
    if written is None or call.dry_run or command.writes is None:
        data = safe if call.dry_run else result.model_dump(mode="json")
        return Envelope(context.status, data, dry_run=call.dry_run, next=context.next)
    audit_id = write_audit(
        written,
        command.writes,
        call.principal,
        command=command.name,
        effect=command.effect,
        outcome=context.status,
        arguments=without_secrets(call.arguments),
        request_id=call.request_id,
        at_ms=call.at_ms,
    )
    if call.key:
        stored = {"status": context.status, "data": safe, "audit_id": audit_id, "next": context.next}
        keep_answer(written, command.writes, actor=_caller(call), key=call.key, answer=stored)
    return Envelope(context.status, result.model_dump(mode="json"), audit_id=audit_id, next=context.next)


def _replay(written: Connection, call: _Call) -> Envelope | None:
    """The stored answer if this key ran before. Raises: Conflict if it ran something else."""
    assert call.command.writes is not None
    body = json.dumps(call.arguments.model_dump(mode="json"), sort_keys=True)
    body_hash = hashlib.sha256(body.encode()).hexdigest()
    stored = claim(
        written,
        call.command.writes,
        actor=_caller(call),
        key=call.key,
        command=call.command.name,
        body_hash=body_hash,
        at_ms=call.at_ms,
    )
    if stored is None:
        return None
    if (stored.command, stored.body_hash) != (call.command.name, body_hash):
        raise Conflict(
            "This idempotency key was used for another command or other arguments; use a fresh one.",
            code="idempotency_key_conflict",
        )
    answer = stored.answer
    return Envelope(
        answer["status"], answer["data"], audit_id=answer["audit_id"], next=answer["next"], replayed=True
    )


def _caller(call: _Call) -> str:
    return f"{call.principal.org_id}/{call.principal.actor}"


def _failed(error: HubError) -> Envelope:
    fault = Fault(
        code=error.code,
        message=error.message,
        hint=error.hint,
        param=error.param,
        type=error.type,
        status=error.status,
        headers={**error.headers, "x-should-retry": "true" if error.retryable else "false"},
    )
    return Envelope("failure", error=fault)
