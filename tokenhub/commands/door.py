"""`execute()`: the one door through which every action of a person, a script or an app goes.

    parse → turn → kill flag → authorize → taint and sinks → gate → budget → one transaction (effect, key, audit) → envelope

A face (CLI, HTTP) only turns its input into arguments and the envelope into its output. What it answers never
raises: a refusal and a failure are envelopes too. Kill flag, permission and gate are read in the transaction of the
effect, in which no other write of the organisation runs, so nothing can change between the question and the deed.
"""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from tokenhub.commands import audit, gates, provenance
from tokenhub.commands.admission import Admission, Call, admit, explain, halted, spend
from tokenhub.commands.audit import Entry
from tokenhub.commands.authority import authority_of
from tokenhub.commands.context import Context
from tokenhub.commands.envelope import Envelope, Fault
from tokenhub.commands.parsing import parse
from tokenhub.commands.redaction import without_secrets
from tokenhub.commands.registry import Registry
from tokenhub.commands.store import Stored, claim, keep, peek
from tokenhub.config import Settings
from tokenhub.db.changes import Changes
from tokenhub.db.engine import Database, Name
from tokenhub.db.failures import unanswered
from tokenhub.identity import grants
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import Clock, SystemClock
from tokenhub.kernel.errors import Conflict, HubError, InvalidRequest, Unavailable
from tokenhub.kernel.words import clipped

log = structlog.get_logger()
_TOO_LARGE = "54"
"""PostgreSQL's class of states for what passes a limit, such as the longest value of an index."""
_LOCKED_OUT = ("40P01", "40001")
"""PostgreSQL's states for two transactions that waited for each other: it ended this one, whole."""
KEY_MAX = 256
"""Characters of an idempotency key."""
PARAM_MAX = 120


@dataclass(frozen=True, slots=True)
class Runtime:
    """What commands run on."""

    database: Database
    settings: Settings
    clock: Clock = field(default_factory=SystemClock)


@dataclass(slots=True)
class _Progress:
    """How far a call came, for the answer to a database that fails."""

    committing: bool = False


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
    ask_only: bool = False,
    idempotency_key: str = "",
    request_id: str = "",
) -> Envelope:
    """Run one command for `principal`; never raises, every outcome is an envelope.

    `raw` are the arguments as JSON values. `dry_run` runs the effect, tells the rows that it changed and rolls it
    back. `ask_only` does nothing but put to a person the question that the call would put, so that a plan of several
    calls is answered in one sitting; where it would ask nothing, it answers success without data. The same `idempotency_key` (per caller, 24 hours) with the same command and arguments answers as the first
    time.
    """
    progress = _Progress()
    try:
        command = registry.find_in(runtime.database, principal.org_id, name)
        if len(idempotency_key) > KEY_MAX or not idempotency_key.isprintable():
            raise InvalidRequest(
                f"An idempotency key has at most {KEY_MAX} characters that print.",
                code="invalid_argument",
                param="idempotency_key",
            )
        arguments = parse(command, raw)
        call = Call(
            command,
            principal,
            arguments,
            without_secrets(arguments),
            dry_run,
            "" if command.effect == "read" else idempotency_key,
            request_id,
            runtime.clock.now_ms(),
            ask_only,
        )
        if command.writes is None:
            return _read(registry, runtime, call)
        return _write(registry, runtime, call, progress)
    except HubError as error:
        return _failed(error)
    except IntegrityError as error:
        log.info("command_clashed", command=name, request_id=request_id, error=str(error.orig))
        return _failed(Conflict("This clashes with something that exists already; list it and look."))
    except (DataError, OverflowError, UnicodeEncodeError):
        log.info("command_unstorable", command=name, request_id=request_id)
        return _failed(InvalidRequest("A value is too large, or holds a character that is no text."))
    except OperationalError as error:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if state in _LOCKED_OUT:
            log.info("command_locked_out", command=name, request_id=request_id)
            words = "Somebody changed the same in this very moment; try again."
            return _failed(Conflict(words, code="changed_meanwhile"))
        if state.startswith(_TOO_LARGE):
            return _failed(InvalidRequest("A value is too large, or holds a character that is no text."))
        log.error("database_unavailable", command=name, request_id=request_id, error=str(error.orig))
        if progress.committing:
            return _failed(_unknown(idempotency_key))
        return _failed(unanswered(error))
    except Exception:
        log.exception("command_crashed", command=name, request_id=request_id)
        message = "The hub failed at this command; its log has the reason."
        return _failed(HubError(message, hint="Try `hub doctor`."))


