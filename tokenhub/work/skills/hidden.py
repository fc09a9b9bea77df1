"""Characters that a reader does not see but a model reads."""

import unicodedata
from typing import Final

_JOINERS: Final = {0x200C, 0x200D}
"""Some scripts and many emoji cannot be written without them."""
_SELECTORS_MORE: Final = range(0xE0100, 0xE01F0)
_FILLERS: Final = {0x115F, 0x1160, 0x3164, 0xFFA0, 0x180E, 0x2800, 0x034F}


def is_hidden(character: str) -> bool:
    """True for controls, bidirectional overrides, tags, fillers and whatever else has no shape of its own."""
    code = ord(character)
    if character in "\t\n\r" or code in _JOINERS:
        return False
    if code < 0x7F:
        return code < 0x20
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Co", "Cs") or code in _SELECTORS_MORE or code in _FILLERS


def first_hidden(text: str) -> tuple[int, str] | None:
    """Line and name (`U+202E`) of the first one, or None."""
    for number, line in enumerate(text.split("\n"), 1):
        for character in line:
            if is_hidden(character):
                return number, f"U+{ord(character):04X}"
    return None


def count_hidden(text: str) -> int:
    """How many there are."""
    return sum(1 for character in text if is_hidden(character))
