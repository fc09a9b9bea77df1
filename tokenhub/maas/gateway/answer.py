"""Answers taken whole: collected from the upstream, usage read, mended where needed."""

from typing import Any, cast

import msgspec

from tokenhub.kernel.errors import HubError, UpstreamError
from tokenhub.kernel.usage import Usage
from tokenhub.kernel.usage_dialects import COUNT_MAX
from tokenhub.maas.gateway.consumer import ResponseHead
from tokenhub.maas.gateway.errors import from_upstream
from tokenhub.maas.gateway.leaves import PlainAnswer
from tokenhub.maas.gateway.meter import Meter, as_mapping
from tokenhub.maas.gateway.strand import Signal
from tokenhub.maas.gateway.upstream_adapter import Mender

ANSWER_BYTES_MAX = 256 * 2**20


class UpstreamLost(Exception):
    """The upstream broke off. `untouched`: before its first byte, so the request may go elsewhere."""

    def __init__(self, error: HubError, *, untouched: bool) -> None:
        super().__init__(error.message)
        self.error = error
        self.untouched = untouched


class Body:
    """An answer's body as it comes, of a bounded size."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        """A part of it. Raises: UpstreamError where it grows too large; the connection reports that and closes."""
        self._size += len(data)
        if self._size > ANSWER_BYTES_MAX:
            self._parts.clear()
            raise UpstreamError("The upstream's answer is too large.")
        self._parts.append(data)

    def whole(self) -> bytes:
        """All of it."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


class Collector:
    """Consumes one answer. `head` is set with the status, `whole` with the body.

    early: whoever awaits `head` gets it at once and may move the connection to another consumer right there (a
    stream); else it comes together with the body, which saves waking up twice.
    """

    __slots__ = ("_body", "_early", "head", "response", "wants_framed", "whole")

    def __init__(self, *, early: bool) -> None:
        self._early = early
        self.wants_framed = False
        self.head: Signal[ResponseHead] = Signal()
        self.whole: Signal[bytes] = Signal()
        self.response: ResponseHead | None = None
        self._body = Body()

    def on_head(self, head: ResponseHead) -> None:
        """Status and headers."""
        self.response = head
        if self._early:
            self.head.set(head)

    def on_framed(self, data: bytes, *, last: bool) -> None:
        """Never: `wants_framed` is false."""

    def on_data(self, data: bytes) -> None:
        """A part of the body."""
        self._body.add(data)

    def on_end(self) -> None:
        """The body is complete."""
        self.whole.set(self._body.whole())
        if self.response is not None:
            self.head.set(self.response)

    def on_lost(self, error: HubError, *, untouched: bool) -> None:
        """The answer is cut."""
        lost = UpstreamLost(error, untouched=untouched)
        self.head.fail(lost)
        self.whole.fail(lost)


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _Counts(msgspec.Struct):
    """A usage object as conforming upstreams write it."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _Envelope(msgspec.Struct):
    usage: _Counts | None = None
    choices: list[_Choice] | None = None
    timings: dict[str, Any] | None = None
    error: Any = None


_envelope = msgspec.json.Decoder(_Envelope).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def check_answer(head: ResponseHead, body: bytes, mender: Mender | None) -> None:
    """Raises: UpstreamLost for an error that another deployment may not have, HubError for any other (`body` says
    which), UpstreamError for a page or a coding that nobody asked for."""
    if not 200 <= head.status < 300:
        error = (
            from_upstream(head.status, body, head.headers)
            if mender is None
            else mender.error(head.status, body)
        )
        if head.status >= 500 or head.status == 429:
            raise UpstreamLost(error, untouched=True)
        raise error
    headers = head.headers
    coded = headers.get(b"content-encoding", b"identity") != b"identity"
    if coded or headers.get(b"content-type", b"").startswith(b"text/html"):
        raise UpstreamError("The upstream answered with a page or in a coding that nobody asked for.")


def read_plain_answer(body: bytes) -> PlainAnswer | None:
    """Of the usual answer; None: look closer. What `leaves.answer` says is a part of this."""
    try:
        envelope = _envelope(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    counts, choices = envelope.usage, envelope.choices
    if counts is None or envelope.error or envelope.timings is not None or not choices:
        return None
    cached = _usual(counts)
    if cached is None:
        return None
    return (
        counts.prompt_tokens - cached,
        cached,
        counts.completion_tokens,
        next((choice.finish_reason for choice in reversed(choices) if choice.finish_reason), "stop"),
    )


def read_answer(body: bytes, meter: Meter, mender: Mender | None) -> bytes:
    """Counts into `meter`; the body as the client gets it.

    Raises: UpstreamError if it is not a JSON object, or an error in spite of its status.
    """
    try:
        envelope = _envelope(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _read_loosely(body, meter)
    else:
        if envelope.error and not envelope.choices:
            raise from_upstream(200, body, {})
        meter.touch()
        if envelope.timings is not None:
            meter.see_timings(envelope.timings, 0)
        if envelope.usage is not None:
            _see_counts(envelope.usage, meter)
        for choice in envelope.choices or ():
            if choice.finish_reason:
                meter.finish = choice.finish_reason
    if meter.usage is None and meter.counted_output < 0 and meter.request.endpoint != "embeddings":
        meter.events = len(body) // 16
    if mender is None:
        return body
    mended = mender.body(_object(body))
    for choice in mended.get("choices") or ():
        meter.finish = str(choice["finish_reason"])
    return _encode(mended)


def _see_counts(counts: _Counts, meter: Meter) -> None:
    """The usual case by hand; anything else by the dialect's own reader."""
    cached = _usual(counts)
    if cached is None:
        meter.see_usage(msgspec.to_builtins(counts))
        return
    meter.usage = Usage(counts.prompt_tokens - cached, cached, 0, 0, counts.completion_tokens)
    meter.counted_output = counts.completion_tokens


def _usual(counts: _Counts) -> int | None:
    """Cached input of counts that have nothing but input, cached input and output; None for any other."""
    into, out = counts.prompt_tokens_details, counts.completion_tokens_details
    cached = (into.cached_tokens if into is not None else counts.prompt_cache_hit_tokens) or 0
    if not (0 <= cached <= counts.prompt_tokens < COUNT_MAX and 0 <= counts.completion_tokens < COUNT_MAX):
        return None
    if into is not None and (into.cache_write_tokens or into.audio_tokens or into.image_tokens):
        return None
    if out is not None and (out.reasoning_tokens or out.audio_tokens or out.image_tokens):
        return None
    return cached


def _read_loosely(body: bytes, meter: Meter) -> None:
    """Where parts have unexpected types."""
    try:
        decoded = _object(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamError("The upstream's answer is not JSON.") from None
    if decoded.get("error") and not decoded.get("choices"):
        raise from_upstream(200, body, {})
    meter.touch()
    usage, timings = as_mapping(decoded.get("usage")), as_mapping(decoded.get("timings"))
    if timings is not None:
        meter.see_timings(timings, 0)
    if usage is not None:
        meter.see_usage(usage)
    choices = decoded.get("choices")
    for choice in cast(list[Any], choices) if isinstance(choices, list) else []:
        mapping = as_mapping(choice)
        reason = mapping.get("finish_reason") if mapping is not None else None
        if isinstance(reason, str):
            meter.finish = reason
