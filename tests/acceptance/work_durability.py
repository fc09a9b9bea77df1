"""4: agent runs while worker, app and gateway are killed; what a stop stops; what parked runs cost and how fast they wake.

A run's script makes two tasks whose titles name the run, so an effect that is lost or done twice is counted; it thinks
three times, so a reply that is billed twice is a line too many on the run's key.
"""

import contextlib
import json
import os
import random
import signal
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.harness import Measured, Run, check
from tests.acceptance.hub import ADMIN_KEY, Hub, wait_for
from tests.acceptance.scripted_agent import MODEL, ROUTED, ScriptedAgent, script

ROLES = ("worker", "app", "gateway")
STARTERS = 4
TOKENS_MAX = 40_000
RESUME_MS_MAX = 1000
DECISIONS_PER_S = 8.0
"""As many people say yes at the same time; each is waited for, so a slow hub makes them fewer."""
POOL_THREADS = 8
"""Threads of pools that come and go; none belongs to a run."""
LIVES_S = 0.8
"""A victim has lived this long."""


@dataclass
class Storm:
    """What the kills did."""

    started: dict[int, str] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    away_s: list[float] = field(default_factory=list)


@check(
    4,
    "durability",
    bar="200 random kill -9 of worker, app, gateway over 1,000 runs: no effect lost or doubled, no reply billed twice, audit chain intact, "
    "budgets exact; STOP before the next command; 1,000 parked runs cost no thread and resume within 1 s",
)
def durability(run: Run) -> Measured:
    """Three parts on one hub, one after the other."""
    chance = random.Random(run.seed)
    runs, kills = (60, 12) if run.quick else (1000, run.kills)
    parked, stops = (60, 8) if run.quick else (1000, 40)
    with ScriptedAgent(delay_ms=20) as model, Hub(model="none", keep_home=True) as hub:
        run.note(f"home {hub.home}")
        hub.command("provider.add", name="scripted", url=f"{model.url}/v1", model=[MODEL])
        hub.price(ROUTED, input="1", output="3")
        assert wait_for(lambda: hub.ready(ROUTED), timeout_s=20)
        storm = _storm(run, hub, chance, runs, kills)
        found = _account(hub, storm, model)
        run.note(f"storm: {found}")
        stopped = _stops(hub, chance, stops)
        run.note(f"stops: {stopped}")
        woken = _parked(run, hub, chance, parked)
        run.note(f"parked: {woken}")
        found["audit_holds"] = hub.command("audit.verify")["holds"]
        found["ledger_whole"] = hub.command("ledger.verify")["whole"]
    return _judge(run, storm, found, stopped, woken, kills)


# kills


def _storm(run: Run, hub: Hub, chance: random.Random, runs: int, kills: int) -> Storm:
    """Runs are begun all the time while processes die; then whatever is left works off."""
    storm, stop = Storm(), threading.Event()
    numbers = iter(range(runs))
    lock = threading.Lock()

    def begin() -> None:
        while not stop.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            storm.started[number] = _begin(hub, number)

    with ThreadPoolExecutor(STARTERS) as pool:
        starters = [pool.submit(begin) for _ in range(STARTERS)]
        _kill_all(run, hub, chance, storm, kills, runs)
        for one in starters:
            one.result()
    run.note(f"{kills} kills, {len(storm.started)} runs begun; working off")
    ids = list(storm.started.values())

    def left() -> int:
        rows = hub.rows("hub", "SELECT count(*) AS n FROM agent_runs WHERE state NOT IN ('done', 'failed')")
        return int(rows[0]["n"])

    assert wait_for(lambda: left() == 0, timeout_s=60 + len(ids), every_s=0.5), f"{left()} runs never ended"
    return storm


