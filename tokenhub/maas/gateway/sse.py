"""Server-sent events: bytes to event payloads, JSON objects to bytes."""

from collections.abc import Iterator
from typing import Any

import msgspec

EVENT_BYTES_MAX = 16 * 2**20
DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class EventTooLarge(Exception):
    """An event exceeds `EVENT_BYTES_MAX`."""


class EventSplitter:
    """Feeds on bytes, yields the `data` of each complete event. Comments and other fields are dropped."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Payloads in order. Raises: EventTooLarge."""
        data = self._rest + data if self._rest else data
        if b"\r" in data:
            keep = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n")
            if not keep:
                data = data.replace(b"\r", b"\n")
        *events, self._rest = data.split(b"\n\n")
        if len(self._rest) > EVENT_BYTES_MAX:
            raise EventTooLarge
        for event in events:
            payload = payload_of(event)
            if payload:
                yield payload

    def last(self) -> bytes:
        """The payload of an event that the stream ended without closing; empty if there is none."""
        rest, self._rest = self._rest, b""
        return payload_of(rest)


def payload_of(event: bytes) -> bytes:
    """The joined `data` lines of one event."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


def event_bytes(event: dict[str, Any]) -> bytes:
    """One JSON object as an event."""
    return b"data: " + _encode(event) + b"\n\n"
