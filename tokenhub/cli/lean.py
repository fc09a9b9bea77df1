"""How Python is started for a process that is kept small: without docstrings, 3 MB less.

Only where the bytecode for it was made at installation (`./hub` does, where the standard library has it too): making
it at each start would cost a second of CPU and more memory than it saves.
"""

import asyncio
import importlib.util
import sys
from pathlib import Path

import tokenhub

LEAN = 2
"""Python's optimisation level without docstrings."""


def python(*, lean: bool) -> list[str]:
    """The interpreter and its options."""
    return [sys.executable, "-OO"] if lean and _prepared() else [sys.executable]


def is_lean() -> bool:
    """This process has no docstrings."""
    return sys.flags.optimize >= LEAN


def _prepared() -> bool:
    found = importlib.util.find_spec("sqlalchemy")  # the largest; finding does not import it
    sources = (asyncio.__file__, tokenhub.__file__, found.origin if found is not None else None)
    return all(_bytecode(source).exists() for source in sources if source)


def _bytecode(source: str) -> Path:
    return Path(importlib.util.cache_from_source(source, optimization=LEAN))
