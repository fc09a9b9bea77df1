"""Gateways against each other on one upstream, in one run: CPU per request and per streamed event, as ratios.

    python -m bench.gateway.run [--rounds 4] [--tests ns16,ns64,lat,s64p,s500] [--rivals FOLDER] [--accept]

The mock upstream and the load generator run on CPU 1, each gateway alone on CPU 0: while one is measured the others are
stopped (SIGSTOP), after what their last load left them to do. Rounds are interleaved (and the
order turned round every other one), so that a neighbour's load falls on all alike; the figure is the median over the
rounds of ratios of CPU time. nginx is always there; FOLDER may hold `venvs/rust/bin/{envoy,vllm-router}`,
`venvs/litellm_otel/bin/litellm` and `node/node_modules/@portkey-ai/gateway`.
Ours runs the full path (key, limits at four levels, leases, journal, SQLite); rivals do what they can do.
Results: bench/results/gateway-<date>.json.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
UPSTREAM = 9000
KEY = "sk-bench-1"


@dataclass
class Target:
    """One gateway."""

    name: str
    command: list[str]
    port: int
    model: str = "m"
    headers: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    wait_s: float = 60
    process: subprocess.Popen[bytes] | None = None
    idle_mb: float = 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found, at = [pid], 0
    while at < len(found):
        for task in Path(f"/proc/{found[at]}/task").glob("*"):
            try:
                found += map(int, (task / "children").read_text().split())
            except OSError:
                continue
        at += 1
    return found


def cpu_s(pids: list[int]) -> float:
    """CPU time so far, to the nanosecond."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                continue
    return total / 1e9


def rss_mb(pids: list[int]) -> float:
    """Resident memory."""
    total = 0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return total / 1024


