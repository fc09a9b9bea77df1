"""4: processes killed at random while requests run; afterwards nothing that was delivered is missing from the books."""

import asyncio
import contextlib
import os
import random
import signal
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.client import Answer, complete
from tests.acceptance.harness import Measured, Run, check
from tests.acceptance.hub import ADMIN_KEY, TINY, Hub, wait_for
from tests.acceptance.upstream import MODEL, ROUTED, Upstream, prompt

CLIENTS = 10
ENGINE_CLIENTS = 2
SERVES_S_MAX = 3.0
RECOVERY_S_MAX = 60.0
ROLES = ("gateway", "app", "worker", "engine")
SIGTERM_SHARE = 0.15
LIVED_S = 10.0
"""A victim has lived this long: a process that dies sooner is started again with a growing pause, by design."""


@dataclass
class Kill:
    """One kill and how long its service was away."""

    role: str
    signal: str
    served_after_s: float


@dataclass
class Ledger:
    """What clients received, by request id."""

    received: dict[str, int] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    """Tokens received without a request id; there must be none."""

    def add(self, answer: Answer) -> None:
        """Count one answer, whole or broken off."""
        kind = "complete" if answer.complete else "cut" if answer.status else "no answer"
        self.answers[f"{kind} {answer.status}"] += 1
        if answer.request_id:
            self.received[answer.request_id] = self.received.get(answer.request_id, 0) + answer.tokens
        else:
            self.unknown += answer.tokens


@check(
    4,
    "chaos",
    bar="200 random kill -9 of gateway, app, engine: 0 delivered tokens lost, verify clean, residual 0, serves again in 3 s",
)
def chaos(run: Run) -> Measured:
    """Load on a scripted provider and on the real engine while a random process dies every few seconds."""
    chance = random.Random(run.seed)
    with Upstream(delay_ms=4) as upstream, Hub(model=TINY, gateways=2, keep_home=True) as hub:
        run.note(f"home {hub.home}")
        hub.command("provider.add", name="scripted", url=f"{upstream.url}/v1", model=[MODEL])
        hub.price(ROUTED, input="1", output="3")
        assert wait_for(lambda: hub.ready(ROUTED), timeout_s=20)
        received = Ledger()
        kills = asyncio.run(_storm(run, hub, chance, received))
        run.note("load ended; waiting for recovery")
        findings = _recover(hub, received, upstream)
    return _judge(run, kills, received, findings)


async def _storm(run: Run, hub: Hub, chance: random.Random, received: Ledger) -> list[Kill]:
    stop = asyncio.Event()
    loads = [asyncio.create_task(_load(hub, chance, received, stop, number)) for number in range(CLIENTS)]
    loads += [asyncio.create_task(_engine_load(hub, chance, received, stop)) for _ in range(ENGINE_CLIENTS)]
    born: dict[int, float] = {}
    kills: list[Kill] = []
    try:
        while len(kills) < run.kills:
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            victim = _victim(hub, chance, born)
            if victim is None:
                continue
            kills.append(await _kill(hub, chance, *victim))
            if len(kills) % 10 == 0:
                run.note(f"{len(kills)} kills, {sum(received.answers.values())} answers, last {kills[-1]}")
    finally:
        stop.set()
        await asyncio.wait(loads, timeout=30)
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
    return kills


def _victim(hub: Hub, chance: random.Random, born: dict[int, float]) -> tuple[str, int] | None:
    """A random process that has lived `LIVED_S`."""
    now = time.monotonic()
    alive = [(role, pid) for role in ROLES for pid in hub.pids(role)]
    for _, pid in alive:
        born.setdefault(pid, now)
    ready = [(role, pid) for role, pid in alive if now - born[pid] > LIVED_S]
    return chance.choice(ready) if ready else None


async def _kill(hub: Hub, chance: random.Random, role: str, pid: int) -> Kill:
    number = signal.SIGTERM if role == "gateway" and chance.random() < SIGTERM_SHARE else signal.SIGKILL
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    started = time.monotonic()
    if number == signal.SIGTERM:  # it drains first; what counts is the time without it
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            await asyncio.sleep(0.02)
        started = time.monotonic()
    await _serves(hub, role)
    return Kill(role, signal.Signals(number).name, round(time.monotonic() - started, 2))


