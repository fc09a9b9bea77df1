"""What `./hub test` runs.

./hub test                    ruff, types, import layers, then every test that is not marked slow, on as many cores as there are
./hub test --all              the slow ones too
./hub test --accept AREA [NAME …]   acceptance rows of an area (`core`), all or by name
./hub test PYTEST-ARGUMENTS   only pytest, with these arguments, in one process
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.places import clear_memory, in_memory

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
WORKERS_MAX = 4
"""One of them has the engine and the browser (`tests/places.py`), so that more of them would wait for it."""


class Tool(NamedTuple):
    """A program of the system, the packages that bring it on Debian, and what goes without it."""

    program: str
    packages: tuple[str, ...]
    without: str


TESTED = (
    Tool("chromium", ("chromium", "fonts-noto-cjk"), "the browser tests are skipped"),
    Tool("bwrap", ("bubblewrap",), "the sandbox tests are skipped"),
)
MEASURED = (
    Tool("nginx", ("nginx-light",), "the gateway's bench has nothing to be compared with"),
    Tool("gcc", ("gcc", "libc6-dev"), "the gateway's bench has no load generator"),
)


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when every check held."""
    if arguments[:1] == ["--accept"]:
        ensure_tools((*TESTED, *MEASURED))
        return _run("acceptance", [sys.executable, "-m", "tests.acceptance", *arguments[1:]])
    clear_memory()
    everything = "--all" in arguments
    rest = [argument for argument in arguments if argument != "--all"]
    ensure_tools(TESTED)
    if rest:
        return _run("tests", [sys.executable, "-m", "pytest", *rest])
    failed = [name for name, command in _static_checks() if _run(name, command) != 0]
    marker = [] if everything else ["-m", "not slow"]
    if _run("tests", [sys.executable, "-m", "pytest", *_workers(), *marker]) != 0:
        failed.append("tests")
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
        return 1
    print("\nall checks held")
    return 0


def _static_checks() -> list[tuple[str, list[str]]]:
    places = ["tokenhub", "tests", "bench", "hatch_build.py"]
    return [
        ("lint", [str(BIN / "ruff"), "check", "-q", *places]),
        ("format", [str(BIN / "ruff"), "format", "-q", "--check", *places]),
        ("layers", [str(BIN / "lint-imports"), "--no-cache"]),
        (
            "types",
            [str(BIN / "basedpyright"), "--pythonpath", sys.executable, "--level", "error", "tokenhub"],
        ),
    ]


def _workers() -> list[str]:
    count = min(len(os.sched_getaffinity(0)), WORKERS_MAX)
    return ["-n", str(count), "--dist", "loadfile", "--no-loadscope-reorder"] if count > 1 else []


def _temporary() -> dict[str, str]:
    """Each test's own folder lies in memory where there is room: what is committed thousands of times need not reach a disk."""
    folder = in_memory()
    return {} if folder is None else {"PYTEST_DEBUG_TEMPROOT": folder}


def _run(name: str, command: Sequence[str]) -> int:
    print(f"── {name}", flush=True)
    started = time.monotonic()
    code = subprocess.call(command, cwd=ROOT, env={**os.environ, **_temporary()})
    print(
        f"── {name}: {'ok' if code == 0 else f'failed ({code})'} in {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return code


def ensure_tools(tools: Sequence[Tool]) -> None:
    """Programs of the system that tests run: installed where this may be done, else named in one sentence."""
    missing = [tool for tool in tools if not shutil.which(tool.program)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [package for tool in missing for package in tool.packages]
        print(f"Installing {', '.join(packages)} for the tests (once) …", flush=True)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
        environment = {
            **os.environ,
            "DEBIAN_FRONTEND": "noninteractive",
            "RUNLEVEL": "1",
        }  # starts no service
        subprocess.call([*apt, "update"], env=environment, **quiet)
        for tool in missing:  # one by one: what a system does not have keeps no other away
            subprocess.call([*apt, "install", "-y", *tool.packages], env=environment, **quiet)
        missing = [tool for tool in missing if not shutil.which(tool.program)]
    if missing:
        print(
            f"Missing on this machine: {'; '.join(f'{tool.program}, so {tool.without}' for tool in missing)}."
            f" On Debian: apt-get install {' '.join(package for tool in missing for package in tool.packages)}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
