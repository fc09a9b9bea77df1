"""What `./hub test` runs.

./hub test                    ruff, types, import layers, then every test that is not marked slow
./hub test --all              the slow ones too
./hub test --accept AREA [NAME …]   acceptance rows of an area (`core`), all or by name
./hub test PYTEST-ARGUMENTS   only pytest, with these arguments
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when every check held."""
    if arguments[:1] == ["--accept"]:
        _ensure_browser()
        return _run("acceptance", [sys.executable, "-m", "tests.acceptance", *arguments[1:]])
    everything = "--all" in arguments
    rest = [argument for argument in arguments if argument != "--all"]
    _ensure_browser()
    if rest:
        return _run("tests", [sys.executable, "-m", "pytest", *rest])
    failed = [name for name, command in _static_checks() if _run(name, command) != 0]
    marker = [] if everything else ["-m", "not slow"]
    if _run("tests", [sys.executable, "-m", "pytest", *marker]) != 0:
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
        ("types", [str(BIN / "basedpyright"), "--level", "error", "tokenhub"]),
    ]


def _run(name: str, command: Sequence[str]) -> int:
    print(f"── {name}", flush=True)
    started = time.monotonic()
    code = subprocess.call(command, cwd=ROOT)
    print(
        f"── {name}: {'ok' if code == 0 else f'failed ({code})'} in {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return code


def _ensure_browser() -> None:
    """Chromium for the browser tests: installed where this may be done, else named in one sentence."""
    if shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Chromium for the browser tests (once) …", flush=True)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.call(["apt-get", "update", "-qq"], **quiet)
        subprocess.call(["apt-get", "install", "-y", "-qq", "chromium", "fonts-noto-cjk"], **quiet)
    if not shutil.which("chromium"):
        print(
            "Chromium is missing, so the browser tests are skipped; on Debian: apt-get install chromium fonts-noto-cjk"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
