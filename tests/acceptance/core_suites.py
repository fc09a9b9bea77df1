"""Rows that are suites or benchmarks of their own: gateway bench (6), abuse (8), browser (9)."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.acceptance.harness import ARTIFACTS, Measured, Run, check

ROOT = Path(__file__).resolve().parents[2]


RIVALS = ("nginx", "envoy", "vllm-router", "portkey", "litellm")


@check(
    6,
    "bench",
    bar="CPU >= 0.45x nginx, 1.0x Envoy, 1.5x vllm-router, 35x Portkey, 200x LiteLLM; streams 0.7x, 4x, 30x; <= 60 MB",
)
def bench(run: Run) -> Measured:
    """Our gateway and its rivals on one upstream, in turns. `BENCH_RIVALS` is the folder where they are installed."""
    folder = os.environ.get("BENCH_RIVALS", "")
    command = [sys.executable, "-m", "bench.gateway.run", "--accept", "--rounds", "1" if run.quick else "4"]
    done = subprocess.run(
        [*command, *(["--rivals", folder] if folder else [])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = [line for line in done.stdout.splitlines() if line.endswith(("holds", "falls short"))]
    missing = [name for name in RIVALS if not any(f"against {name}" in line for line in verdicts)]
    short = [" ".join(line.split()[:-2]) for line in verdicts if line.endswith("falls short")]
    words = f"{len(verdicts) - len(short)} of {len(verdicts)} figures hold"
    words += f"; short: {'; '.join(short)}" if short else ""
    words += f"; not compared with {', '.join(missing)}" if missing else ""
    return Measured(
        done.returncode == 0 and bool(verdicts) and not missing,
        words if verdicts else _last(done),
        {"verdicts": verdicts, "stderr": done.stderr[-3000:]},
    )


@check(8, "abuse", bar="abuse suite passes; protocol fuzz of 10 minutes: 0 crashes, 0 leaks")
def abuse(run: Run) -> Measured:
    """The abuse tests, then the fuzzer over the protocol code."""
    seconds = 20 if run.quick else 600
    tests = _pytest("tests/gateway/test_abuse.py", "tests/gateway/test_limits.py")
    started = time.monotonic()
    fuzz = subprocess.run(
        [sys.executable, "-m", "tests.gateway.fuzz_protocol", str(seconds), str(run.seed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return Measured(
        holds=tests.returncode == 0 and fuzz.returncode == 0,
        summary=f"{_last(tests)}; fuzz {time.monotonic() - started:.0f} s: {_last(fuzz)}",
        details={"tests": tests.stdout[-4000:], "fuzz": fuzz.stdout[-4000:] + fuzz.stderr[-4000:]},
    )


@check(9, "browser", bar="browser suite passes on the whole hub in Chromium")
def browser(run: Run) -> Measured:
    """Every browser test, the slow ones too."""
    tests = _pytest("tests/browser", "--durations=8")
    return Measured(tests.returncode == 0, _last(tests), {"output": tests.stdout[-6000:]})


def _pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    ARTIFACTS.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()
    said = [line for line in lines if " passed" in line or " failed" in line]
    return (said or lines)[-1]
