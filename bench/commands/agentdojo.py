"""AgentDojo through the door, and attackers who know the rules: the figures of decision 0017.

python -m bench.commands.agentdojo [--tasks N] [--out bench/results/agentdojo-DATE.json]

AgentDojo is installed once into `var/agentdojo` (8 MB). Every suite is measured with all its tasks and all attacks that
have a script; `--tasks` bounds the tasks that the knowing attackers lay siege to, which is the long part.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

from tests.dojo import adaptive, run
from tests.dojo.suites import BENCHMARK, ROOT, VERSION, install

SUITES = ("workspace", "banking", "slack", "travel")


def kept(got: dict[str, Any]) -> dict[str, Any]:
    """The figures, every question that a benign task put, and every attack that got through."""
    asked = {one["task"]: one["asked"] for one in got["benign"] if one["asked"]}
    harmed = [one for one in got["attacked"] if one["harmed"]]
    figures = {name: value for name, value in got.items() if name not in ("benign", "attacked")}
    return {**figures, "asked": asked, "harmed_pairs": harmed}


def main() -> None:
    """Measure, print, write."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tasks", type=int, default=8)
    options.add_argument(
        "--out", type=Path, default=ROOT / f"bench/results/agentdojo-{time.strftime('%Y-%m-%d')}.json"
    )
    chosen = options.parse_args()
    sys.path.insert(0, str(install()))
    found: dict[str, Any] = {"agentdojo": VERSION, "benchmark": BENCHMARK, "machine": platform.platform()}
    for name in SUITES:
        got = run.measure(name)
        print(run.line(name, got), flush=True)
        besieged = adaptive.measure(name, tasks=chosen.tasks)
        print("  knowing attackers:", adaptive.line(name, besieged), flush=True)
        found[name] = {**kept(got), "knowing_attackers": besieged}
        chosen.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
