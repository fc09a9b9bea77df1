"""4: processes killed at random while requests run; afterwards nothing that was delivered is missing from the books.

Every process is a victim as soon as it has served for a second; one kill in ten is a SIGTERM.
"""

import asyncio
import contextlib
import os
import random
import signal
import statistics
import time
import urllib.request
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
CANCELS = 10
STOPPED_MS_MAX = 500
UNREAD_TOKENS_MAX = 30
"""Tokens on their way to a client that has closed its connection: delivered, and not read."""
ROLES = ("gateway", "app", "worker", "engine")
SIGTERM_SHARE = 0.1
SETTLED_S = 1.0
"""A victim has been seen alive and serving this long; a kill may hit a process that has only just come back."""
GATEWAY_PROBES = 8
"""Fresh connections at once: the system spreads them over the gateways' sockets, so some meet the killed one's."""


@dataclass
class Kill:
    """One kill and how long its service was away."""

    role: str
    signal: str
    served_after_s: float
    load: float
    """Load average of the last minute, at the kill."""
    refused: dict[str, int]
    """Answers that fresh requests got before they were served, by status (0: no answer)."""


@dataclass
class Cancel:
    """A client of the engine that went away in mid-answer."""

    received: int
    booked: int
    engine_stopped_ms: int


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
    bar="200 random kill -9 of gateway, app, engine: 0 delivered tokens lost, verify clean, residual 0, serves again in 3 s; "
    "cancelled streams settle at what was delivered, the engine stops in 500 ms",
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
        cancels = asyncio.run(_cancel(hub, chance))
        findings |= {"cancels": [one.__dict__ for one in cancels], "verify": hub.command("ledger.verify")}
    return _judge(run, kills, cancels, received, findings)


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
    """A random process that has lived `SETTLED_S`. Everything serves when this is called."""
    now = time.monotonic()
    alive = [(role, pid) for role in ROLES for pid in hub.pids(role)]
    for _, pid in alive:
        born.setdefault(pid, now)
    ready = [(role, pid) for role, pid in alive if now - born[pid] > SETTLED_S]
    return chance.choice(ready) if ready else None


async def _kill(hub: Hub, chance: random.Random, role: str, pid: int) -> Kill:
    """Kill, then ask until a fresh request of the role's kind is answered; the clock starts at the signal."""
    number = signal.SIGTERM if chance.random() < SIGTERM_SHARE else signal.SIGKILL
    load, refused = os.getloadavg()[0], Counter[str]()
    started = time.monotonic()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    while number == signal.SIGKILL and _running(pid):
        await asyncio.sleep(0.001)
    while not await _serves(hub, role, refused) and time.monotonic() - started < RECOVERY_S_MAX:
        await asyncio.sleep(0.05)
    served_after_s = round(time.monotonic() - started, 2)
    while pid in hub.pids(role) or (role == "gateway" and len(hub.pids(role)) < hub.gateways):
        await asyncio.sleep(0.05)  # it drains
    return Kill(role, signal.Signals(number).name, served_after_s, load, dict(refused))


