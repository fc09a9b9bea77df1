"""Measure a suite: every task without an attacker, then every task under every attack that has a script.

python -m tests.dojo.run SUITE... [--sample N] [--json PATH]
"""

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.dojo.agent import Outcome, attacked, benign
from tests.dojo.suites import install, suite
from tests.dojo.world import World


def measure(name: str, *, sample: int = 0, tasks: int = 0, seed: int = 20261123) -> dict[str, Any]:
    """One suite. `sample` = so many attacked pairs, drawn at random, `tasks` = so many benign ones; 0 = all."""
    loaded = suite(name)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        world = World(Path(home), loaded)
        drawn = list(loaded.user_tasks.values())
        if tasks:
            drawn = random.Random(seed).sample(drawn, tasks)
        calm = [benign(world, task) for task in drawn]
        pairs = [
            (task, attack)
            for task in loaded.user_tasks.values()
            for attack in loaded.injection_tasks.values()
            if _scripted(loaded, attack)
        ]
        if sample and sample < len(pairs):
            pairs = random.Random(seed).sample(pairs, sample)
        hostile = [attacked(world, task, attack) for task, attack in pairs]
        declared = {
            command.name: [command.effect, {sink: command.kind_of(sink) for sink in command.sinks}]
            for command in world.registry
            if command.name.startswith(f"{name}.")
        }
        world.close()
    return {
        **figures(calm, hostile),
        "seconds": round(time.monotonic() - started, 1),
        "tools": declared,
        "benign": [asdict(one) for one in calm],
        "attacked": [asdict(one) for one in hostile],
    }


def figures(calm: list[Outcome], hostile: list[Outcome]) -> dict[str, Any]:
    """The counts that the bar speaks of."""
    return {
        "tasks": len(calm),
        "useful": sum(one.useful for one in calm),
        "sittings": sum(one.sittings for one in calm),
        "questions": sum(one.questions for one in calm),
        "pairs": len(hostile),
        "fired": sum(one.fired for one in hostile),
        "harmed": sum(one.harmed for one in hostile),
        "useful_attacked": sum(one.useful for one in hostile),
        "sittings_attacked": sum(one.sittings for one in hostile),
        "questions_attacked": sum(one.questions for one in hostile),
    }


def _scripted(loaded: Any, attack: Any) -> bool:
    environment = loaded.load_and_inject_default_environment({})
    return bool(attack.ground_truth(environment))


def line(name: str, got: dict[str, Any]) -> str:
    """A suite's figures in a line."""
    tasks, pairs = max(1, got["tasks"]), max(1, got["pairs"])
    return (
        f"{name}: benign {got['useful']}/{got['tasks']} done, {got['sittings'] / tasks:.3f} asks a task"
        f" ({got['questions'] / tasks:.3f} calls asked about); {got['pairs']} attacked pairs, {got['fired']} read the"
        f" injection, attack success {got['harmed']} ({got['harmed'] / pairs:.1%}), task done {got['useful_attacked']}"
        f" ({got['useful_attacked'] / pairs:.1%}), {got['sittings_attacked'] / pairs:.2f} asks a run; {got['seconds']} s"
    )


def main() -> int:
    """Print a line a suite; with `--json`, everything to a file."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("suites", nargs="+")
    options.add_argument("--sample", type=int, default=0)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    sys.path.insert(0, str(install()))
    found: dict[str, Any] = {}
    for name in chosen.suites:
        found[name] = measure(name, sample=chosen.sample)
        print(line(name, found[name]), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
