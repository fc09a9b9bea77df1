"""A hub of one's own: started in a temporary home by `hub up`, spoken to over HTTP, its processes found in /proc."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ADMIN_KEY = "sk-th-acceptance-0123456789abcdefghijklmnopqrstuvwx"
TINY = "smollm2-135m-instruct"


class HubFailed(RuntimeError):
    """The hub did not start, or a command of it failed."""


@dataclass
class Hub:
    """A running hub. `with Hub(...) as hub:` starts it and stops it."""

    model: str = "none"
    gateways: int = 1
    database_url: str = ""
    options: dict[str, str] = field(default_factory=dict)
    """More settings, as environment variables."""
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="th-accept-")))
    keep_home: bool = False
    start_timeout_s: float = 240.0
    url: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    def __enter__(self) -> "Hub":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if not self.keep_home:
            shutil.rmtree(self.home, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """What the hub's processes see: nothing of the caller's own settings."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TOKENHUB_")}
        return {
            **clean,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "TOKENHUB_HOME": str(self.home),
            "TOKENHUB_PORT": "0",
            "TOKENHUB_ADMIN_KEY": ADMIN_KEY,
            "TOKENHUB_MODEL": self.model,
            "TOKENHUB_GATEWAYS": str(self.gateways),
            "TOKENHUB_DATABASE_URL": self.database_url,
            **self.options,
        }

    def start(self) -> None:
        """Start and wait until it answers; raises HubFailed with the last words of its log."""
        seed_models(self.home / "models")
        (self.home / "run" / "hub.json").unlink(missing_ok=True)
        self.home.mkdir(parents=True, exist_ok=True)
        log = (self.home / "up.log").open("ab")
        command = [sys.executable, "-m", "tokenhub.cli.main", "up"]
        if self.model == "none":
            command.append("--no-model")
        self.process = subprocess.Popen(
            command,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.home,
            start_new_session=True,
        )
        log.close()
        deadline = time.monotonic() + self.start_timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise HubFailed(f"hub up ended with {self.process.returncode}: {self.last_words()}")
            with contextlib.suppress(OSError, ValueError, KeyError):
                self.url = json.loads((self.home / "run" / "hub.json").read_text())["url"]
                if self.serves():
                    return
            time.sleep(0.1)
        words = self.last_words()
        self.stop()
        raise HubFailed(f"hub up was not ready after {self.start_timeout_s:.0f} s: {words}")

    def serves(self) -> bool:
        """True when gateway and app answer, and the model (if any) is served."""
        if not (self.ok("/healthz") and self.ok("/api/health")):
            return False
        return self.model == "none" or self.ready(self.model)

    def ready(self, model: str) -> bool:
        """True when a healthy deployment serves this model."""
        try:
            status, body = self.request("GET", "/healthz", timeout_s=2.0)
        except OSError:
            return False
        return status == 200 and body["models"].get(model, False)

    def models(self) -> list[str]:
        """Names that /v1/models lists."""
        status, body = self.request("GET", "/v1/models")
        return [entry["id"] for entry in body["data"]] if status == 200 else []

    def stop(self, *, timeout_s: float = 60.0) -> None:
        """SIGTERM, then wait; whatever is left after `timeout_s` is killed."""
        if self.process is None:
            return
        mine = [self.process.pid, *descendants(self.process.pid)]
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):
                if belongs_to(pid, self.home):
                    os.kill(pid, signal.SIGKILL)
        self.process = None

    def last_words(self) -> str:
        """Ends of all its logs."""
        logs = [self.home / "up.log", *sorted((self.home / "log").glob("*.log"))]
        return "\n".join(f"--- {log.name}\n{tail(log)}" for log in logs if log.exists())

    def request(
        self, method: str, path: str, body: object = None, *, key: str = ADMIN_KEY, timeout_s: float = 60.0
    ) -> tuple[int, Any]:
        """One JSON request: (status, decoded body)."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        asked = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=timeout_s) as answer:
                return answer.status, _decode(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decode(error.read())

    def ok(self, path: str) -> bool:
        """True if a GET answers 200 within two seconds."""
        try:
            return self.request("GET", path, timeout_s=2.0)[0] == 200
        except OSError:
            return False

    def command(self, verb: str, /, **arguments: object) -> dict[str, Any]:
        """Run one command through the HTTP door; raises HubFailed unless it succeeded or is under way."""
        status, envelope = self.request("POST", f"/api/commands/{verb}", arguments)
        if not isinstance(envelope, dict) or envelope.get("status") not in {"success", "pending"}:
            raise HubFailed(f"{verb} answered {status}: {json.dumps(envelope)[:500]}")
        return envelope["data"]

    def price(self, sku: str, **rates: str) -> None:
        """Set a price and wait until it is in force: a version is announced a second before its start."""
        version = self.command("price.set", sku=sku, **rates)
        starts = datetime.fromisoformat(version["effective_from"])
        assert wait_for(lambda: datetime.now(UTC) > starts, timeout_s=10)

    def rows(self, database: str, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """A read of the hub's own database (`hub` or `ledger`), whichever engine it is on; `?` marks parameters."""
        if not self.database_url:
            with contextlib.closing(
                sqlite3.connect(f"file:{self.home / database}.db?mode=ro", uri=True, timeout=20)
            ) as db:
                db.row_factory = sqlite3.Row
                return [dict(row) for row in db.execute(sql, tuple(parameters))]
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(
            self.database_url, options=f"-csearch_path={database}", row_factory=dict_row
        ) as db:
            return db.execute(sql.replace("?", "%s"), tuple(parameters)).fetchall()  # type: ignore[arg-type]

    def event(self, request_id: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """The usage event of a request, as soon as it is settled."""
        found: list[dict[str, Any]] = []

        def settled() -> bool:
            found[:] = self.rows("ledger", "SELECT * FROM usage_event WHERE request_id = ?", [request_id])
            return bool(found)

        if not wait_for(settled, timeout_s=timeout_s):
            raise HubFailed(f"no usage event for {request_id} after {timeout_s} s")
        return found[0]

    def engine(self, model: str) -> dict[str, Any]:
        """The deployment row of an own engine: `base_url`, `api_key`, `engine_pid`, …"""
        rows = self.rows("hub", "SELECT * FROM deployments WHERE model = ? AND entry <> ''", [model])
        return rows[0]

    def pids(self, role: str) -> list[int]:
        """Processes of a role: `gateway`, `app`, `worker` or `engine` (children of the worker)."""
        assert self.process is not None
        children = descendants(self.process.pid)
        if role == "engine":
            workers = {pid for pid in children if role_of(pid) == "worker"}
            return [pid for pid in children if parent_of(pid) in workers]
        return [pid for pid in children if role_of(pid) == role]


def seed_models(folder: Path) -> None:
    """Put cached model files into a fresh home, so that a run downloads nothing that is here already."""
    cache = Path(os.environ.get("TOKENHUB_TEST_MODELS", str(ROOT / "var" / "models")))
    folder.mkdir(parents=True, exist_ok=True)
    for source in cache.glob("*.gguf") if cache.is_dir() else []:
        target = folder / source.name
        if not target.exists():
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)


