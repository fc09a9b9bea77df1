"""Rows of the action door: parity (1) and permission (3)."""

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from tests.acceptance.harness import Measured, Run, check
from tests.work.fuzz import fuzz
from tokenhub.bootstrap.commands import registry

ROOT = Path(__file__).resolve().parents[2]


@check(
    1,
    "parity",
    bar="every command by every face: same envelope, audit row, decision; dry run = real diff; undo restores",
)
def parity(run: Run) -> Measured:
    """A person's commands by HTTP, MCP, command line and the agent runtime, an agent's by HTTP, MCP and the runtime,
    each against the door itself; then dry run and undo of every write, on SQLite and PostgreSQL."""
    files = ["tests/work/test_parity.py", "tests/work/test_undo.py", "tests/cli/test_reference.py"]
    with tempfile.TemporaryDirectory(prefix="th-parity-") as folder:
        told = Path(folder) / "told.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={told}", *files]
        if run.quick:
            command += ["-m", "not slow"]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=3000)
        counts = _counted(told)
    good = {what: f"{passed}/{ran}" for what, (passed, ran) in counts.items()}
    words = f"{len(registry())} commands; held/run by test and database: {good}; faces: door, HTTP, MCP, CLI, agent runtime"
    whole = all(passed == ran for passed, ran in counts.values())
    return Measured(done.returncode == 0 and bool(counts) and whole, words, {"output": done.stdout[-4000:]})


def _counted(told: Path) -> dict[str, tuple[int, int]]:
    """By test and database: how many passed, how many ran."""
    counts: dict[str, tuple[int, int]] = {}
    if told.exists():
        for case in ElementTree.parse(told).iter("testcase"):
            name, _, parameters = case.get("name", "").partition("[")
            on = [one for one in ("sqlite", "postgresql") if one in parameters]
            what = " ".join([name.removeprefix("test_").replace("_", " "), *on])
            passed, ran = counts.get(what, (0, 0))
            held = not {part.tag for part in case} & {"failure", "error", "skipped"}
            counts[what] = (passed + held, ran + 1)
    return counts


@check(
    3,
    "permission",
    bar="10,000 random decisions: no disagreement with the reference model; no agent beyond its person; no foreign row",
)
def permission(run: Run) -> Measured:
    """Half of the cases in each of two worlds; then every read command by everyone, aimed at the other organisation."""
    cases = 1000 if run.quick else 5000
    found = [fuzz(cases, run.seed + number) for number in range(2)]
    verdicts = {name: sum(one.verdicts.get(name, 0) for one in found) for name in sorted(found[0].verdicts)}
    return Measured(
        all(one.holds for one in found),
        f"{sum(one.cases for one in found)} decisions {verdicts}, {sum(len(one.disagreements) for one in found)} disagreements,"
        f" {sum(one.exceeded for one in found)} beyond the person; {sum(one.reads for one in found)} reads,"
        f" {sum(len(one.leaks) for one in found)} foreign rows",
        {
            "disagreements": [line for one in found for line in one.disagreements[:20]],
            "leaks": [line for one in found for line in one.leaks[:20]],
        },
    )
