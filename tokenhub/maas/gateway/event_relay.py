"""A stream taken apart: each event parsed, counted, mended, and sent on or put together into one answer.

Used where the upstream deviates from the API, where the hold grows with the answer, and where the upstream streams
although the client does not.
"""

import time
from collections import deque
from typing import Any, Literal, cast

import msgspec

from tokenhub.kernel.errors import HubError, UpstreamError
from tokenhub.kernel.usage import Usage
from tokenhub.kernel.usage_dialects import to_openai_chat
from tokenhub.maas.gateway.assembly import Assembly
from tokenhub.maas.gateway.consumer import ResponseHead
from tokenhub.maas.gateway.exchange import Exchange
from tokenhub.maas.gateway.meter import Meter, as_mapping
from tokenhub.maas.gateway.raw_relay import AFTER_DONE_S
from tokenhub.maas.gateway.sse import DONE, EventSplitter, EventTooLarge, event_bytes
from tokenhub.maas.gateway.strand import Signal
from tokenhub.maas.gateway.upstream import UpstreamConnection
from tokenhub.maas.gateway.upstream_adapter import Mender

Json = dict[str, Any]
Turn = Literal["end", "grow"]
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class EventRelay:
    """Consumes one upstream stream. The conductor awaits `turn` until it says `end`, and grows the hold on `grow`.

    `paid_tokens`: output tokens the hold covers; None when the engine itself keeps within the hold.
    """

    wants_framed = False

    def __init__(
        self,
        exchange: Exchange,
        connection: UpstreamConnection,
        meter: Meter,
        headers: bytes,
        *,
        mender: Mender | None,
        paid_tokens: int | None,
    ) -> None:
        self._exchange = exchange
        self._connection = connection
        self._meter = meter
        self._headers = headers
        self._mender = mender
        self._splitter = EventSplitter()
        self._waiting: deque[bytes] = deque()
        self._stalled = False
        self._ended = False
        self._done = False
        self._last_event: Json = {}
        self._finished: set[int] = set()
        self._sent_usage = False
        self.paid_tokens = paid_tokens
        self.cut = False
        """The hold could not grow: the answer ends here with `length`."""
        self.turn: Signal[Turn] = Signal()
        self.tail: bytes = b""
        self.assembly: Assembly | None = None
        if not meter.request.stream:
            self.assembly = Assembly(chat=meter.request.endpoint == "chat.completions")
        elif exchange.connection.write_paused:
            connection.pause()
        exchange.valve = self

    # -- from the client ------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The client does not keep up."""
        self._connection.pause(of=self)

    def resume(self) -> None:
        """It does again."""
        if not self._stalled:
            self._connection.resume(of=self)

    # -- from the upstream ----------------------------------------------------------------------------------

    def on_head(self, head: ResponseHead) -> None:
        """Seen by the conductor already."""

    def on_framed(self, data: bytes, *, last: bool) -> None:
        """Never: `wants_framed` is false."""

    def on_data(self, data: bytes) -> None:
        """Any part of the body."""
        if self._done:
            if not data.isspace():
                self._connection.abort(of=self)
                self.on_end()
            return
        try:
            self._waiting.extend(self._splitter.feed(data))
        except EventTooLarge:
            self._break("The upstream sent an event that is too large.")
            return
        self._work()

    def on_end(self) -> None:
        """The upstream is done."""
        if self._ended:
            return
        rest = self._splitter.last()
        if rest:
            self._waiting.append(rest)
        self._ended = True
        self._work()

    def on_lost(self, error: HubError, *, untouched: bool) -> None:
        """The upstream is gone."""
        if self._done:
            self.on_end()
        else:
            self.turn.fail(error)

    # -- from the conductor ---------------------------------------------------------------------------------

    def grown(self, more_tokens: int) -> None:
        """The hold grew by `more_tokens`; 0: it could not, the answer ends with what is paid."""
        self.turn = Signal()
        self._stalled = False
        if more_tokens == 0:
            self.cut = True
            self._connection.abort(of=self)
            self._meter.finish = "length"
            self._meter.made = self._made()
            self._emit(self._cut_events())
            self._close()
            return
        assert self.paid_tokens is not None
        self.paid_tokens += more_tokens
        if not self._exchange.connection.write_paused:
            self._connection.resume(of=self)
        self._work()

    def usage_object(self) -> Json:
        """Usage as the client sees it."""
        usage = self._meter.usage
        if usage is None:
            meter = self._meter
            prompt = max(meter.prompt_tokens, 0)
            usage = Usage(
                input_tokens=prompt - meter.cached_tokens,
                cache_read_tokens=meter.cached_tokens,
                output_tokens=meter.output,
            )
        return to_openai_chat(usage)

    # -- inside ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Every waiting event, until the hold is used up."""
        out: list[Json] = []
        try:
            while self._waiting and not self._stalled:
                payload = self._waiting.popleft()
                if payload == b"[DONE]":
                    self._waiting.clear()
                    if not self._ended:
                        self._done = True
                        self._connection.hurry(AFTER_DONE_S)
                    break
                event = _decode(payload)
                if event.get("error") and not event.get("choices"):
                    raise _UpstreamFault(event)
                if self._needs_more(event):
                    self._waiting.appendleft(payload)
                    self._stalled = True
                    break
                self._count(event)
                out += [event] if self._mender is None else self._mender.chunk(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._emit(out)
            self._break("The upstream sent an event that is not JSON.")
            return
        except _UpstreamFault as fault:
            self._emit(out)
            self._break(fault.message)
            return
        self._emit(out)
        if self._stalled:
            self._connection.pause(of=self)
            self.turn.set("grow")
        elif self._ended and not self._waiting:
            if self._mender is not None:
                last = self._mender.finish()
                for event in last:
                    usage = as_mapping(event.get("usage"))
                    if usage is not None:
                        self._meter.see_usage(usage)
                self._emit(last)
            self._close()

    def _needs_more(self, event: Json) -> bool:
        """True if this event tells of more tokens than are paid; one without text may, as the stop token has none."""
        if self.paid_tokens is None:
            return False
        timings = as_mapping(event.get("timings"))
        made = timings.get("predicted_n") if timings is not None else None
        if isinstance(made, int) and self._meter.request.choices == 1:
            return made > self.paid_tokens
        return _is_content(event) and self._meter.output + 1 > self.paid_tokens

    def _count(self, event: Json) -> None:
        meter = self._meter
        meter.received = True
        progress = as_mapping(event.get("prompt_progress"))
        if progress is not None:
            meter.see_progress(progress)
        choices = cast(list[Json], event.get("choices") or [])
        usage = as_mapping(event.get("usage"))
        # A mender adds up what its upstream says in parts (one usage object per choice) and tells it in `finish`.
        if usage is not None and self._mender is None:
            meter.see_usage(usage)
        timings = as_mapping(event.get("timings"))
        if timings is not None:
            meter.see_timings(timings, int(choices[0].get("index") or 0) if choices else 0)
        if _is_content(event):
            meter.events += 1
            if not meter.first_ms:
                meter.touch()
        for choice in choices:
            if choice.get("finish_reason"):
                meter.finish = str(choice["finish_reason"])

    def _emit(self, events: list[Json]) -> None:
        if not events:
            return
        if self.assembly is not None:
            for event in events:
                self._remember(event)
                self.assembly.add(event)
            return
        out: list[bytes] = []
        wanted = self._meter.request.include_usage
        for event in events:
            self._remember(event)
            if event.get("usage") is not None:
                if not wanted:
                    if not event.get("choices"):
                        continue
                    event = {name: value for name, value in event.items() if name != "usage"}
                else:
                    self._sent_usage = True
            out.append(event_bytes(event))
        if not out:
            return
        self._meter.before_send()
        if not self._exchange.status:
            self._exchange.begin(200, self._headers)
        self._exchange.write(b"".join(out))

    def _remember(self, event: Json) -> None:
        if not self._last_event:
            self._last_event = {
                name: event[name] for name in ("id", "object", "created", "model") if name in event
            }
        for choice in cast(list[Json], event.get("choices") or []):
            if choice.get("finish_reason"):
                self._finished.add(int(choice.get("index") or 0))
                self._meter.finish = str(choice["finish_reason"])  # as the client is told it
            else:
                self._last_event.setdefault("_choices", set[int]()).add(int(choice.get("index") or 0))

    def _cut_events(self) -> list[Json]:
        chat = self._meter.request.endpoint == "chat.completions"
        seen: set[int] = self._last_event.pop("_choices", set[int]()) or {0}
        head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{self._meter.request.request_id}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": int(time.time()),
            "model": self._meter.request.model,
            **self._last_event,
        }
        part: Json = {"delta": {}} if chat else {"text": ""}
        return [
            {**head, "choices": [{"index": index, **part, "logprobs": None, "finish_reason": "length"}]}
            for index in sorted(seen - self._finished)
        ]

    def _made(self) -> int:
        """Output tokens made, those that wait here included."""
        made = self._meter.output
        for payload in self._waiting:
            if payload != b"[DONE]":
                event = _decode(payload)
                timings = as_mapping(event.get("timings")) or {}
                count = timings.get("predicted_n")
                if isinstance(count, int) and self._meter.request.choices == 1:
                    made = max(made, count)
                else:
                    made += _is_content(event)
        return made

    def _close(self) -> None:
        if self.assembly is None:
            if self._meter.request.include_usage and not self._sent_usage:
                head = {name: value for name, value in self._last_event.items() if not name.startswith("_")}
                self.tail = event_bytes({**head, "choices": [], "usage": self.usage_object()})
            self.tail += DONE
            if not self._exchange.status:
                self._meter.before_send()
                self._exchange.begin(200, self._headers)
        self.turn.set("end")

    def _break(self, text: str) -> None:
        self._connection.abort(of=self)
        self.turn.fail(UpstreamError(text))


class _UpstreamFault(Exception):
    """The upstream reports an error inside its stream."""

    def __init__(self, event: Json) -> None:
        error = event.get("error")
        mapping = as_mapping(error)
        text = mapping.get("message") if mapping is not None else error
        super().__init__(str(text))
        self.message = f"The upstream failed: {str(text)[:500]}"


def _is_content(event: Json) -> bool:
    """True if the event carries output tokens."""
    for choice in cast(list[Json], event.get("choices") or []):
        if choice.get("text"):
            return True
        delta = as_mapping(choice.get("delta"))
        if delta is not None and any(value for name, value in delta.items() if name != "role"):
            return True
    return False