def _begin(hub: Hub, number: int) -> str:
    """One run, begun once however often the way to the hub breaks."""
    request = script(
        [["task.create", {"title": f"run {number} a"}]],
        [["task.create", {"title": f"run {number} b"}]],
        "Both are there.",
        say=f"Run {number}.",
    )
    body = {"request": request, "model": ROUTED, "max_tokens": TOKENS_MAX, "commands": ["task.*"]}
    while True:
        status, answer = _post(hub, "agent.run", body, key=f"begin-{number}")
        if status == 202:
            return str(answer["data"]["id"])
        time.sleep(0.1)


def _post(hub: Hub, verb: str, body: dict[str, Any], *, key: str) -> tuple[int, Any]:
    headers = {
        "Authorization": f"Bearer {ADMIN_KEY}",
        "Content-Type": "application/json",
        "Idempotency-Key": key,
    }
    asked = urllib.request.Request(
        f"{hub.url}/api/commands/{verb}", data=json.dumps(body).encode(), method="POST", headers=headers
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {}
    except (OSError, ValueError):
        return 0, {}


def _kill_all(run: Run, hub: Hub, chance: random.Random, storm: Storm, kills: int, runs: int) -> None:
    """Spread over the whole time in which runs are begun."""
    born: dict[int, float] = {}
    while sum(storm.kills.values()) < kills:
        time.sleep(chance.uniform(0.1, 0.7))
        if sum(storm.kills.values()) > len(storm.started) * kills // runs:
            continue
        now = time.monotonic()
        alive = [(role, pid) for role in ROLES for pid in hub.pids(role)]
        for _, pid in alive:
            born.setdefault(pid, now)
        ready = [(role, pid) for role, pid in alive if now - born[pid] > LIVES_S]
        if not ready:
            continue
        role, pid = chance.choice(ready)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        storm.kills[role] += 1
        if sum(storm.kills.values()) % 20 == 0:
            run.note(f"{sum(storm.kills.values())} kills, {len(storm.started)} runs begun")


def _account(hub: Hub, storm: Storm, model: ScriptedAgent) -> dict[str, Any]:
    """Every effect, every reply, every token, after everything has settled."""
    ids = set(storm.started.values())
    assert wait_for(hub.serves, timeout_s=60), hub.last_words()
    states = Counter(
        f"{row['state']} {row['code']}" for row in hub.rows("hub", "SELECT state, code FROM agent_runs")
    )
    titles = Counter(row["title"] for row in hub.rows("hub", "SELECT title FROM tasks"))
    wanted = [f"run {number} {part}" for number in storm.started for part in "ab"]
    steps = hub.rows("hub", "SELECT * FROM agent_steps WHERE kind = 'model'")
    keys = {row["key_id"]: row for row in hub.rows("hub", "SELECT * FROM agent_runs")}
    replies = {step["request_id"] for step in steps}

    def events() -> dict[str, dict[str, Any]]:
        return {row["request_id"]: row for row in hub.rows("ledger", "SELECT * FROM usage_event")}

    wait_for(lambda: replies <= set(events()), timeout_s=60, every_s=0.5)
    wait_for(lambda: _held(hub) == 0, timeout_s=60, every_s=0.5)
    lines = {name: line for name, line in events().items() if line["key_id"] in keys}
    by_key: Counter[str] = Counter()
    for line in lines.values():
        by_key[line["key_id"]] += _tokens(line)
    wrong = [
        step["request_id"] for step in steps if step["tokens"] != _tokens(lines.get(step["request_id"], {}))
    ]
    shown = [hub.command("agent.show", run=run_id) for run_id in sorted(ids)[:: max(len(ids) // 50, 1)]]
    return {
        "runs": len(ids),
        "states": dict(states),
        "effects_lost": [title for title in wanted if titles[title] == 0][:20],
        "effects_doubled": [title for title in wanted if titles[title] > 1][:20],
        "replies": len(steps),
        "replies_with_one_line": len(replies & set(lines)),
        "replies_sharing_a_line": len(steps) - len(replies),
        "replies_booked_otherwise": wrong[:20],
        "broken_off_and_asked_again": sum(step["attempts"] - 1 for step in steps),
        "lines_of_broken_calls": len(set(lines) - replies),
        "model_answered": sum(model.counts().values()),
        "over_budget": [key for key, used in by_key.items() if used > keys[key]["tokens_max"]][:20],
        "shown_otherwise": [
            one["id"] for one in shown if one["billed_tokens"] != by_key[_key_of(keys, one["id"])]
        ],
        "held": _held(hub),
        "open_steps": sum(step["state"] != "done" for step in steps),
    }


def _key_of(keys: dict[str, dict[str, Any]], run_id: str) -> str:
    return next(key for key, row in keys.items() if row["id"] == run_id)


def _tokens(line: dict[str, Any]) -> int:
    names = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    return sum(int(line.get(name, 0)) for name in names)


def _held(hub: Hub) -> int:
    return int(hub.rows("ledger", "SELECT COALESCE(SUM(held), 0) AS held FROM bucket")[0]["held"])


# stops


def _stops(hub: Hub, chance: random.Random, stops: int) -> dict[str, Any]:
    """Each run makes a task at each step; after the stop's own audit row there is none of it."""
    late, ended, done_before = 0, 0, 0
    for number in range(stops):
        # Longer than any pause below: a stop must meet a run that is at work.
        calls = [[["task.create", {"title": f"stop {number} {step}"}]] for step in range(90)]
        run_id = hub.command("agent.run", request=script(*calls, "never"), model=ROUTED, max_steps=200)["id"]
        time.sleep(chance.uniform(0.2, 1.5))
        stopped = hub.request("POST", "/api/commands/agent.stop", {"agent": run_id})[1]
        wait_for(lambda run_id=run_id: _state(hub, run_id) == "stopped", timeout_s=20)
        seq = hub.rows("hub", "SELECT seq FROM audit WHERE id = ?", [stopped["audit_id"]])[0]["seq"]
        rows = hub.rows("hub", "SELECT seq FROM audit WHERE grant_id = ? AND outcome = 'success'", [run_id])
        late += sum(row["seq"] > seq for row in rows)
        done_before += len(rows)
        ended += _state(hub, run_id) == "stopped"
    return {"stops": stops, "commands_after_the_stop": late, "stopped": ended, "commands_before": done_before}


def _state(hub: Hub, run_id: str) -> str:
    return str(hub.rows("hub", "SELECT state FROM agent_runs WHERE id = ?", [run_id])[0]["state"])


# parked runs


def _parked(run: Run, hub: Hub, chance: random.Random, count: int) -> dict[str, Any]:
    """Runs that each wait for a yes; then a yes for each, in random order, one after the other."""
    worker = hub.pids("worker")[0]
    warm = [hub.command("agent.run", request=script("Warm."), model=ROUTED)["id"] for _ in range(40)]
    assert wait_for(lambda: all(_state(hub, one) == "done" for one in warm), timeout_s=60)
    before = _threads(worker)
    keys = [f"parked {number}" for number in range(count)]

    def begin(name: str) -> str:
        request = script([["key.revoke", {"key": f"none-{name}"}]], "Told.")
        return str(hub.command("agent.run", request=request, model=ROUTED)["id"])

    with ThreadPoolExecutor(STARTERS) as pool:
        ids = list(pool.map(begin, keys))

    def waiting() -> int:
        sql = "SELECT count(*) AS n FROM agent_runs WHERE state = 'waiting' AND waits_for LIKE 'gate%'"
        return int(hub.rows("hub", sql)[0]["n"])

    assert wait_for(lambda: waiting() == count, timeout_s=60 + count, every_s=0.5), waiting()
    threads, cpu = _threads(worker), _cpu_s(worker)
    time.sleep(5)
    idle = (_cpu_s(worker) - cpu) / 5
    run.note(f"{count} parked, {threads} threads of the worker (before: {before}), {idle:.3f} of a core")
    chance.shuffle(ids)
    started = time.monotonic()
    for place, run_id in enumerate(ids):
        hub.command("agent.approve", run=run_id)
        time.sleep(max(0.0, started + (place + 1) / DECISIONS_PER_S - time.monotonic()))
    rate = count / (time.monotonic() - started)

    def resumed() -> bool:
        rows = hub.rows(
            "hub", "SELECT count(*) AS n FROM agent_runs WHERE state NOT IN ('done', 'failed', 'stopped')"
        )
        return int(rows[0]["n"]) == 0

    assert wait_for(resumed, timeout_s=60 + count, every_s=0.2)
    times = _resume_ms(hub, ids)
    ordered = sorted(times)
    return {
        "parked": count,
        "threads_before": before,
        "threads_parked": threads,
        "idle_cores": round(idle, 3),
        "decisions_per_s": round(rate, 1),
        "resumed": len(times),
        "resume_ms_p50": statistics.median(ordered),
        "resume_ms_p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "resume_ms_max": ordered[-1],
    }


def _resume_ms(hub: Hub, ids: list[str]) -> list[int]:
    """From the decision to the end of the command that it let run, by the rows."""
    found: list[int] = []
    gates = {
        row["grant_id"]: row["decided_at_ms"]
        for row in hub.rows("hub", "SELECT grant_id, decided_at_ms FROM gates WHERE command = 'key.revoke'")
    }
    steps = {
        row["run_id"]: row["ended_at_ms"]
        for row in hub.rows("hub", "SELECT run_id, ended_at_ms FROM agent_steps WHERE name = 'key.revoke'")
    }
    for run_id in ids:
        found.append(int(steps[run_id]) - int(gates[run_id]))
    return found


def _threads(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Threads")).split()[1])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _judge(
    run: Run, storm: Storm, found: dict[str, Any], stopped: dict[str, Any], woken: dict[str, Any], kills: int
) -> Measured:
    done = found["states"].get("done answered", 0)
    holds = (
        not found["effects_lost"]
        and not found["effects_doubled"]
        and done == found["runs"]
        and found["replies_with_one_line"] == found["replies"]
        and found["replies_sharing_a_line"] == 0
        and not found["replies_booked_otherwise"]
        and found["lines_of_broken_calls"] <= found["broken_off_and_asked_again"]
        and not found["over_budget"]
        and not found["shown_otherwise"]
        and found["held"] == 0
        and found["audit_holds"]
        and found["ledger_whole"]
        and stopped["commands_after_the_stop"] == 0
        and stopped["stopped"] == stopped["stops"]
        and woken["threads_parked"] <= woken["threads_before"] + POOL_THREADS
        and woken["resumed"] == woken["parked"]
        and woken["resume_ms_max"] <= RESUME_MS_MAX
        and (sum(storm.kills.values()) >= 200 or run.quick)
    )
    return Measured(
        holds,
        f"{sum(storm.kills.values())} kills {dict(storm.kills)} over {found['runs']} runs: {done} answered, "
        f"{len(found['effects_lost'])} effects lost, {len(found['effects_doubled'])} doubled; {found['replies']} replies, "
        f"{found['replies_with_one_line']} with their one line, {found['broken_off_and_asked_again']} calls broke off and were asked again "
        f"({found['lines_of_broken_calls']} of them billed as far as they came), {len(found['over_budget'])} over budget, "
        f"held {found['held']}; audit {'intact' if found['audit_holds'] else 'BROKEN'}; {stopped['stops']} stops, "
        f"{stopped['commands_after_the_stop']} commands after; {woken['parked']} parked: threads {woken['threads_before']} -> "
        f"{woken['threads_parked']}, at {woken['decisions_per_s']} decisions/s resumed p50 {woken['resume_ms_p50']:.0f} ms, p99 {woken['resume_ms_p99']} ms, max {woken['resume_ms_max']} ms",
        {"storm": {"kills": dict(storm.kills)}, **found, "stops": stopped, "parked": woken},
    )