async def _serves(hub: Hub, role: str) -> None:
    """Until the role serves again; connections to a gateway that is being restarted wait in its queue."""
    deadline = time.monotonic() + RECOVERY_S_MAX
    while time.monotonic() < deadline:
        if role == "gateway":
            probes = await asyncio.gather(*[asyncio.to_thread(_healthy, hub, "/healthz") for _ in range(8)])
            if all(probes) and len(hub.pids("gateway")) == hub.gateways:
                return
        elif role == "app":
            if await asyncio.to_thread(_healthy, hub, "/api/health"):
                return
        else:
            body = {"model": TINY, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
            if (await complete(f"{hub.url}/v1", ADMIN_KEY, body, timeout_s=10)).status == 200:
                return
        await asyncio.sleep(0.03)


def _healthy(hub: Hub, path: str) -> bool:
    try:
        return hub.request("GET", path, timeout_s=10)[0] == 200
    except OSError:
        return False


async def _load(hub: Hub, chance: random.Random, received: Ledger, stop: asyncio.Event, number: int) -> None:
    count = 0
    while not stop.is_set():
        count += 1
        tokens = chance.randint(5, 400)
        body: dict[str, Any] = {
            "model": ROUTED,
            "messages": prompt(f"{number}-{count}", tokens),
            "stream": chance.random() < 0.8,
        }
        if chance.random() < 0.5:
            body["max_tokens"] = chance.randint(10, 500)
        leave = chance.randint(1, tokens) if body["stream"] and chance.random() < 0.15 else 0
        answer = await complete(f"{hub.url}/v1", ADMIN_KEY, body, timeout_s=60, stop_after=leave)
        received.add(answer)
        if answer.status != 200:
            await asyncio.sleep(0.1)


async def _engine_load(hub: Hub, chance: random.Random, received: Ledger, stop: asyncio.Event) -> None:
    while not stop.is_set():
        body = {
            "model": TINY,
            "messages": [
                {"role": "user", "content": f"Say something about the number {chance.randint(1, 99)}."}
            ],
            "max_tokens": chance.randint(8, 80),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        received.add(await complete(f"{hub.url}/v1", ADMIN_KEY, body, timeout_s=60))
        await asyncio.sleep(0.1)


def _recover(hub: Hub, received: Ledger, upstream: Upstream) -> dict[str, Any]:
    """Everything serves, everything settled; then the books against both counts."""
    assert wait_for(lambda: hub.serves() and hub.ready(ROUTED), timeout_s=60), hub.last_words()
    wanted = {request_id for request_id, tokens in received.received.items() if tokens}

    def events() -> dict[str, dict[str, Any]]:
        return {row["request_id"]: row for row in hub.rows("ledger", "SELECT * FROM usage_event")}

    settled = wait_for(lambda: wanted <= set(events()), timeout_s=RECOVERY_S_MAX, every_s=0.5)
    held_zero = wait_for(lambda: _held(hub) == 0, timeout_s=20, every_s=0.5)
    rows = events()
    booked = {request_id: row["output_tokens"] + row["reasoning_tokens"] for request_id, row in rows.items()}
    lost = {
        request_id: tokens - booked.get(request_id, 0)
        for request_id, tokens in received.received.items()
        if tokens > booked.get(request_id, 0)
    }
    sent = sum(upstream.counts().values())
    scripted = sum(row["output_tokens"] for row in rows.values() if row["model"] == ROUTED)
    findings: dict[str, Any] = {
        "settled": settled,
        "held_zero": held_zero,
        "events": len(rows),
        "requests_with_tokens": len(wanted),
        "missing_events": len(wanted - set(rows)),
        "lost_tokens": sum(lost.values()),
        "lost_requests": dict(list(lost.items())[:20]),
        "upstream_sent": sent,
        "scripted_booked": scripted,
        "delivered": sum(received.received.values()),
        "finishes": dict(Counter(row["finish"] for row in rows.values())),
    }
    findings["reconcile"] = _reconcile(hub)
    for boot in findings["reconcile"]["items"]:
        if boot["output_residual"]:
            hub.command("ledger.post-residual", engine_boot=boot["engine_boot"])
    findings["residual_after_recovery"] = _reconcile(hub)["residual"]
    findings["verify"] = hub.command("ledger.verify")
    return findings


def _reconcile(hub: Hub) -> dict[str, Any]:
    """The hub's own reconciliation; its residual before recovery is what the engines' last counts do not explain."""
    return hub.command("ledger.reconcile")


def _held(hub: Hub) -> int:
    return int(hub.rows("ledger", "SELECT COALESCE(SUM(held), 0) AS held FROM bucket")[0]["held"])


def _judge(run: Run, kills: list[Kill], received: Ledger, found: dict[str, Any]) -> Measured:
    away = [kill.served_after_s for kill in kills]
    whole, residual = found["verify"]["whole"], found["residual_after_recovery"]
    by_role = {
        role: {"kills": len(times), "median_s": statistics.median(times), "max_s": max(times)}
        for role in ROLES
        if (times := [kill.served_after_s for kill in kills if kill.role == role])
    }
    holds = (
        found["lost_tokens"] == 0
        and received.unknown == 0
        and found["missing_events"] == 0
        and found["settled"]
        and found["held_zero"]
        and whole
        and residual == 0
        and max(away) <= SERVES_S_MAX
        and (len(kills) >= 200 or run.quick)
    )
    slow = sum(one > SERVES_S_MAX for one in away)
    return Measured(
        holds,
        f"{len(kills)} kills, {found['delivered']} tokens delivered in {found['requests_with_tokens']} answers: "
        f"{found['lost_tokens']} lost, verify {'clean' if whole else 'NOT clean'}, residual {found['reconcile']['residual']} before recovery and {residual} after, served again after "
        f"{statistics.median(away):.1f} s median, {max(away):.1f} s longest ({slow} over 3 s)",
        {
            **found,
            "roles": by_role,
            "answers": dict(received.answers),
            "kills": [kill.__dict__ for kill in kills],
        },
    )
