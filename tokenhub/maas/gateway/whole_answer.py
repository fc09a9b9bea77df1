"""Is this head that of an answer which is there whole, with nothing to look at?"""

import re

_UNPLAIN = re.compile(rb"\r\n(?:transfer-encoding|content-encoding|connection: ?close|connection:.*close)")


def is_whole(raw: bytes, size: int) -> bool:
    """A plain 200 with JSON of `size` bytes on a connection that stays: nothing in this head needs a closer look."""
    if not raw.startswith(b"HTTP/1.1 200 "):
        return False
    low = raw.lower()
    return (
        b"\r\ncontent-length: %d\r\n" % size in low + b"\r\n"
        and b"\r\ncontent-type: application/json" in low
        and low.count(b"\r\ncontent-length") == 1
        and not _UNPLAIN.search(low)
    )
