"""2: the stock client against the running hub with the real engine."""

import subprocess
import sys
from pathlib import Path

from tests.acceptance.harness import Measured, Run, check

ROOT = Path(__file__).resolve().parents[2]


@check(2, "contract", bar="every contract test of the stock openai client passes against the running hub")
def contract(run: Run) -> Measured:
    """tests/contract, as it is."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "tests/contract"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    lines = done.stdout.strip().splitlines()
    failed = [
        line.removeprefix("FAILED tests/contract/") for line in lines if line.startswith(("FAILED", "ERROR"))
    ]
    summary = (lines[-1] if lines else done.stderr[-200:]) + (f": {'; '.join(failed[:3])}" if failed else "")
    return Measured(done.returncode == 0, summary, {"failed": failed, "output": done.stdout[-6000:]})
