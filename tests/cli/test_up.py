"""`hub up` that cannot start: one sentence, and nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _up(home: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """Exit code and standard error; in a process of its own, because `up` takes over signals and the umask."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKENHUB_")}
    given = {f"TOKENHUB_{name.upper()}": value for name, value in settings.items()}
    ran = subprocess.run(
        [sys.executable, "-m", "tokenhub.cli.main", "up", *arguments],
        env={**kept, "PYTHONPATH": str(ROOT), "TOKENHUB_HOME": str(home), "TOKENHUB_PORT": "0", **given},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    return ran.returncode, ran.stderr


def test_a_home_too_deep_for_a_socket(tmp_path: Path) -> None:
    code, said = _up(tmp_path / ("long-" * 30), "--no-model")
    assert code == 1 and "too long" in said and len(said.splitlines()) == 1


def test_a_damaged_database(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_text("this is no database, " * 100)
    code, said = _up(tmp_path, "--no-model")
    assert (code, said) == (1, "hub: The database cannot be used: file is not a database.\n")


def test_a_first_start_that_fails_shows_the_key_and_keeps_the_state_private(tmp_path: Path) -> None:
    code, said = _up(tmp_path / "fresh", model="no-such-model")
    assert code == 1 and "no model 'no-such-model'" in said
    assert "The admin key of this hub is sk-th-" in said  # no later start could show it
    for path in (tmp_path / "fresh", tmp_path / "fresh" / "run", tmp_path / "fresh" / "hub.db"):
        assert path.stat().st_mode & 0o077 == 0
    code, said = _up(tmp_path / "fresh", model="no-such-model")
    assert code == 1 and "admin key" not in said


def test_a_damaged_model_file_ends_the_start_soon(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    (tmp_path / "models" / f"{sha256}.gguf").write_bytes(b"no model " * 1000)
    code, said = _up(tmp_path, model="smollm2-135m-instruct")
    assert code == 1 and "does not start" in said and "hub doctor" in said