def _read(registry: Registry, runtime: Runtime, call: Call) -> Envelope:
    """Admit and answer; what an agent read is charged, audited and, if others wrote it, taints before it is told."""
    with ExitStack() as stack:
        context = _context(registry, runtime, call, stack, None)
        admission = admit(context, call)
        envelope = None
        if call.ask_only and not admission.asks:
            return Envelope("success")
        if admission.refusal is None and not admission.asks:
            result = _run(context, call, admission)
            envelope = Envelope(
                context.status, result.model_dump(mode="json"), dry_run=call.dry_run, next=context.next
            )
    if envelope is None:
        with _turn(runtime, call) as connection:
            return _turned_away(connection, call, admission)
    if admission.lent:
        with _turn(runtime, call) as connection:
            if halted(connection, call) is not None:  # since it was admitted
                return _turned_away(connection, call, admission)
            spend(connection, call, admission.lent)
            _read_by(connection, call, admission, envelope.data, context)
            if context.narrows is not None:
                grants.narrow(connection, admission.lent, *context.narrows)
            if admission.gate is not None:
                _use(connection, call, admission)
            audit.write(connection, "hub", call.principal, _entry(call, admission, envelope.status))
    return envelope


def _write(registry: Registry, runtime: Runtime, call: Call, progress: _Progress) -> Envelope:
    """Admission, effect, idempotency key and audit row in one transaction of the database that the command writes.

    A second database, if read, is closed first; the written one commits last. Where that is the ledger and an agent
    calls, its grant is charged in the hub's transaction, which commits before: a crash between charges for nothing,
    but never acts twice on one yes.
    """
    command = call.command
    assert command.writes is not None
    writes: Name = command.writes_by(call.arguments) if command.writes_by else command.writes
    answer: Envelope | None = None
    admission: Admission | None = None
    changes = Changes()
    try:
        with ExitStack() as stack:
            # Opened before, so that it is closed (committed) after everything that was only read.
            written = stack.enter_context(runtime.database.write(writes, changes=changes))
            context = _context(registry, runtime, call, stack, writes)
            context.adopt(writes, written)
            if not call.dry_run:
                audit.take_turn(written, writes, call.principal.org_id)
            if writes != "hub" and call.principal.grant_id is not None:
                charged = stack.enter_context(runtime.database.write("hub"))
                if not call.dry_run:
                    audit.take_turn(charged, "hub", call.principal.org_id)
                context.adopt("hub", charged)
            admission = admit(context, call)
            if call.ask_only and not admission.asks:
                return Envelope("success")
            replayed = _replay(written, writes, call) if call.key and not call.dry_run else None
            if admission.refusal is None and replayed is not None:
                answer = replayed
            elif admission.refusal is None and not admission.asks:
                answer = _effect(context, call, admission, written, changes)
            if call.dry_run:
                raise _Undo
            progress.committing = answer is not None
    except _Undo:
        pass
    assert admission is not None
    progress.committing = False
    if answer is not None and not call.dry_run:
        return answer
    with _turn(runtime, call) as connection:
        if answer is None:
            return _turned_away(connection, call, admission)
        _rehearsed(connection, call, admission, answer)
    return answer


