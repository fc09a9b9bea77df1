"""Request ids without a system call: ours, never the client's, because the books are keyed by them."""

import os

from tokenhub.kernel.ids import new_id

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)


class RequestIds:
    """`req_` + 26 characters, as `new_id` makes them: 10 of time, 9 of this process (45 random bits), 7 counted.

    No two processes share the middle and no process repeats a count within a millisecond, so ids are unique.
    """

    __slots__ = ("_at_ms", "_count", "_head", "_middle", "_prefix", "_second")

    def __init__(self) -> None:
        self._middle = new_id("x")[-9:]
        self._count = int.from_bytes(os.urandom(4), "big")
        self._at_ms = 0
        self._second = ""  # what the ids of 1,024 ms begin with
        self._head = ""
        self._prefix = ""  # all but the last two characters

    def next(self, at_ms: int) -> str:
        """A fresh id; `at_ms` is the present time."""
        if at_ms != self._at_ms:
            if at_ms >> 10 != self._at_ms >> 10 or not self._second:
                pairs = [_PAIRS[(at_ms >> shift) & 1023] for shift in (40, 30, 20, 10)]
                self._second = "req_" + "".join(pairs)
            self._at_ms = at_ms
            self._head = self._second + _PAIRS[at_ms & 1023] + self._middle
            self._prefix = ""
        count = self._count = (self._count + 1) & 0x7FFFFFFFF
        low = count & 1023
        if not (low and self._prefix):
            high = _DIGITS[count >> 30] + _PAIRS[(count >> 20) & 1023] + _PAIRS[(count >> 10) & 1023]
            self._prefix = self._head + high
        return self._prefix + _PAIRS[low]
