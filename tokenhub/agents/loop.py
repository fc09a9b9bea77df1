"""A run at work: ask the model, write down what it said, do it through the door, and so on until it answers.

    bounds and stops → reserve → ask (key run:seq) → journal the reply → for each action: journal, door, journal → …

One call of `advance` is one stretch: from being woken to waiting, stopping or ending. It may die at any line; the next
one reads the journal and goes on where it ended. Everything that waits leaves the thread.
"""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import structlog
from sqlalchemy import Connection

from tokenhub.agents import context, journal, runs, spending
from tokenhub.agents.exact import people_of
from tokenhub.agents.invoke import invoke, told
from tokenhub.agents.minds import ACTIONS_MAX, MINDS
from tokenhub.agents.model import Gateway, Reply
from tokenhub.agents.runs import Superseded
from tokenhub.agents.types import Action, Run, Step, StepState
from tokenhub.agents.undoing import account_of, taking_back
from tokenhub.commands import gates
from tokenhub.commands.door import Runtime
from tokenhub.commands.envelope import Envelope
from tokenhub.commands.registry import Registry
from tokenhub.commands.retrieval import index_of
from tokenhub.identity import grants
from tokenhub.identity.keys import principal_of
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import HubError

log = structlog.get_logger()
CALL_S_MAX = 300.0
SAME_CALLS_MAX = 3
"""The same command with the same arguments so often ends the run."""
FAILURES_MAX = 150
BACKOFF_MS = (200, 400, 800, 1500, 3000, 5000)
EXHAUSTED_MS_MAX = 24 * 3_600_000
"""Longest that a run waits for a person's limit to come back."""
REPEATABLE_MS = 23 * 3_600_000
"""A write that was begun longer ago is not repeated: its key may have been forgotten."""
PINNED_MAX = 6
LOOK_MS = 24 * 3_600_000
"""A run that waits for a person or a child looks once a day whether it still has to (a question may have expired)."""


@dataclass(frozen=True, slots=True)
class Loop:
    """What runs are advanced with."""

    registry: Registry
    runtime: Runtime
    gateway: Gateway
    worker: str
    """Who advances; the same in the process's next life, which takes up what this one leaves."""
    halt: threading.Event
    """Set when the worker stops: stretches end at the next step."""

    def advance(self, run_id: str, segment: int) -> None:
        """One stretch of a run; harmless if it was done, or is another worker's."""
        database = self.runtime.database
        with database.write("hub") as connection:
            run = runs.claim(connection, run_id, segment, worker=self.worker, at_ms=self._now())
        if run is None:
            return
        whole = False
        try:
            _Stretch(self, run).go()
            whole = True
        except Superseded:
            whole = True
            log.info("run_superseded", run_id=run_id, segment=segment)
        finally:
            if not whole:  # the engine logs why
                with database.write("hub") as connection:
                    runs.crashed(connection, run, at_ms=self._now())

    def _now(self) -> int:
        return self.runtime.clock.now_ms()


