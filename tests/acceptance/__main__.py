"""`python -m tests.acceptance AREA [NAME …] [--kills N] [--quick] [--list]`."""

import argparse
import sys

from tests.acceptance.harness import Run, load, perform, select


def main() -> int:
    """Exit code 0 if every bar holds."""
    parser = argparse.ArgumentParser(prog="hub test --accept", description="Acceptance rows of an area.")
    parser.add_argument("area", nargs="?", default="core")
    parser.add_argument("names", nargs="*", help="numbers or names of rows; all if none")
    parser.add_argument("--kills", type=int, default=200, help="kills of the chaos row")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--list", action="store_true", help="only list the rows")
    asked = parser.parse_args()
    checks = load(asked.area)
    if asked.list:
        for one in checks:
            print(f"{one.number} {one.name} | {one.bar}")
        return 0
    return perform(
        asked.area, select(checks, asked.names), Run(kills=asked.kills, quick=asked.quick, seed=asked.seed)
    )


if __name__ == "__main__":
    sys.exit(main())