@contextmanager
def _turn(runtime: Runtime, call: Call) -> Generator[Connection, None, None]:
    """A transaction for what is noted of a call that changed nothing, or was only told something."""
    with runtime.database.write("hub") as connection:
        audit.take_turn(connection, "hub", call.principal.org_id)
        yield connection


def _run(context: Context, call: Call, admission: Admission) -> BaseModel:
    """The verb itself; nothing may come of it if it found a thing that the policies were not asked about."""
    result = call.command.run(context, call.arguments)
    if not admission.thing.known:
        raise AssertionError(f"{call.command.name} acted on {admission.thing.id!r}, which was not resolved")
    return result


def _effect(
    context: Context, call: Call, admission: Admission, written: Connection, changes: Changes
) -> Envelope:
    command = call.command
    assert context.writes is not None
    if call.key and not call.dry_run:
        claimed = _claim(written, context.writes, call)
        if claimed is not None:
            return claimed
    if not call.dry_run:
        spend(context.hub, call, admission.lent)
        if admission.gate is not None:
            _use(context.hub, call, admission)
    changes.active = True
    result = _run(context, call, admission)
    rows = [change.to_dict() for change in changes.collect(written)]
    if context.narrows is not None and not call.dry_run:
        grants.narrow(context.hub, admission.lent, *context.narrows)
    if admission.lent and not call.dry_run:
        _read_by(context.hub, call, admission, result.model_dump(mode="json"), context)
    safe = without_secrets(result)
    if call.dry_run:
        return Envelope(context.status, safe, dry_run=True, next=context.next, changes=rows)
    if context.undoes is not None and context.undo is None and changes.opaque:
        context.undo = {}  # an inverse that did what cannot be followed is not undone again
    elif command.undo == "rows" and changes.opaque:
        raise AssertionError(f"{command.name} changes rows that cannot be followed: {changes.opaque}")
    entry = replace(
        _entry(call, admission, context.status), changes=rows, undo=context.undo, undoes=context.undoes
    )
    audit_id = audit.write(written, context.writes, call.principal, entry)
    if call.key:
        stored = {"status": context.status, "data": safe, "audit_id": audit_id, "next": context.next}
        keep(
            written,
            context.writes,
            actor=call.caller,
            key=call.key,
            command=command.name,
            body_hash=call.body_hash,
            at_ms=call.at_ms,
            answer=stored,
        )
    return Envelope(context.status, result.model_dump(mode="json"), audit_id=audit_id, next=context.next)


def _read_by(connection: Connection, call: Call, admission: Admission, answer: Any, context: Context) -> None:
    """Note what an answer does to the run that is told it: whose text it holds, and what it vouches for."""
    lent = admission.lent
    command, raw = call.command, call.shown
    if context.relayed is not None:
        command, raw, answer = context.relayed
    if command.trust == "untrusted" and provenance.foreign(raw, answer, lent=lent):
        grants.taint(connection, lent, at_ms=call.at_ms)
    provenance.learn(connection, command, raw, answer, lent=lent, at_ms=call.at_ms)


def _rehearsed(connection: Connection, call: Call, admission: Admission, answer: Envelope) -> None:
    """A dry run that shows something costs what the run would and is audited; rows that others wrote taint."""
    lent = admission.lent
    spend(connection, call, lent)
    rows = [change["before"] for change in answer.changes or () if change["before"]]
    told = [*rows, answer.data] if call.command.trust == "untrusted" else rows
    if lent and provenance.foreign(call.shown, told, lent=lent):
        grants.taint(connection, lent, at_ms=call.at_ms)
    audit.write(connection, "hub", call.principal, _entry(call, admission, "dry_run"))


