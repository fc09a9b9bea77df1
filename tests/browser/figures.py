"""Figures that browser tests measure, kept in `tests/_artifacts/browser.json` for whoever reports them."""

import json
from pathlib import Path

PATH = Path(__file__).parents[1] / "_artifacts" / "browser.json"


def record(name: str, value: float | str) -> None:
    """Keep one figure under its name; a later run overwrites it."""
    PATH.parent.mkdir(exist_ok=True)
    known = json.loads(PATH.read_text()) if PATH.exists() else {}
    known[name] = value
    PATH.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
