"""Chunked framing of whole blocks: is this block whole events in whole chunks, and what is inside."""

import re

_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")
LAST = 2


def aligned(data: bytes) -> int:
    """1: `data` is whole chunks, each ending with an event; `LAST`: and the final chunk, nothing after; else 0."""
    at, size = 0, len(data)
    match = _SIZE_LINE.match
    while at < size:
        line = match(data, at)
        if line is None:
            return 0
        start = line.end()
        length = int(line.group(1), 16)
        if length == 0:
            return LAST if data[start:] == b"\r\n" else 0
        at = start + length + 2
        if data[at - 4 : at] != b"\n\n\r\n":
            return 0
    return 1 if at == size else 0


def unframed(data: bytes) -> bytes:
    """The payload of aligned chunks (`aligned` has checked them)."""
    parts: list[bytes] = []
    at = 0
    while True:
        line = _SIZE_LINE.match(data, at)
        if line is None:
            break
        length = int(line.group(1), 16)
        parts.append(data[line.end() : line.end() + length])
        at = line.end() + length + 2
        if length == 0:
            break
    return b"".join(parts)


def _start_of(size: int) -> bytes:
    """How a block of `size` bytes begins that is one whole chunk."""
    for digits in range(1, 9):
        start = b"%x\r\n" % max(size - digits - 4, 0)
        if len(start) == digits + 2:
            return start
    return b"-"  # no chunk has this size


_STARTS_SIZES = 2048
_STARTS = tuple(map(_start_of, range(_STARTS_SIZES)))


def plain_events(data: bytes) -> int:
    """How many events a block has that is whole chunks of them with nothing to look at; 0: it is something else."""
    size = len(data)
    if (
        not data.endswith(b"}\n\n\r\n")
        or b'"usage":{' in data
        or b'"usage": {' in data
        or b'"finish_reason":"' in data
    ):
        return 0
    one = data.startswith(_STARTS[size] if size < _STARTS_SIZES else _start_of(size))
    return data.count(b"\n\n") if one or aligned(data) == 1 else 0