def _running(pid: int) -> bool:
    """False once the process is gone or waits to be reaped."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


async def _serves(hub: Hub, role: str, refused: Counter[str]) -> bool:
    """Fresh requests of the role's kind, each on a connection of its own: True if all are answered."""
    if role == "app":
        status = await asyncio.to_thread(_app_status, hub)
        statuses = [status]
    elif role == "gateway":
        body = {"model": ROUTED, "messages": prompt("probe", 1), "max_tokens": 1}
        probes = [complete(f"{hub.url}/v1", ADMIN_KEY, body, timeout_s=30) for _ in range(GATEWAY_PROBES)]
        statuses = [answer.status for answer in await asyncio.gather(*probes)]
    else:
        body = {"model": TINY, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        statuses = [(await complete(f"{hub.url}/v1", ADMIN_KEY, body, timeout_s=30)).status]
    refused.update(str(status) for status in statuses if status != 200)
    return all(status == 200 for status in statuses)


def _app_status(hub: Hub) -> int:
    """A command through the hub: authenticated, from the database, audited."""
    try:
        return hub.request("POST", "/api/commands/model.list", {}, timeout_s=30)[0]
    except OSError:
        return 0


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
    reconciled = _reconcile(hub)
    scripted = sum(row["output_tokens"] for row in rows.values() if row["model"] == ROUTED)
    findings: dict[str, Any] = {
        "settled": settled,
        "unconfirmed": sum(boot["unconfirmed"] for boot in reconciled["items"]),
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
    findings["reconcile"] = reconciled
    for boot in findings["reconcile"]["items"]:
        if boot["output_residual"]:
            hub.command("ledger.post-residual", engine_boot=boot["engine_boot"])
    findings["residual_after_recovery"] = _reconcile(hub)["residual"]
    return findings


async def _cancel(hub: Hub, chance: random.Random) -> list[Cancel]:
    """Streams of the engine that are left early: until the engine stands still, and what the books say."""
    found: list[Cancel] = []
    body = {"model": TINY, "messages": [{"role": "user", "content": "Tell a long story."}], "stream": True}
    for _ in range(CANCELS):
        more = {"max_tokens": 600, "ignore_eos": True}
        answer = await complete(f"{hub.url}/v1", ADMIN_KEY, body | more, stop_after=chance.randint(5, 60))
        left = time.monotonic()
        while await asyncio.to_thread(_engine_works, hub) and time.monotonic() - left < 10:
            await asyncio.sleep(0.01)
        stopped_ms = round((time.monotonic() - left) * 1000)
        event = await asyncio.to_thread(hub.event, answer.request_id)
        found.append(Cancel(answer.tokens, event["output_tokens"], stopped_ms))
    return found


def _engine_works(hub: Hub) -> bool:
    """By the engine's own account."""
    engine = hub.engine(TINY)
    asked = urllib.request.Request(
        engine["base_url"].removesuffix("/v1") + "/metrics",
        headers={"Authorization": f"Bearer {engine['api_key']}"},
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return b"\nllamacpp:requests_processing 0\n" not in answer.read()


def _reconcile(hub: Hub) -> dict[str, Any]:
    """The hub's own reconciliation; its residual before recovery is what the engines' last counts do not explain."""
    return hub.command("ledger.reconcile")


def _held(hub: Hub) -> int:
    return int(hub.rows("ledger", "SELECT COALESCE(SUM(held), 0) AS held FROM bucket")[0]["held"])


def _judge(
    run: Run, kills: list[Kill], cancels: list[Cancel], received: Ledger, found: dict[str, Any]
) -> Measured:
    away = [kill.served_after_s for kill in kills]
    whole, residual = found["verify"]["whole"], found["residual_after_recovery"]
    by_role = {
        role: _distribution(times)
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
        and all(one.engine_stopped_ms <= STOPPED_MS_MAX for one in cancels)
        and all(0 <= one.booked - one.received <= UNREAD_TOKENS_MAX for one in cancels)
        and (len(kills) >= 200 or run.quick)
    )
    slow = sum(one > SERVES_S_MAX for one in away)
    return Measured(
        holds,
        f"{len(kills)} kills, {found['delivered']} tokens delivered in {found['requests_with_tokens']} answers: "
        f"{found['lost_tokens']} lost, verify {'clean' if whole else 'NOT clean'}, residual {found['reconcile']['residual']} before recovery and {residual} after ({found['unconfirmed']} tokens that engines did not live to confirm), served again after "
        f"{statistics.median(away):.1f} s median, {max(away):.1f} s longest ({slow} over 3 s, load {statistics.median(kill.load for kill in kills):.1f}); {len(cancels)} cancelled streams: "
        f"engine stopped within {max(one.engine_stopped_ms for one in cancels)} ms, "
        f"booked at most {max(one.booked - one.received for one in cancels)} tokens beyond those read",
        {
            **found,
            "roles": by_role,
            "answers": dict(received.answers),
            "kills": [kill.__dict__ for kill in kills],
        },
    )


def _distribution(times: list[float]) -> dict[str, float]:
    """How long a role was away, in seconds."""
    ordered = sorted(times)
    at = {
        f"p{share}_s": ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 90, 99)
    }
    return {"kills": len(ordered), **at, "max_s": ordered[-1]}