def _turned_away(connection: Connection, call: Call, admission: Admission) -> Envelope:
    """Refused or asked, and audited as such."""
    refusal = admission.refusal or (halted(connection, call) if admission.lent else None)
    reasons = admission.decision.policies
    why = explain(call.command.name, reasons)
    if refusal is None and call.dry_run:
        audit.write(connection, "hub", call.principal, _entry(call, admission, "dry_run"))
        return Envelope("pending", {"gate": "", "why": why}, dry_run=True, next="a person's yes")
    gate_id = "" if admission.gate is None else admission.gate.id
    if refusal is None and not gate_id:
        try:
            gate_id = gates.ask(
                connection,
                call.principal,
                command=call.command.name,
                arguments=call.shown,
                body_hash=admission.bound,
                reasons=reasons,
                lent=admission.lent,
                at_ms=call.at_ms,
            )
        except gates.TooManyQuestions as error:
            refusal = error
    if refusal is not None:
        audit.write(connection, "hub", call.principal, _entry(call, admission, "denied"))
        return _failed(refusal)
    audit_id = audit.write(connection, "hub", call.principal, _entry(call, admission, "asked"))
    return Envelope(
        "pending", {"gate": gate_id, "why": why}, audit_id=audit_id, next=f"hub gate show {gate_id}"
    )


def _use(connection: Connection, call: Call, admission: Admission) -> None:
    assert admission.gate is not None
    if not gates.use(connection, admission.gate.id, at_ms=call.at_ms):
        raise Conflict("The yes for this was used already; ask again.", code="gate_used")


def _context(
    registry: Registry, runtime: Runtime, call: Call, stack: ExitStack, writes: Name | None
) -> Context:
    authority = authority_of(runtime.database, registry)
    return Context(
        principal=call.principal,
        settings=runtime.settings,
        now_ms=call.at_ms,
        dry_run=call.dry_run,
        database=runtime.database,
        writes=writes,
        stack=stack,
        registry=registry,
        authority=authority,
    )


def _entry(call: Call, admission: Admission, outcome: str) -> Entry:
    return Entry(
        command=call.command.name,
        effect=call.command.effect,
        outcome=outcome,
        arguments=call.shown,
        request_id=call.request_id,
        at_ms=call.at_ms,
        decision=admission.decision.to_json(),
    )


def _replay(written: Connection, name: Name, call: Call) -> Envelope | None:
    """The stored answer if this key ran before. Raises: Conflict if it ran something else."""
    stored = peek(written, name, actor=call.caller, key=call.key, at_ms=call.at_ms)
    return None if stored is None else _repeated(stored, call)


def _claim(written: Connection, name: Name, call: Call) -> Envelope | None:
    """Take the key; the stored answer if somebody else took it in between."""
    stored = claim(
        written,
        name,
        actor=call.caller,
        key=call.key,
        command=call.command.name,
        body_hash=call.body_hash,
        at_ms=call.at_ms,
    )
    return None if stored is None else _repeated(stored, call)


def _repeated(stored: Stored, call: Call) -> Envelope:
    if (stored.command, stored.body_hash) != (call.command.name, call.body_hash):
        raise Conflict(
            "This idempotency key was used for another command or other arguments; use a fresh one.",
            code="idempotency_key_conflict",
        )
    answer = stored.answer
    return Envelope(
        answer["status"], answer["data"], audit_id=answer["audit_id"], next=answer["next"], replayed=True
    )


def _sentence(words: str) -> str:
    """The message with an end; of a caller's own long words in it, only so many are said back."""
    words = clipped(words.strip())
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."


def _unknown(key: str) -> HubError:
    hint = (
        f"Ask again with --idempotency-key {key}: it is done at most once."
        if key
        else "See `hub audit list`."
    )
    return Unavailable(
        "The database went away while it wrote; it is unknown whether the change was made.",
        code="outcome_unknown",
        hint=hint,
    )


def _failed(error: HubError) -> Envelope:
    retry = error.retryable and error.code != "outcome_unknown"
    fault = Fault(
        code=error.code,
        message=_sentence(error.message),
        hint=clipped(error.hint),
        param=None if error.param is None else error.param[:PARAM_MAX],
        type=error.type,
        status=error.status,
        headers={**error.headers, "x-should-retry": "true" if retry else "false"},
    )
    return Envelope("failure", error=fault)
