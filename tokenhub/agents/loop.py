"""A run at work: ask the model, write down what it said, do it through the door, and so on until it answers.

    bounds and stops → reserve → ask (key run:seq) → journal the reply → for each action: journal, door, journal → …

One call of `advance` is one stretch: from being woken to waiting, stopping or ending. It may die at any line; the next
one reads the journal and goes on where it ended. Everything that waits leaves the thread.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import structlog
from sqlalchemy import Connection

from tokenhub.agents import context, journal, runs, spending
from tokenhub.agents.exact import people_of
from tokenhub.agents.invoke import invoke, told
from tokenhub.agents.minds import ACTIONS_MAX
from tokenhub.agents.model import Reply
from tokenhub.agents.runs import Superseded
from tokenhub.agents.stretch import Stretch, Tools
from tokenhub.agents.types import Action, Run, Step
from tokenhub.agents.undoing import account_of, taking_back
from tokenhub.commands.envelope import Envelope
from tokenhub.commands.retrieval import index_of
from tokenhub.identity import grants
from tokenhub.identity.types import Principal

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
OUTSIDE_LOOK_MS = 1000


class Loop(Tools):
    """Advances runs."""

    def advance(self, run_id: str, segment: int) -> None:
        """One stretch of a run; harmless if it was done, or is another worker's."""
        database = self.runtime.database
        with self.turn, database.write("hub") as connection:
            run = runs.claim(connection, run_id, segment, worker=self.worker, at_ms=self._now())
        if run is None:
            return
        whole = False
        try:
            with self.turn:
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


class _Stretch(Stretch):
    """One run in one thread: what it thinks and what it does."""

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
        self._loop.turn.release()
        try:
            reply = self._loop.gateway.ask(
                step.body, key_id=self.run.key_id, key=step.key, timeout_s=timeout_s
            )
        finally:
            self._loop.turn.acquire()
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
            if self._too_soon(action) or self._repeats(action):
                return False
            with self._database.write("hub") as connection:
                runs.extend(connection, self.run, at_ms=self._now())
                step = journal.open_command(connection, self.run.id, seq, action, at_ms=self._now())
            self.steps.append(step)
        elif step.state == "open" and self._now() - step.started_at_ms > REPEATABLE_MS:
            self._journal(step, _unknown(), state="unknown")
            return True
        if step.state == "waiting" and step.data.get("call"):
            return self._fetch(principal, step, str(step.data["call"]))
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
        if envelope.status == "pending" and data.get("call"):
            self._journal(step, answer, state="waiting", audit_id=envelope.audit_id or "")
            return True
        unknown = code == "outcome_unknown"
        self._journal(step, answer, state="unknown" if unknown else "done", audit_id=envelope.audit_id or "")
        return True

    def _fetch(self, principal: Principal, step: Step, call_id: str) -> bool:
        """What an outside server answered; until it has, look again now and then."""
        loop, asked = self._loop, json.dumps({"call": call_id})
        envelope = invoke(loop.registry, loop.runtime, principal, "mcp.result", asked)
        if envelope.status == "pending" and not (envelope.data or {}).get("gate"):
            self._park("time", self._now() + OUTSIDE_LOOK_MS)
            return False
        self._journal(step, told(loop.registry, "mcp.result", envelope), audit_id=step.audit_id)
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

    def _too_soon(self, action: Action) -> bool:
        """Look again at something that goes on outside only after a while; True if the run waits until then."""
        same = journal.sameness(action)
        last = next((step for step in reversed(self.steps) if step.same == same), None)
        now = self._now()
        if last is None or not last.goes_on or now - last.started_at_ms >= OUTSIDE_LOOK_MS:
            return False
        self._park("time", last.started_at_ms + OUTSIDE_LOOK_MS)
        return True

    def _repeats(self, action: Action) -> bool:
        same = journal.sameness(action)
        if sum(step.same == same and not step.goes_on for step in self.steps) + 1 < SAME_CALLS_MAX:
            return False
        self._end("failed", "repeats", f"It asked for the same `{action.name}` {SAME_CALLS_MAX} times.")
        return True


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
