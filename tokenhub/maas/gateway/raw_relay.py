"""A conforming stream, passed on as it comes: bytes in, the same bytes out, only usage and the tail looked at."""

import re

import msgspec

from tokenhub.kernel.errors import HubError
from tokenhub.maas.gateway.chunks import unframed
from tokenhub.maas.gateway.consumer import ResponseHead
from tokenhub.maas.gateway.exchange import Exchange
from tokenhub.maas.gateway.meter import Meter, as_mapping
from tokenhub.maas.gateway.strand import Signal
from tokenhub.maas.gateway.upstream import UpstreamConnection

EVENT_BYTES_MAX = 16 * 2**20
AFTER_DONE_S = 1.0
"""How long an upstream may take to end its answer after `[DONE]`; nothing that follows is looked at."""
STREAM_HEADERS = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
)
_USAGE_OBJECT = re.compile(rb'"usage": ?\{')
_DONE = b"[DONE]\n\n\r\n"
_FINISH = re.compile(rb'"finish_reason": ?"([a-z_]{1,32})"')
_decode = msgspec.json.Decoder().decode


class RawRelay:
    """Consumes one upstream stream, feeds one client.

    Whole events only leave: a block that ends inside an event is split there and the rest waits. The last block is
    kept in `tail` until the conductor has captured the usage it carries.
    """

    __slots__ = (
        "_connection",
        "_done",
        "_exchange",
        "_headers",
        "_meter",
        "_rest",
        "_strip_usage",
        "ended",
        "tail",
        "wants_framed",
    )

    def __init__(
        self,
        exchange: Exchange,
        connection: UpstreamConnection,
        meter: Meter,
        headers: bytes,
    ) -> None:
        self._exchange = exchange
        self._connection = connection
        self._meter = meter
        self._headers = headers
        self._done = False
        self._strip_usage = not meter.request.include_usage
        self._rest: bytes = b""
        self.wants_framed = exchange.http11
        self.tail: bytes = b""
        """Bytes to send last, unframed."""
        self.ended: Signal[None] = Signal()
        exchange.valve = self
        if exchange.connection.write_paused:
            connection.pause()

    def pause(self) -> None:
        """The client does not keep up."""
        self._connection.pause(of=self)

    def resume(self) -> None:
        """It does again."""
        self._connection.resume(of=self)

    def on_head(self, head: ResponseHead) -> None:
        """Seen by the conductor already."""

    def on_framed(self, data: bytes, *, last: bool) -> None:
        """Whole events in whole chunks."""
        meter = self._meter
        meter.catch_up()
        if self._done and not last:
            self.ended.set(None)
            return
        if last or data.endswith(_DONE) or _USAGE_OBJECT.search(data):
            self._closely(unframed(data), last=last)
            return
        meter.events += data.count(b"\n\n")
        if not meter.finish and data.find(b'"finish_reason":"') >= 0:
            self._see_finish(data)
        if not meter.received:
            meter.touch()
        if meter.events > meter.recorded or not meter.recorded or meter.counted_events >= 0:
            meter.before_send()
        if self._exchange.status:
            self._exchange.write_framed(data)
        else:
            headers, self._headers = self._headers, b""
            self._exchange.begin(200, headers, data)
        if meter.counted_events < 0 and self._exchange.recorder is None:
            self._open_pipe()

    def _open_pipe(self) -> None:
        """What the last checkpoint covers may go straight to the client."""
        meter, transport = self._meter, self._exchange.connection.transport
        if meter.pipe is None and transport is not None:
            meter.pipe = self._connection.pipe(transport.write)
        if meter.pipe is not None:
            meter.pipe.open(max(meter.recorded - meter.events, 0))

    def on_data(self, data: bytes) -> None:
        """Any part of the body."""
        self._meter.catch_up()
        if self._done:
            if not data.isspace():
                self.ended.set(None)
            return
        if self._rest:
            data = self._rest + data
        cut = data.rfind(b"\n\n") + 2
        if cut < 2:
            cut = data.rfind(b"\r\n\r\n") + 4
            if cut < 4:
                cut = 0
        self._rest = data[cut:]
        self.wants_framed = not self._rest and self._exchange.http11
        if cut:
            self._closely(data[:cut], last=False)
        elif len(data) > EVENT_BYTES_MAX:
            self._connection.abort(of=self)
            self.ended.fail(HubError("The upstream sent an event that is too large.", code="upstream_error"))

    def on_end(self) -> None:
        """The upstream is done."""
        self.tail += self._rest
        self._rest = b""
        self.ended.set(None)

    def on_lost(self, error: HubError, *, untouched: bool) -> None:
        """The upstream is gone."""
        if self._done:
            self.ended.set(None)
        else:
            self.ended.fail(error)

    def _closely(self, payload: bytes, *, last: bool) -> None:
        """Event by event: read usage, drop the usage event of a client that did not ask."""
        kept: list[bytes] = []
        for event in payload.split(b"\n\n"):
            if not event or event.isspace():
                continue
            if b'"usage"' in event and self._is_usage_alone(event) and self._strip_usage:
                continue
            self._meter.events += 1
            kept.append(event + b"\n\n")
        if not self._meter.finish:
            self._see_finish(payload)
        if b"[DONE]" in payload:
            self._meter.events = max(self._meter.events - 1, 0)
            last = self._done = True
            self._connection.hurry(AFTER_DONE_S)
        out = b"".join(kept)
        if not self._exchange.status:
            self._meter.touch()
            self._meter.before_send()
            headers, self._headers = self._headers, b""
            self._exchange.begin(200, headers)
        if last or self.tail:
            self.tail += out
            return
        self._meter.before_send()
        self._exchange.write(out)

    def _is_usage_alone(self, event: bytes) -> bool:
        """Reads usage into the meter; True if the event carries nothing else."""
        start = event.find(b"{")
        if start < 0:
            return False
        try:
            decoded = as_mapping(_decode(event[start:]))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return False
        usage = as_mapping(decoded.get("usage")) if decoded is not None else None
        if decoded is None or usage is None:
            return False
        alone = decoded.get("choices") == []
        self._meter.see_usage(usage)
        return alone

    def _see_finish(self, data: bytes) -> None:
        found = _FINISH.search(data)
        if found is not None:
            self._meter.finish = found.group(1).decode()
