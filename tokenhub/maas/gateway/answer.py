"""Answers taken whole: collected from the upstream, usage read, mended where needed."""

from typing import Any, cast

import msgspec

from tokenhub.kernel.errors import HubError, UpstreamError
from tokenhub.maas.gateway.meter import Meter, as_mapping
from tokenhub.maas.gateway.strand import Signal
from tokenhub.maas.gateway.upstream import ResponseHead
from tokenhub.maas.gateway.upstream_adapter import Mender

ANSWER_BYTES_MAX = 256 * 2**20


class UpstreamLost(Exception):
    """The upstream broke off. `untouched`: before its first byte, so the request may go elsewhere."""

    def __init__(self, error: HubError, *, untouched: bool) -> None:
        super().__init__(error.message)
        self.error = error
        self.untouched = untouched


class Collector:
    """Consumes one answer. `head` is set with the status; `whole` with the body.

    Whoever awaits `head` may move the connection to another consumer right there (a stream).
    """

    __slots__ = ("_parts", "_size", "head", "response", "wants_framed", "whole")

    def __init__(self) -> None:
        self.wants_framed = False
        self.head: Signal[ResponseHead] = Signal()
        self.whole: Signal[bytes] = Signal()
        self.response: ResponseHead | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def on_head(self, head: ResponseHead) -> None:
        """Status and headers."""
        self.response = head
        self.head.set(head)

    def on_framed(self, data: bytes, *, last: bool) -> None:
        """Never: `wants_framed` is false."""

    def on_data(self, data: bytes) -> None:
        """A part of the body."""
        self._size += len(data)
        if self._size <= ANSWER_BYTES_MAX:
            self._parts.append(data)

    def on_end(self) -> None:
        """The body is complete."""
        if self._size > ANSWER_BYTES_MAX:
            self.whole.fail(
                UpstreamLost(UpstreamError("The upstream's answer is too large."), untouched=False)
            )
            return
        self.whole.set(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))

    def on_lost(self, error: HubError, *, untouched: bool) -> None:
        """The answer is cut."""
        lost = UpstreamLost(error, untouched=untouched)
        self.head.fail(lost)
        self.whole.fail(lost)


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Envelope(msgspec.Struct):
    usage: dict[str, Any] | None = None
    choices: list[_Choice] | None = None
    timings: dict[str, Any] | None = None


_envelope = msgspec.json.Decoder(_Envelope).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def read_answer(body: bytes, meter: Meter, mender: Mender | None) -> bytes:
    """Counts into `meter`; the body as the client gets it. Raises: UpstreamError if it is not a JSON object."""
    try:
        envelope = _envelope(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        envelope = _read_loosely(body)
    meter.touch()
    if envelope.timings is not None:
        meter.see_timings(envelope.timings, 0)
    if envelope.usage is not None:
        meter.see_usage(envelope.usage)
    for choice in envelope.choices or ():
        if choice.finish_reason:
            meter.finish = choice.finish_reason
    if meter.usage is None and meter.counted_output < 0:
        meter.events = len(body) // 16 if meter.request.endpoint != "embeddings" else 0
    if mender is None:
        return body
    return _encode(mender.body(_object(body)))


def _read_loosely(body: bytes) -> _Envelope:
    """Where parts have unexpected types: the envelope without them."""
    try:
        decoded = _object(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamError("The upstream's answer is not JSON.") from None
    usage, timings = as_mapping(decoded.get("usage")), as_mapping(decoded.get("timings"))
    choices: list[_Choice] = []
    for choice in cast(list[Any], decoded.get("choices") or []):
        reason = cast(dict[str, Any], choice).get("finish_reason") if isinstance(choice, dict) else None
        choices.append(_Choice(reason if isinstance(reason, str) else None))
    return _Envelope(
        usage=dict(usage) if usage is not None else None,
        choices=choices,
        timings=dict(timings) if timings is not None else None,
    )