def keep_models(folder: Path) -> None:
    """Put what a run downloaded into the cache."""
    cache = Path(os.environ.get("TOKENHUB_TEST_MODELS", str(ROOT / "var" / "models")))
    cache.mkdir(parents=True, exist_ok=True)
    for source in folder.glob("*.gguf"):
        if not (cache / source.name).exists():
            shutil.copyfile(source, cache / source.name)


def wait_for(condition: Callable[[], bool], *, timeout_s: float, every_s: float = 0.05) -> bool:
    """Poll until true; False if it never was."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, parents before children."""
    found: list[int] = []
    queue = [pid]
    while queue:
        for child in _children(queue.pop(0)):
            found.append(child)
            queue.append(child)
    return found


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from (int(word) for word in task.read_text().split())


def role_of(pid: int) -> str:
    """`gateway`, `app`, `worker` for `… serve ROLE …`; "" for anything else."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    return words[words.index("serve") + 1] if "serve" in words[:-1] else ""


def parent_of(pid: int) -> int:
    """Process id of the parent, 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0


def belongs_to(pid: int, home: Path) -> bool:
    """True if this process was started with that home."""
    try:
        return f"TOKENHUB_HOME={home}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def resident_kib(pid: int) -> int:
    """Resident memory in KiB, 0 if the process is gone."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
    return 0


def tail(path: Path, size: int = 1500) -> str:
    """The last bytes of a text file."""
    with path.open("rb") as handle:
        handle.seek(0, os.SEEK_END)
        handle.seek(max(0, handle.tell() - size))
        return handle.read().decode(errors="replace")


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
