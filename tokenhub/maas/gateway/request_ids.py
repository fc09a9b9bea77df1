"""Request ids without a system call: ours, never the client's, because the books are keyed by them."""

import os

from tokenhub.kernel.ids import new_id
from tokenhub.maas.gateway import leaves

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
_TIME = (40, 30, 20, 10, 0)
_COUNT = (20, 10, 0)


def make_identifier(at_ms: int, middle: str, count: int) -> str:
    """`req_`, 10 digits of time, the middle, 7 digits of the count (below 2^35)."""
    time = "".join([_PAIRS[(at_ms >> shift) & 1023] for shift in _TIME])
    return f"req_{time}{middle}{_DIGITS[count >> 30]}" + "".join(
        [_PAIRS[(count >> shift) & 1023] for shift in _COUNT]
    )


class RequestIds:
    """`req_` + 26 characters, as `new_id` makes them: 10 of time, 9 of this process (45 random bits), 7 counted.

    No two processes share the middle and no process repeats a count within a millisecond, so ids are unique.
    """

    __slots__ = ("_count", "_middle")

    def __init__(self) -> None:
        self._middle = new_id("x")[-9:]
        self._count = int.from_bytes(os.urandom(4), "big")

    def next(self, at_ms: int) -> str:
        """A fresh id; `at_ms` is the present time."""
        count = self._count = (self._count + 1) & 0x7FFFFFFFF
        return leaves.identifier(at_ms, self._middle, count) or make_identifier(at_ms, self._middle, count)
