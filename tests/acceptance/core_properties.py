"""5: the property tests of books and prices."""

import re
import subprocess
import sys
from pathlib import Path

from tests.acceptance.harness import Measured, Run, check

ROOT = Path(__file__).resolve().parents[2]


@check(
    5, "properties", bar="ledger and rating hold for any sequence hypothesis finds, on SQLite and PostgreSQL"
)
def properties(run: Run) -> Measured:
    """Every test of ledger, clearing, budgets and pricing, slow ones included."""
    folders = [
        f"tests/{name}"
        for name in ("ledger", "clearing", "budgets", "pricing")
        if (ROOT / "tests" / name).is_dir()
    ]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *folders]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    ending = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
    with_hypothesis = sum(
        len(re.findall(r"^\s*@given|RuleBasedStateMachine\)", path.read_text(), re.M))
        for folder in folders
        for path in (ROOT / folder).glob("test_*.py")
    )
    holds = done.returncode == 0 and with_hypothesis > 0
    return Measured(holds, f"{ending}; {with_hypothesis} properties", {"output": done.stdout[-4000:]})
