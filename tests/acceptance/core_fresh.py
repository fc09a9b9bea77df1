"""Row 1: a fresh clone in an empty folder and a bare environment, to three answered commands on exact books."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.acceptance.harness import Measured, Run, check

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("HOME", "PATH", "LANG", "TMPDIR")
"""What a bare environment has, beside proxy, certificate and registry settings of the machine."""
START_S_MAX = 1200


@check(
    1,
    "fresh",
    bar="up, three printed commands, statement = engine's count; second start's first answer within 5 s",
)
def fresh(run: Run) -> Measured:
    """Clone, `./hub up`, run what it prints, compare the statement with the answers' own usage."""
    folder = Path(tempfile.mkdtemp(prefix="th-fresh-"))
    clone = folder / "hub"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    environment = _bare()
    try:
        started = time.monotonic()
        process, banner = _up(clone, environment, folder / "up.log")
        first_s = time.monotonic() - started
        run.note(f"up after {first_s:.0f} s")
        answers = [_shell(command, clone, environment) for command in _commands(banner)]
        engine_usage = _usage_of_curl(answers[0])
        time.sleep(0.5)
        rows = _statement(clone)
        _stop(process)
        second_s = _second_start(clone, environment, folder / "up2.log", banner)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    exact = len(rows) == 3 and rows[0] == engine_usage
    answered = all(answer.returncode == 0 and answer.stdout.strip() for answer in answers)
    return Measured(
        holds=answered and exact and second_s <= 5.0,
        summary=(
            f"{sum(a.returncode == 0 for a in answers)} of 3 commands answered; statement {rows[:1]} = engine {engine_usage}; "
            f"first start {first_s:.0f} s, second start answers after {second_s:.1f} s"
        ),
        details={"answers": [a.stdout for a in answers], "errors": [a.stderr for a in answers], "rows": rows},
    )


def _bare() -> dict[str, str]:
    machine = (
        "PIP_",
        "UV_",
        "NPM_",
        "npm_",
        "SSL_",
        "REQUESTS_",
        "NODE_",
        "http",
        "HTTP",
        "no_proxy",
        "NO_PROXY",
    )
    bare = {k: v for k, v in os.environ.items() if k in KEPT or k.startswith(machine)}
    own = str(ROOT / ".venv")
    bare["PATH"] = ":".join(part for part in bare["PATH"].split(":") if not part.startswith(own))
    return {**bare, "TOKENHUB_PORT": "0"}


def _up(clone: Path, environment: dict[str, str], log: Path) -> tuple[subprocess.Popen[bytes], str]:
    with log.open("wb") as out:
        process = subprocess.Popen(["./hub", "up"], cwd=clone, env=environment, stdout=out, stderr=out)
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        text = log.read_text(errors="replace")
        if "Ctrl-C stops it." in text:
            return process, text
        time.sleep(0.1)
    raise RuntimeError(f"`./hub up` did not come up: {log.read_text(errors='replace')[-2000:]}")


def _commands(banner: str) -> list[str]:
    lines = banner.split("Try it:")[1].splitlines()
    return [
        line for line in lines if line.startswith(("curl ", "./hub chat")) or "from openai import" in line
    ]


def _shell(command: str, clone: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _usage_of_curl(answer: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    usage = json.loads(answer.stdout)["usage"]
    return usage["prompt_tokens"], usage["completion_tokens"]


def _statement(clone: Path) -> list[tuple[int, int]]:
    """(prompt, completion) of every statement line, oldest first, read from the database itself."""
    with sqlite3.connect(f"file:{clone / 'var' / 'ledger.db'}?mode=ro", uri=True) as books:
        query = (
            "SELECT input_tokens + cache_read_tokens + cache_write_tokens, output_tokens + reasoning_tokens "
            "FROM usage_event ORDER BY at_ms, request_id"
        )
        return [(int(a), int(b)) for a, b in books.execute(query)]


def _second_start(clone: Path, environment: dict[str, str], log: Path, banner: str) -> float:
    """Seconds from `./hub up` to the last byte of the first answer."""
    key = re.search(r"admin key\s+(\S+)", banner)
    model = re.search(r"^\s+model\s+(\S+)", banner, re.MULTILINE)
    assert key is not None and model is not None
    started = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(["./hub", "up"], cwd=clone, env=environment, stdout=out, stderr=out)
    body = json.dumps(
        {"model": model[1], "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    ).encode()
    try:
        while time.monotonic() - started < 120:
            try:
                url = json.loads((clone / "var/run/hub.json").read_text())["url"]
                headers = {"Authorization": f"Bearer {key[1]}", "Content-Type": "application/json"}
                request = urllib.request.Request(f"{url}/v1/chat/completions", data=body, headers=headers)
                with urllib.request.urlopen(request, timeout=30) as reply:
                    reply.read()
                return time.monotonic() - started
            except (OSError, ValueError, KeyError):
                time.sleep(0.02)
        raise RuntimeError("the second start did not answer within 120 s")
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
