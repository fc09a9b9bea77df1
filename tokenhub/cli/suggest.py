"""The sentence for a word that is no command."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(word: str, known: Iterable[str], where: str, *, what: str = "command") -> str:
    """Names the nearest words, or where to look."""
    names = list(known)
    near = get_close_matches(word.lower(), names, n=2, cutoff=0.6)
    starts = [name for name in names if name.startswith(word.lower())]
    found = list(dict.fromkeys([*starts, *near]))[:2]
    if found:
        options = " or ".join(f"`{where} {name}`" for name in found)
        return f"No {what} {word!r}. Did you mean {options}?"
    return f"No {what} {word!r}. See `{where} --help`."
