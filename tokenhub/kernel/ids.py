"""Prefixed, time-ordered identifiers.

An id is `<prefix>_<26 Crockford base-32 characters>`: 48 bits of milliseconds, then 80 random bits
(the ULID layout), so ids sort by creation and new rows land at the end of an index.
"""

import os
import time
from typing import NewType

OrgId = NewType("OrgId", str)
TeamId = NewType("TeamId", str)
ProjectId = NewType("ProjectId", str)
UserId = NewType("UserId", str)
KeyId = NewType("KeyId", str)
RequestId = NewType("RequestId", str)
LimitId = NewType("LimitId", str)
TransferId = NewType("TransferId", str)
OwnerId = NewType("OwnerId", str)
"""One boot of one process that may hold leases (a gateway)."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def new_id(prefix: str) -> str:
    """A fresh id such as `hold_01JD…` (prefix, underscore, 26 characters)."""
    value = (int(time.time() * 1000) << 80) | int.from_bytes(os.urandom(10), "big")
    pairs = _PAIRS
    return f"{prefix}_" + "".join([pairs[(value >> shift) & 1023] for shift in range(120, -1, -10)])
