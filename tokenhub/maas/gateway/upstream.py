"""One connection to an upstream: a request out, an HTTP/1.1 answer in, to whoever consumes it.

The framing of a chunked answer is followed here, so that a block of whole chunks can be passed on as it came.
"""

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from tokenhub.kernel.errors import HubError, UpstreamError, UpstreamTimeout
from tokenhub.maas.gateway import leaves
from tokenhub.maas.gateway.chunks import LAST, aligned
from tokenhub.maas.gateway.consumer import ResponseHead, UpstreamConsumer, lower_fields
from tokenhub.maas.gateway.errors import ClientGone
from tokenhub.maas.gateway.pipe import Pipe
from tokenhub.maas.gateway.whole_answer import is_whole

if TYPE_CHECKING:
    from tokenhub.maas.gateway.pool import Origin

HEAD_BYTES_MAX = 64 * 1024
WRITE_HIGH_WATER = 256 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\Z")
_CHUNK_LINE_MAX = 1024


class UpstreamConnection(asyncio.Protocol):
    """One socket. Used for one request at a time; goes back to its `Origin` after a clean answer."""

    __slots__ = (
        "_buffer",
        "_chunked",
        "_close_after",
        "_consumer",
        "_first_s",
        "_fresh",
        "_head_only",
        "_idle_s",
        "_in_head",
        "_left",
        "_on_whole",
        "_pipe",
        "_touched",
        "closed",
        "deadline",
        "origin",
        "reused",
        "throttle",
        "timers",
        "transport",
        "turn",
    )

    def __init__(self, origin: "Origin") -> None:
        self.origin = origin
        self.timers = origin.pool.timers
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.reused = False
        """It has served a request before: a loss before the first byte may only mean it was stale."""
        self.turn = 0
        """Counts the requests it was given: whoever held it before knows that it serves another now."""
        self.deadline = 0.0
        self.throttle: Callable[[bool], None] | None = None
        """Told True while the upstream does not take more of a streamed request body."""
        self._consumer: UpstreamConsumer | None = None
        self._pipe: Pipe | None = None
        self._on_whole: Callable[[bytes], None] | None = None
        self._buffer: bytes = b""
        self._fresh: bytes = b""  # the start of an answer, until the turn's work begins
        self._in_head = True
        self._chunked = False
        self._left = 0  # bytes of the body or of the present chunk; -1: until the connection closes
        self._touched = False
        self._close_after = False
        self._head_only = False
        self._idle_s = 60.0
        self._first_s = 60.0

    # -- use ------------------------------------------------------------------------------------------------

    def send(
        self,
        data: bytes,
        consumer: UpstreamConsumer,
        *,
        first_s: float,
        idle_s: float,
        head_only: bool = False,
    ) -> None:
        """Send a whole request. `first_s`: time to the first byte of the answer; `idle_s`: between any two."""
        if self.transport is not None:
            self.transport.write(data)  # first of all: nothing is read before this returns
        self.expect(consumer, first_s=first_s, idle_s=idle_s, head_only=head_only)

    def expect(
        self,
        consumer: UpstreamConsumer,
        *,
        first_s: float,
        idle_s: float,
        head_only: bool = False,
        on_whole: Callable[[bytes], None] | None = None,
    ) -> None:
        """Give the coming answer to `consumer`; the request is written by the caller.

        on_whole: takes the body of a plain 200 that comes in one block, instead of all the consumer's calls.
        """
        self._consumer, self._on_whole = consumer, on_whole
        self.turn += 1
        self._in_head, self._touched, self._close_after = True, False, False
        self._head_only = head_only
        self._buffer, self._fresh = b"", b""
        self._idle_s = idle_s
        self._first_s = first_s
        self.deadline = self.timers.now + first_s

    def write(self, data: bytes) -> None:
        """Request bytes."""
        if self.transport is not None:
            self.transport.write(data)

    def abort(self, *, of: UpstreamConsumer | None = None) -> None:
        """Stop the upstream's work at once: the socket is closed, the consumer hears nothing more.

        A consumer whose answer may have ended passes itself as `of`: the connection of another is left alone.
        """
        if of is not None and self._consumer is not of:
            return
        self._consumer = None
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    def pause(self, *, of: UpstreamConsumer | None = None) -> None:
        """Read no more for now (back-pressure); the idle time-out rests."""
        if of in (None, self._consumer) and self.transport is not None and not self.closed:
            self.transport.pause_reading()
            self.deadline = 0.0

    def resume(self, *, of: UpstreamConsumer | None = None) -> None:
        """Read on."""
        if of in (None, self._consumer) and self.transport is not None and not self.closed:
            self.transport.resume_reading()
            self._arm(self._idle_s)

    def hurry(self, seconds: float) -> None:
        """The answer is as good as over: its rest gets this long, whatever passed a pipe before."""
        self._drop_pipe()
        self._arm(seconds)

    @property
    def busy(self) -> bool:
        """An answer is awaited or under way."""
        return self._consumer is not None

    def move_to(self, consumer: UpstreamConsumer) -> None:
        """It takes the rest of the answer."""
        self._consumer = consumer

    def pipe(self, write: Callable[[bytes], object]) -> Pipe:
        """What comes goes through a pipe first. It may be opened inside `on_framed` only: the next byte begins a chunk."""
        assert self.transport is not None and self._pipe is None
        self._pipe = Pipe(self, write)
        self.transport.set_protocol(self._pipe)
        return self._pipe

    # -- socket ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self.timers.watch(self)

    def pause_writing(self) -> None:
        """The upstream does not take more."""
        if self.throttle is not None:
            self.throttle(True)

    def resume_writing(self) -> None:
        """It does again."""
        if self.throttle is not None:
            self.throttle(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the upstream, by an error, or by us."""
        self._begin()
        self.closed = True
        self._pipe = None
        self.timers.forget(self)
        self.origin.forget(self)
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        if exc is None and not self._in_head and self._left < 0:
            consumer.on_end()
            return
        text = (
            f"The upstream closed the connection{f' ({exc})' if exc else ''} before its answer was complete."
        )
        consumer.on_lost(UpstreamError(text), untouched=not self._touched)

    def on_deadline(self) -> None:
        """The upstream is too slow."""
        if self._pipe is not None and self._pipe.at + self._idle_s > self.timers.now:
            self.deadline = self._pipe.at + self._idle_s
            return
        consumer = self._consumer
        self.abort()
        if consumer is not None:
            text = (
                f"The upstream paused for more than {self._idle_s:g} s."
                if self._touched
                else f"No answer from the upstream within {self._first_s:g} s."
            )
            consumer.on_lost(UpstreamTimeout(text), untouched=False)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        if self._pipe is not None:
            self._pipe.close()
        if self._consumer is None:
            self.abort()  # nobody asked: an answer out of turn
            return
        self._touched = True
        self.deadline = self.timers.now + self._idle_s
        if self._on_whole is None:
            self._parse(data)
        elif self._fresh:
            self._fresh += data
        else:
            self._fresh = data
            self.origin.pool.turn.soon(self._begin)

    def _begin(self) -> None:
        """The start of an answer that may be whole."""
        data, self._fresh = self._fresh, b""
        if data and self._consumer is not None:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        try:
            if self._in_head:
                whole = self._on_whole
                body_at = 0 if whole is None or self._buffer else leaves.whole(data)
                if whole is not None and body_at > 0:
                    self._take_whole(whole, data[body_at:])
                else:
                    self._head(data)
            elif self._chunked:
                self._chunks(data)
            else:
                self._plain(data)
        except _Malformed as error:
            self._give_up(UpstreamError(f"The upstream's answer is not HTTP: {error}."))
        except HubError as error:
            self._give_up(error)  # the consumer cannot go on (its journal cannot be written)
        except ClientGone:
            self.abort()

    def _give_up(self, error: HubError) -> None:
        consumer = self._consumer
        self.abort()
        if consumer is not None:
            consumer.on_lost(error, untouched=False)

    # -- answer ---------------------------------------------------------------------------------------------

    def _head(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        whole, self._on_whole = self._on_whole, None
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > HEAD_BYTES_MAX:
                raise _Malformed("the head is too large")
            self._buffer, self._on_whole = data, whole
            return
        self._buffer = b""
        raw, rest = data[:end], data[end + 4 :]
        if whole is not None and is_whole(raw, len(rest)):
            self._take_whole(whole, rest)
            return
        match = _STATUS.match(raw)
        if match is None:
            raise _Malformed("no status line")
        status = int(match.group(1))
        if status < 200:
            if status == 101:
                raise _Malformed("an unasked upgrade")
            if rest:
                self._head(rest)
            return
        head = ResponseHead(status, lower_fields(raw), raw)
        self._frame(head)
        consumer = self._consumer
        assert consumer is not None
        consumer.on_head(head)
        if self._consumer is None:
            return  # the consumer aborted
        if self._left == 0 and not self._chunked:
            self._end(clean=not rest)
        elif rest:
            (self._chunks if self._chunked else self._plain)(rest)

    def _take_whole(self, whole: Callable[[bytes], None], body: bytes) -> None:
        self._in_head = False
        self._consumer = self._on_whole = None
        try:
            whole(body)
        finally:
            if not self.closed:  # else nothing to undo: no pipe, no pause, no body that was streamed
                self._buffer = b""
                self.deadline = 0.0
                self.reused = True
                self.origin.release(self)

    def _frame(self, head: ResponseHead) -> None:
        headers = head.headers
        self._in_head = False
        self._chunked = False
        self._left = -1
        self._close_after = headers.get(b"connection") == b"close" or head.raw.startswith(b"HTTP/1.0")
        coding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
        if self._head_only or head.status in (204, 304):
            self._left = 0
        elif coding is not None:
            if coding != b"chunked" or length is not None:
                raise _Malformed("unclear length")
            self._chunked, self._left = True, 0
        elif length is not None:
            if not length.isdigit():
                raise _Malformed("bad Content-Length")
            self._left = int(length)
        else:
            self._close_after = True

    def _plain(self, data: bytes) -> None:
        consumer = self._consumer
        assert consumer is not None
        if self._left < 0:
            consumer.on_data(data)
            return
        extra = len(data) > self._left
        if extra:
            data = data[: self._left]
        self._left -= len(data)
        consumer.on_data(data)
        if self._left == 0 and self._consumer is not None:
            self._end(clean=not extra)

    def _chunks(self, data: bytes) -> None:
        consumer = self._consumer
        assert consumer is not None
        if consumer.wants_framed and self._left == 0 and not self._buffer:
            found = aligned(data)
            if found:
                last = found == LAST
                consumer.on_framed(data, last=last)
                if last and self._consumer is not None:
                    self._end(clean=True)
                return
        parts: list[bytes] = []
        finished = self._take_apart(self._buffer + data if self._buffer else data, parts)
        if parts:
            consumer.on_data(parts[0] if len(parts) == 1 else b"".join(parts))
        if finished is not None and self._consumer is not None:
            self._end(clean=finished)

    def _take_apart(self, data: bytes, parts: list[bytes]) -> bool | None:
        """Unframe into `parts`. None: more to come; else the answer ended, True if nothing follows it.

        `_left` counts the present chunk's bytes and its CRLF; `_buffer` keeps an incomplete size line or trailer.
        """
        at, size = 0, len(data)
        self._buffer = b""
        while at < size:
            if self._left > 2:
                part = data[at : at + self._left - 2]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                continue
            if self._left:
                if data[at] != (13 if self._left == 2 else 10):
                    raise _Malformed("bad chunk end")
                at += 1
                self._left -= 1
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep(data[at:])
                return None
            match = _CHUNK_LINE.match(data[at:end])
            if match is None or end - at > _CHUNK_LINE_MAX:
                raise _Malformed("bad chunk size")
            length = int(match.group(1), 16)
            if length:
                self._left = length + 2
                at = end + 2
                continue
            stop = end if data.startswith(b"\r\n\r\n", end) else data.find(b"\r\n\r\n", end)
            if stop < 0:
                self._keep(data[at:])
                return None
            return stop + 4 == size
        return None

    def _keep(self, rest: bytes) -> None:
        if len(rest) > HEAD_BYTES_MAX:
            raise _Malformed("a chunk line or trailer is too long")
        self._buffer = rest

    def _end(self, *, clean: bool) -> None:
        consumer = self._consumer
        assert consumer is not None
        self._release(clean=clean)
        consumer.on_end()

    def _release(self, *, clean: bool) -> None:
        self._consumer = None
        self.deadline = 0.0
        self.throttle = None
        self._drop_pipe()
        if self.transport is not None and not self.closed:
            self.transport.resume_reading()  # a reader that its last block filled has paused it
        if clean and not self._close_after and not self.closed:
            self.reused = True
            self.origin.release(self)
        else:
            self.abort()

    def _drop_pipe(self) -> None:
        if self._pipe is not None and self.transport is not None:
            self.transport.set_protocol(self)
        self._pipe = None

    def _arm(self, seconds: float) -> None:
        self.deadline = self.timers.now + seconds


class _Malformed(Exception):
    """The upstream broke HTTP."""
