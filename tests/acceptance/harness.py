"""What an acceptance check is, and how the rows are run and printed.

    @check(3, "race", bar="0 over the cap; 0 held afterwards; at least 97 % usable")
    def race(run: Run) -> Measured: ...

A check measures and judges; it never stops the others. Each prints one row and is written to
`tests/_artifacts/accept-<area>.json` with everything it measured.
"""

import importlib
import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARTIFACTS = Path(__file__).resolve().parents[1] / "_artifacts"


@dataclass
class Measured:
    """What a check found: `holds` decides the row; `details` go to the file."""

    holds: bool
    summary: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """Options of one acceptance run."""

    kills: int = 200
    quick: bool = False
    """Fewer rounds, to try a check out; a quick row says so."""
    seed: int = 20261122

    def note(self, text: str) -> None:
        """A line of progress, so that a long check is seen to move."""
        print(f"    {time.strftime('%H:%M:%S')} {text}", flush=True)


@dataclass(frozen=True)
class Check:
    """One row of the acceptance list."""

    number: int
    name: str
    bar: str
    measure: Callable[[Run], Measured]


_CHECKS: list[Check] = []


def check(
    number: int, name: str, *, bar: str
) -> Callable[[Callable[[Run], Measured]], Callable[[Run], Measured]]:
    """Register a check under its number in the acceptance list."""

    def register(measure: Callable[[Run], Measured]) -> Callable[[Run], Measured]:
        _CHECKS.append(Check(number, name, bar, measure))
        return measure

    return register


def load(area: str) -> list[Check]:
    """Import every `<area>_*.py` beside this file; the checks in order of their numbers."""
    here = Path(__file__).parent
    for path in sorted(here.glob(f"{area}_*.py")):
        importlib.import_module(f"tests.acceptance.{path.stem}")
    return sorted(_CHECKS, key=lambda one: one.number)


def select(checks: Sequence[Check], wanted: Sequence[str]) -> list[Check]:
    """Checks by number or name; all if none is named. Raises: SystemExit for a name that is none."""
    known = {name for one in checks for name in (one.name, str(one.number))}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(
            f"no check named {', '.join(unknown)}; there are {', '.join(one.name for one in checks)}"
        )
    return [one for one in checks if not wanted or one.name in wanted or str(one.number) in wanted]


def perform(area: str, checks: Sequence[Check], run: Run) -> int:
    """Run checks one after the other; exit code 0 if every bar holds."""
    rows: list[dict[str, Any]] = []
    for one in checks:
        print(f"── {one.number} {one.name}", flush=True)
        started = time.monotonic()
        try:
            measured = one.measure(run)
        except Exception as error:  # a check that breaks is a row that falls short, not the end of the run
            traceback.print_exc()
            words = (str(error).splitlines() or [""])[0][:200]
            measured = Measured(False, f"broke: {type(error).__name__}: {words}")
        rows.append(
            {
                "number": one.number,
                "name": one.name,
                "bar": one.bar,
                "measured": measured.summary + (" (quick)" if run.quick else ""),
                "holds": measured.holds,
                "seconds": round(time.monotonic() - started, 1),
                "details": measured.details,
            }
        )
        _save(area, rows, run)
        print(row_line(rows[-1]), flush=True)
    print("\n" + "\n".join(row_line(row) for row in rows))
    return 0 if all(row["holds"] for row in rows) else 1


def row_line(row: dict[str, Any]) -> str:
    """`number name | bar | measured | holds`."""
    verdict = "holds" if row["holds"] else "FALLS SHORT"
    return f"{row['number']} {row['name']} | {row['bar']} | {row['measured']} | {verdict} ({row['seconds']:.0f} s)"


def _save(area: str, rows: list[dict[str, Any]], run: Run) -> None:
    """Rows of this run over those of earlier ones, by name, so that single rows can be repeated."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"accept-{area}.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    names = {row["name"] for row in rows}
    merged = sorted(
        [*(row for row in earlier if row["name"] not in names), *rows], key=lambda row: row["number"]
    )
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    document = {"area": area, "machine": machine, "seed": run.seed, "rows": merged}
    path.write_text(json.dumps(document, indent=1) + "\n")
