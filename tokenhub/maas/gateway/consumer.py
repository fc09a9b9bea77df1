"""Who takes an upstream's answer, and the head that it begins with."""

import re
from dataclasses import dataclass
from typing import Protocol

from tokenhub.kernel.errors import HubError

_FIELD = re.compile(rb"\r\n([^:\r\n\x00]+):[ \t]*([^\r\n\x00]*)")


def lower_fields(raw: bytes) -> dict[bytes, bytes]:
    """The headers of a raw head, names and values in lower case; of several of one name the last."""
    return dict(_FIELD.findall(raw.lower()))


@dataclass(slots=True)
class ResponseHead:
    """Status and headers of an upstream's answer."""

    status: int
    headers: dict[bytes, bytes]
    """Names and values in lower case."""
    raw: bytes
    """The head as it came, without the last empty line."""

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Every header in order, names in lower case, values as they came."""
        return [(name.lower(), value) for name, value in _FIELD.findall(self.raw)]


class UpstreamConsumer(Protocol):
    """Who takes an answer. Calls come in this order: head, any data, then end or lost."""

    wants_framed: bool
    """Whole chunks that each end at an event boundary may come through `on_framed`."""

    def on_head(self, head: ResponseHead) -> None:
        """Status and headers."""
        ...

    def on_data(self, data: bytes) -> None:
        """Body bytes, unframed."""
        ...

    def on_framed(self, data: bytes, *, last: bool) -> None:
        """Body bytes, chunk framing included. `last`: the final chunk is among them, `on_end` follows."""
        ...

    def on_end(self) -> None:
        """The answer is complete."""
        ...

    def on_lost(self, error: HubError, *, untouched: bool) -> None:
        """The answer is cut. `untouched`: no byte of it had come."""
        ...