class Bench:
    """Everything that runs, in one temporary folder."""

    def __init__(self, folder: Path, rivals: Path | None) -> None:
        self.folder = folder
        self.load = folder / "lg"
        for source, binary in (("mock.c", folder / "mock"), ("lg.c", self.load)):
            subprocess.run(["gcc", "-O2", "-w", "-o", str(binary), str(HERE / source)], check=True)
        self.mock = subprocess.Popen(["taskset", "-c", "1", str(folder / "mock"), str(UPSTREAM)])
        direct = Target("direct", [], UPSTREAM)
        ours = [self._ours("ours"), self._ours("ours-free", "--free")]
        self.targets = {
            target.name: target for target in [direct, self._nginx(), *ours, *_rivals(rivals, folder)]
        }

    def _nginx(self) -> Target:
        port, config = free_port(), self.folder / "nginx.conf"
        (self.folder / "logs").mkdir()
        text = (HERE / "nginx.conf.in").read_text().replace("@D@", str(self.folder))
        config.write_text(text.replace("9101", str(port)).replace(":9000", f":{UPSTREAM}"))
        return Target("nginx", ["nginx", "-c", str(config)], port)

    def _ours(self, name: str, *options: str) -> Target:
        port = free_port()
        command = [sys.executable, "-m", "bench.gateway.stand", str(port), str(UPSTREAM), *options]
        return Target(
            name,
            command,
            port,
            model="alias",
            env={"BENCH_WORK": str(self.folder), "PYTHONPATH": str(HERE.parents[1])},
        )

    def start(self, target: Target) -> None:
        if target.name == "direct":
            target.process = self.mock
            return
        log = (self.folder / f"{target.name}.log").open("wb")
        target.process = subprocess.Popen(
            ["taskset", "-c", "0", *target.command], env={**os.environ, **target.env}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + target.wait_s
        while not _answers(target):
            if time.monotonic() > until or target.process.poll() is not None:
                raise RuntimeError(
                    f"{target.name} does not answer: {(self.folder / f'{target.name}.log').read_text()[-800:]}"
                )
            time.sleep(0.3)
        target.idle_mb = rss_mb(tree(target.process.pid))

    def _runs(self, target: Target) -> bool:
        return target.process not in (None, self.mock) and target.process.poll() is None

    def rest(self, target: Target) -> None:
        """What the last load left to do is done first (5 s at most); then it runs no more until it is its turn."""
        if not self._runs(target):
            return
        pids, until = tree(target.process.pid), time.monotonic() + 5
        busy = 1.0
        while busy > 0.02 and time.monotonic() < until:
            before = cpu_s(pids)
            time.sleep(0.2)
            busy = (cpu_s(pids) - before) / 0.2
        os.killpg(target.process.pid, signal.SIGSTOP)

    def wake(self, target: Target) -> None:
        """Its turn."""
        if self._runs(target):
            os.killpg(target.process.pid, signal.SIGCONT)
            time.sleep(0.2)

    def stop(self) -> None:
        for target in self.targets.values():
            if self._runs(target):
                os.killpg(target.process.pid, signal.SIGCONT)
                os.killpg(target.process.pid, signal.SIGTERM)
                try:
                    target.process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(target.process.pid, signal.SIGKILL)
        self.mock.terminate()

    def measure(
        self, target: Target, *, connections: int, seconds: float, model: str, stream: bool, rate: int
    ) -> dict[str, Any]:
        """One run of the load generator against one target."""
        command = [
            "taskset",
            "-c",
            "1",
            str(self.load),
            "-p",
            str(target.port),
            "-c",
            str(connections),
            "-d",
            str(seconds),
        ]
        command += [
            "-m",
            f"{target.model}-{model}",
            "-k",
            KEY,
            *(["-s"] if stream else []),
            *(["-r", str(rate)] if rate else []),
        ]
        for header in target.headers:
            command += ["-H", header]
        assert target.process is not None
        pids = tree(target.process.pid)
        before = cpu_s(pids)
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        time.sleep(seconds * 0.7)
        memory = rss_mb(pids)
        said = process.communicate()[0]
        if not said:  # the load generator gave up: this target does not keep up at all
            return {"cpu_us": None, "rps": 0, "lat_p50_us": 0, "errs": -1, "rss_mb": round(memory, 1)}
        result: dict[str, Any] = json.loads(said)
        used = cpu_s(pids) - before
        units = result["events_s"] * result["secs"] if stream else result["done"]
        return {
            **result,
            "cpu_us": round(used * 1e6 / units, 2) if units else None,
            "rss_mb": round(memory, 1),
        }


def _answers(target: Target) -> bool:
    body = {"model": f"{target.model}-32-0", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    headers |= dict(header.split(": ", 1) for header in target.headers)
    url = f"http://127.0.0.1:{target.port}/v1/chat/completions"
    try:
        urllib.request.urlopen(
            urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=10
        ).read()
    except OSError:
        return False
    return True


def _rivals(folder: Path | None, work: Path) -> list[Target]:
    """Those of the folder that are installed."""
    if folder is None:
        return []
    rust, lite = folder / "venvs/rust/bin", folder / "venvs/litellm_otel/bin/litellm"
    portkey = folder / "node/node_modules/@portkey-ai/gateway/build/start-server.js"
    url, found = f"http://127.0.0.1:{UPSTREAM}", []
    if (rust / "envoy").exists():
        config = work / "envoy.yaml"
        port = free_port()
        config.write_text((HERE / "envoy.yaml").read_text().replace("9102", str(port)))
        found.append(
            Target(
                "envoy", [str(rust / "envoy"), "-c", str(config), "--concurrency", "1", "-l", "error"], port
            )
        )
    if (rust / "vllm-router").exists():
        port = free_port()
        command = [
            str(rust / "vllm-router"),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--worker-urls",
            url,
        ]
        command += ["--policy", "round_robin", "--log-level", "error", "--prometheus-port", str(free_port())]
        found.append(Target("vllm-router", command, port))
    if portkey.exists():
        port = free_port()
        headers = ["x-portkey-provider: openai", f"x-portkey-custom-host: {url}/v1"]
        env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
        found.append(
            Target(
                "portkey",
                ["node", str(portkey), f"--port={port}", "--headless"],
                port,
                headers=headers,
                env=env,
            )
        )
    if lite.exists():
        port = free_port()
        command = [
            str(lite),
            "--config",
            str(HERE / "litellm.yaml"),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--num_workers",
            "1",
        ]
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
        found.append(Target("litellm", command, port, model="alias", env=env, wait_s=120))
    return found


Test = Callable[[Bench, Target], dict[str, Any]]


def _test(connections: int, seconds: float, model: str, *, stream: bool = False, rate: int = 0) -> Test:
    def run(bench: Bench, target: Target) -> dict[str, Any]:
        return bench.measure(
            target, connections=connections, seconds=seconds, model=model, stream=stream, rate=rate
        )

    return run


TESTS: dict[str, Test] = {
    "ns16": _test(16, 2.5, "32-0"),
    "ns64": _test(64, 2.5, "32-0"),
    "lat": _test(16, 3, "32-0", rate=100),
    "s64p": _test(64, 5, "100-20", stream=True),
    "s500": _test(500, 9, "100-50", stream=True),
}
BARS: dict[str, dict[str, float]] = {
    "ns16": {"nginx": 0.45, "envoy": 1.0, "vllm-router": 1.5, "portkey": 35, "litellm": 200},
    "s500": {"nginx": 0.7, "portkey": 4, "litellm": 30},
}
"""How many times cheaper than each rival we must be at least (CPU of theirs / CPU of ours)."""


def summarise(rows: list[dict[str, Any]], bench: Bench) -> dict[str, Any]:
    """Medians, and the median over rounds of each rival's CPU divided by ours."""
    tests = sorted({row["test"] for row in rows})
    out: dict[str, Any] = {"cpu_us": {}, "times_cheaper_than": {}, "rss_mb": {}, "p50_us": {}}
    for test in tests:
        mine = {
            row["round"]: row["cpu_us"]
            for row in rows
            if row["test"] == test and row["target"] == "ours" and row["cpu_us"]
        }
        for name in bench.targets:
            some = [row for row in rows if row["test"] == test and row["target"] == name and row["cpu_us"]]
            if not some:
                continue
            out["cpu_us"].setdefault(test, {})[name] = statistics.median(row["cpu_us"] for row in some)
            out["rss_mb"].setdefault(test, {})[name] = max(row["rss_mb"] for row in some)
            out["p50_us"].setdefault(test, {})[name] = statistics.median(row["lat_p50_us"] for row in some)
            ratios = [row["cpu_us"] / mine[row["round"]] for row in some if row["round"] in mine]
            if name not in ("ours", "ours-free", "direct") and ratios:
                out["times_cheaper_than"].setdefault(test, {})[name] = round(statistics.median(ratios), 3)
    out["added_p50_us"] = _over(rows, "lat", "lat_p50_us", "direct", lambda mine, direct: mine - direct)
    shares = _over(rows, "ns16", "cpu_us", "ours-free", lambda mine, free: 1 - free / mine)
    out["share_of_books"] = shares.get("ours")
    return out


def _over(
    rows: list[dict[str, Any]], test: str, figure: str, base: str, compare: Callable[[float, float], float]
) -> dict[str, float]:
    """Medians over the rounds of `compare(target's, base's)`, by target."""
    some = [row for row in rows if row["test"] == test and row[figure]]
    bases = {row["round"]: row[figure] for row in some if row["target"] == base}
    values: dict[str, list[float]] = {}
    for row in some:
        if row["target"] != base and row["round"] in bases:
            values.setdefault(row["target"], []).append(compare(row[figure], bases[row["round"]]))
    return {name: statistics.median(found) for name, found in values.items()}


def judge(summary: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Rows of (name, bar, measured, holds)."""
    rows: list[tuple[str, str, str, bool]] = []
    for test, bars in BARS.items():
        for rival, bar in bars.items():
            value = summary["times_cheaper_than"].get(test, {}).get(rival)
            if value is not None:
                rows.append(
                    (f"gateway CPU, {test}, against {rival}", f">= {bar}x", f"{value}x", value >= bar)
                )
    both = summary["share_of_books"]
    if both is not None:
        rows.append(("CPU of metering and budgets, ns16", "<= 20 %", f"{both:.1%}", both <= 0.2))
    added = summary["added_p50_us"].get("ours")
    if added is not None:
        rows.append(("added p50 at 100 requests/s", "<= 0.4 ms", f"{added / 1000:.2f} ms", added <= 400))
    memory = summary["rss_mb"].get("s500", {}).get("ours")
    if memory is not None:
        rows.append(("500 open streams, resident", "<= 60 MB", f"{memory} MB", memory <= 60))
    return rows


def machine() -> dict[str, Any]:
    """What it ran on."""
    models = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else "",
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tests", default="ns16,ns64,lat,s64p,s500")
    parser.add_argument("--rivals", type=Path)
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    parser.add_argument("--accept", action="store_true", help="exit 1 if a bar is missed")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    folder.chmod(0o755)
    bench, rows = Bench(folder, options.rivals), []
    try:
        for target in list(bench.targets.values()):
            try:
                bench.start(target)
                bench.measure(target, connections=4, seconds=1.5, model="32-0", stream=False, rate=0)
                bench.rest(target)
            except (RuntimeError, OSError) as error:
                print(f"# without {target.name}: {error}")
                del bench.targets[target.name]
        for number in range(options.rounds):
            for test in options.tests.split(","):
                order = list(bench.targets.values())
                for target in order if number % 2 == 0 else order[::-1]:
                    bench.wake(target)
                    row = {"test": test, "round": number, "target": target.name, **TESTS[test](bench, target)}
                    bench.rest(target)
                    row |= {"load": os.getloadavg()[0], "idle_mb": round(target.idle_mb, 1)}
                    rows.append(row)
                    shown = {
                        name: row[name] for name in ("cpu_us", "rps", "lat_p50_us", "errs", "rss_mb", "load")
                    }
                    print(test, number, f"{target.name:12s}", shown, flush=True)
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
    summary, now = summarise(rows, bench), datetime.now(UTC)
    verdicts = judge(summary)
    options.results.mkdir(parents=True, exist_ok=True)
    out = options.results / f"gateway-{now:%Y-%m-%d}.json"
    out.write_text(
        json.dumps({"at": now.isoformat(), "machine": machine(), "summary": summary, "rows": rows}, indent=1)
        + "\n"
    )
    for name, bar, measured, holds in verdicts:
        print(f"{name:45s} {bar:12s} {measured:12s} {'holds' if holds else 'falls short'}")
    print(out)
    return int(options.accept and not all(verdict[3] for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