class _Stretch:
    """One run in one thread."""

    def __init__(self, loop: Loop, run: Run) -> None:
        self._loop, self.run = loop, run
        self._database = loop.runtime.database
        self._mind = MINDS[run.mind]
        self.steps: list[Step] = []

    def go(self) -> None:
        """Until it waits, stops or ends."""
        with self._database.read("hub") as connection:
            self.steps = journal.steps_of(connection, self.run.id)
        while True:
            if self._loop.halt.is_set():
                self._leave(lambda connection: runs.release(connection, self.run, at_ms=self._now()))
                return
            if not self._step():
                return

    # what comes next

    def _step(self) -> bool:
        """Do one thing; False if the stretch is over."""
        principal = self._admitted()
        if principal is None:
            return False
        if self.run.origin.startswith("undo:"):
            return self._take_back(principal)
        last = next((step for step in reversed(self.steps) if step.kind == "model"), None)
        if last is not None and last.answer is not None:
            done = {step.seq: step for step in self.steps if step.seq > last.seq}
            actions = self._mind.actions(self._loop.registry, last.answer)
            for place, action in enumerate(actions):
                step = done.get(last.seq + 1 + place)
                if step is None or step.state in ("open", "waiting"):
                    ahead = actions[place + 1 :]
                    return self._act(principal, action, last.seq + 1 + place, step, ahead=ahead)
            if not actions:
                self._end("done", "answered", str(last.answer.get("content") or ""))
                return False
        if len(self.steps) >= self.run.steps_max:
            self._end("failed", "steps", f"It took {self.run.steps_max} steps without an end.")
            return False
        return self._think(principal, last if last is not None and last.answer is None else None)

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

    def _take_back(self, person: Principal) -> bool:
        """The next effect of another run that is to be undone, the newest first; by the person, who asked for it."""
        with self._database.read("hub") as connection:
            actions = taking_back(connection, self._loop.registry, self.run)
        done = {step.seq: step for step in self.steps}
        for place, action in enumerate(actions):
            step = done.get(place + 1)
            if step is None or step.state == "open":
                return self._act(replace(person, grant_id=None), action, place + 1, step)
        state, code, answer = account_of(self.steps)
        self._end(state, code, answer)
        return False

    # thinking

    def _think(self, principal: Principal, pending: Step | None) -> bool:
        """One call to the model; its reply is in the journal before anything is done with it."""
        if not self.run.tools and self.run.mind == "tools" and not self.steps:
            self._pin(principal)
        step = pending or self._reserve()
        if step is None:
            return False
        left_s = self.run.work_left_ms(self._now()) / 1000
        timeout_s = max(min(CALL_S_MAX, left_s), 1.0)
        with self._database.write("hub") as connection:
            runs.extend(
                connection, self.run, at_ms=self._now(), lease_ms=int(timeout_s * 1000) + runs.LEASE_MS
            )
            if pending is not None:
                # Found open: whoever asked died before the reply came, and nobody knows what was made for it.
                step = journal.ask_again(connection, step, counted=step.state == "open")
                self._put(step)
        reply = self._loop.gateway.ask(step.body, key_id=self.run.key_id, key=step.key, timeout_s=timeout_s)
        if reply.verdict == "answered":
            self._journal_reply(step, reply)
            return True
        return self._unanswered(step, reply)

    def _reserve(self) -> Step | None:
        """An open step whose bound is reserved; None if there is no room, and the run has ended or waits."""
        run, now = self.run, self._now()
        lost = spending.lost(self._database, run) if self.steps or run.parent_id else 0
        said = context.messages(run, self.steps, self._mind, at_ms=now)
        body: dict[str, Any] = {
            "model": run.model,
            **self._mind.body(self._loop.registry, run, said, people=people_of(self._database, run)),
        }
        seq = self.steps[-1].seq + 1 if self.steps else 1
        bound = _bound(json.dumps(body, ensure_ascii=False)) + spending.OVERHEAD_TOKENS
        with self._database.write("hub") as connection:
            runs.extend(connection, run, at_ms=now)
            found = spending.room(connection, run, prompt_bound=bound, lost_tokens=lost, at_ms=now)
            if found.answer_tokens:
                text = json.dumps({**body, "max_tokens": found.answer_tokens}, ensure_ascii=False)
                held = bound + found.answer_tokens
                self.steps.append(
                    journal.open_model(
                        connection, run.id, seq, model=run.model, body=text, held_tokens=held, at_ms=now
                    )
                )
        if found.answer_tokens:
            return self.steps[-1]
        if found.held_tokens:
            self._park("budget", now + 2000)
        else:
            self._end("failed", "budget", f"Its {run.tokens_max} tokens are used up.")
        return None

    def _journal_reply(self, step: Step, reply: Reply) -> None:
        message = _named_calls(reply.message)
        per_attempt = step.held_tokens // step.attempts
        with self._database.write("hub") as connection:
            runs.extend(connection, self.run, at_ms=self._now())
            journal.close(
                connection,
                step.run_id,
                step.seq,
                answer=message,
                at_ms=self._now(),
                request_id=reply.request_id,
                tokens=reply.tokens,
                held_tokens=per_attempt * (step.attempts - 1),
            )
            if self.run.failures:
                runs.count_failure(connection, self.run, 0)
        self.run = replace(self.run, failures=0)
        self._put(
            replace(step, state="done", answer=message, request_id=reply.request_id, tokens=reply.tokens)
        )

    def _unanswered(self, step: Step, reply: Reply) -> bool:
        """Wait and ask again, or give up. The step stays open: the next stretch asks under the same key."""
        log.info("model_unanswered", run_id=self.run.id, seq=step.seq, code=reply.code, why=reply.why)
        now, failures = self._now(), self.run.failures + 1
        if reply.verdict == "refused" or failures > FAILURES_MAX:
            self._fail_step(step, reply)
            self._end("failed", reply.code or "model_failed", reply.why)
            return False
        if reply.verdict == "exhausted":
            wait_ms = reply.retry_after_ms
            if wait_ms is None or wait_ms > EXHAUSTED_MS_MAX:
                self._fail_step(step, reply)
                self._end("failed", "budget", reply.why)
                return False
            if step.attempts > 1:
                self._fail_step(step, reply)
                self._end("failed", "budget", reply.why)
                return False
            with self._database.write("hub") as connection:
                runs.extend(connection, self.run, at_ms=now)
                journal.drop(connection, step.run_id, step.seq)  # refused before anything was made
            self._park("budget", now + max(wait_ms, 1000))
            return False
        pause = reply.retry_after_ms or BACKOFF_MS[min(failures, len(BACKOFF_MS)) - 1]

        def leave(connection: Connection) -> None:
            journal.set_aside(connection, step, counted=reply.sent)
            runs.count_failure(connection, self.run, failures)
            runs.park(connection, self.run, waits_for="time", wake_at_ms=now + pause, at_ms=now)

        self._leave(leave)
        return False

    def _fail_step(self, step: Step, reply: Reply) -> None:
        answer = {"error": {"code": reply.code, "message": reply.why}}
        with self._database.write("hub") as connection:
            runs.extend(connection, self.run, at_ms=self._now())
            journal.close(
                connection,
                step.run_id,
                step.seq,
                answer=answer,
                at_ms=self._now(),
                state="unknown" if reply.verdict == "again" else "done",
                request_id=reply.request_id,
                held_tokens=step.held_tokens,
            )

    def _pin(self, principal: Principal) -> None:
        """The commands that fit the request best are tools of their own."""
        hits = index_of(self._loop.registry).search(self.run.request[:500])
        found = [hit.command for hit in hits if principal.allows(hit.command.permission)]
        names = [command.name for command in found[:PINNED_MAX]]
        with self._database.write("hub") as connection:
            runs.pin(connection, self.run, names)
        self.run = replace(self.run, tools=tuple(names))

    # acting

    def _act(
        self,
        principal: Principal,
        action: Action,
        seq: int,
        step: Step | None,
        *,
        ahead: Sequence[Action] = (),
    ) -> bool:
        """One command, once; False if the run now waits or has ended.

        Before it waits for a person, the rest of the same reply is asked about too: one sitting answers them all.
        """
        if step is None:
            if self._repeats(action):
                return False
            with self._database.write("hub") as connection:
                runs.extend(connection, self.run, at_ms=self._now())
                step = journal.open_command(connection, self.run.id, seq, action, at_ms=self._now())
            self.steps.append(step)
        elif step.state == "open" and self._now() - step.started_at_ms > REPEATABLE_MS:
            self._journal(step, _unknown(), state="unknown")
            return True
        child = self._child(step)
        if child is not None:
            return self._after_child(step, child)
        if action.problem:
            self._journal(
                step,
                {"ok": False, "status": "failure", "error": {"code": "bad_call", "message": action.problem}},
            )
            return True
        envelope = invoke(
            self._loop.registry, self._loop.runtime, principal, action.name, action.arguments, key=step.key
        )
        if envelope.status == "pending" and (envelope.data or {}).get("gate"):
            for later in ahead:
                if not later.problem:
                    invoke(
                        self._loop.registry,
                        self._loop.runtime,
                        principal,
                        later.name,
                        later.arguments,
                        ask_only=True,
                    )
        return self._came(step, action, envelope)

    def _came(self, step: Step, action: Action, envelope: Envelope) -> bool:
        """Journal what came of a command, or wait for what it waits for."""
        answer = told(self._loop.registry, action.name, envelope) if envelope.data else _plain(envelope)
        code = "" if envelope.error is None else envelope.error.code
        data = envelope.data or {}
        if code in ("agent_stopped", "grant_ended"):
            return True  # the step stays open; `_admitted` stops or ends the run
        if envelope.status == "pending" and data.get("gate"):
            gate_id = str(data["gate"])
            self._journal(
                step,
                answer,
                state="waiting",
                gate_id=gate_id,
                audit_id=envelope.audit_id or "",
                waits_for=gate_id,
            )
            return False
        if envelope.status == "pending" and action.name == "agent.run" and not data.get("detached"):
            run_id = str(data["id"])
            self._journal(step, answer, state="waiting", audit_id=envelope.audit_id or "", waits_for=run_id)
            return False
        unknown = code == "outcome_unknown"
        self._journal(step, answer, state="unknown" if unknown else "done", audit_id=envelope.audit_id or "")
        return True

    def _child(self, step: Step) -> Run | None:
        """The run that this step started and waits for."""
        if step.state != "waiting" or step.gate_id or step.answer is None:
            return None
        with self._database.read("hub") as connection:
            return runs.load_run(connection, str(step.data["id"]))

    def _after_child(self, step: Step, child: Run) -> bool:
        if not child.ended and child.state != "stopped":
            self._leave(lambda connection: self._wait(connection, child.id, at_ms=self._now()))
            return False
        data = {"id": child.id, "state": child.state, "code": child.code, "answer": child.answer}
        status = "success" if child.state == "done" else "failure"
        with self._database.write("hub") as connection:
            tainted = any(grant.tainted_at_ms is not None for grant in grants.chain(connection, child.id))
            if tainted:
                grants.taint(connection, grants.chain(connection, self.run.id), at_ms=self._now())
        self._journal(
            step, {"ok": status == "success", "status": status, "data": data}, audit_id=step.audit_id
        )
        return True

    def _repeats(self, action: Action) -> bool:
        same = journal.sameness(action)
        if sum(step.same == same for step in self.steps) + 1 < SAME_CALLS_MAX:
            return False
        self._end("failed", "repeats", f"It asked for the same `{action.name}` {SAME_CALLS_MAX} times.")
        return True

    # the journal

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


def _bound(text: str) -> int:
    """Tokens never exceed bytes."""
    return len(text.encode(errors="surrogatepass"))


def _named_calls(message: dict[str, Any]) -> dict[str, Any]:
    """Each call with an id of its own, and not too many of them."""
    calls = cast(list[dict[str, Any]], message.get("tool_calls") or [])[: ACTIONS_MAX + 1]
    seen: set[str] = set()
    for place, call in enumerate(calls):
        if not call.get("id") or call["id"] in seen:
            call["id"] = f"call_{place}"
        seen.add(str(call["id"]))
    return {**message, "tool_calls": calls} if calls else message


def _plain(envelope: Envelope) -> dict[str, Any]:
    """An envelope without data."""
    found = {name: value for name, value in envelope.to_dict().items() if value not in (None, "", False)}
    return {"ok": envelope.ok, **found}


def _unknown() -> dict[str, Any]:
    message = (
        "The hub stopped while this ran, too long ago to ask again safely. It may have been done: look first."
    )
    return {"ok": False, "status": "failure", "error": {"code": "outcome_unknown", "message": message}}
