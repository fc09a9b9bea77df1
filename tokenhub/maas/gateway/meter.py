"""What one request has used so far, and its way into the books: checkpoints while it runs, one capture at its end.

Write before send: a checkpoint records `AHEAD_TOKENS` more output than has been delivered, and the next one is
written when delivery catches up, so a killed process has recorded at least what it sent, and at most that more.
"""

import time
from collections.abc import Mapping
from typing import Any, TypeGuard, cast

from tokenhub.clearing.clerk import Clerk, Hold
from tokenhub.kernel.usage import Usage
from tokenhub.kernel.usage_dialects import COUNT_MAX, InvalidUsage, from_openai_chat
from tokenhub.ledger.types import Unit
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway.pipe import Pipe
from tokenhub.maas.gateway.request import ParsedRequest
from tokenhub.maas.gateway.snapshot import KeyRoute
from tokenhub.metering.types import UsageEvent
from tokenhub.pricing.errors import UnpricedDimension
from tokenhub.pricing.price import Price
from tokenhub.pricing.rating import rate

AHEAD_TOKENS = 256
TRAILING_EVENTS = 2
"""Events that may follow the last usage object and carry no tokens: the finish reason and `[DONE]`."""
BYTES_PER_TOKEN = 4
"""For the prompt of an upstream that gives no counts; such an event says `estimate`."""


class Meter:
    """Counts of one request. The last of these wins: `usage`, the engine's running counts, counted events."""

    __slots__ = (
        "_by_choice",
        "cached_tokens",
        "clerk",
        "counted_events",
        "counted_output",
        "deployment",
        "events",
        "finish",
        "first_ms",
        "hold",
        "made",
        "pipe",
        "price",
        "prompt_tokens",
        "received",
        "recorded",
        "request",
        "route",
        "service_tier",
        "started_ms",
        "usage",
    )

    def __init__(
        self,
        clerk: Clerk,
        hold: Hold,
        route: KeyRoute,
        request: ParsedRequest,
        deployment: Deployment,
        price: Price,
        *,
        started_ms: int,
        service_tier: str,
    ) -> None:
        self.clerk = clerk
        self.hold = hold
        self.route = route
        self.request = request
        self.deployment = deployment
        self.price = price
        self.service_tier = service_tier
        self.started_ms = started_ms
        self.first_ms = 0
        self.usage: Usage | None = None
        """The upstream's final word."""
        self.prompt_tokens = -1
        """The engine's running count; -1 where it gives none."""
        self.cached_tokens = 0
        self.counted_output = -1
        """The engine's running count of output tokens; -1 where it gives none."""
        self.counted_events = -1
        """`events` when a stream's last usage object had been seen; -1 without one."""
        self.events = 0
        """Content events seen: an estimate of output tokens."""
        self.recorded = 0
        """Output tokens covered by the last checkpoint."""
        self.made = 0
        """Output tokens known to be made, also those that stayed here."""
        self.received = False
        """Something came from the upstream."""
        self.finish = ""
        self.pipe: Pipe | None = None
        """Events of a stream may go past this meter; it counts them until `catch_up`."""
        self._by_choice: dict[int, int] | None = None

    @property
    def output(self) -> int:
        """Output tokens made so far, as well as it is known."""
        if self.counted_events >= 0:
            return self.counted_output + max(self.events - self.counted_events, 0)
        return self.counted_output if self.counted_output >= 0 else self.events

    @property
    def told(self) -> bool:
        """The usage object covers the whole answer: nothing but the stream's end came after it."""
        return self.usage is not None and (
            self.counted_events < 0 or self.events - self.counted_events <= TRAILING_EVENTS
        )

    def see_usage(self, usage: Mapping[str, object]) -> bool:
        """A usage object. False if its totals cannot be read.

        It covers the events up to its own: some upstreams send one at the start, or in every event.
        """
        try:
            self.usage = from_openai_chat(usage)
        except InvalidUsage:
            return False
        self.counted_output = max(self.counted_output, self.usage.completion_tokens)
        self.counted_events = self.events + 1
        self.prompt_tokens, self.cached_tokens = self.usage.prompt_tokens, self.usage.cache_read_tokens
        return True

    def see_timings(self, timings: Mapping[str, Any], choice: int) -> None:
        """llama.cpp's `timings` of an event: `prompt_n` evaluated, `cache_n` reused, `predicted_n` made."""
        made, evaluated, reused = (timings.get(name) for name in ("predicted_n", "prompt_n", "cache_n"))
        if _is_count(made):
            if self.request.choices == 1:
                self.counted_output = made
            else:
                counts = self._by_choice = self._by_choice or {}
                counts[choice] = made
                self.counted_output = sum(counts.values())
        if _is_count(evaluated):
            self.cached_tokens = reused if _is_count(reused) else 0
            self.prompt_tokens = evaluated + self.cached_tokens

    def see_progress(self, progress: Mapping[str, Any]) -> None:
        """llama.cpp's `prompt_progress`: how much of the prompt has been read (`processed`), of it `cache` reused."""
        processed, reused = progress.get("processed"), progress.get("cache")
        if _is_count(processed):
            self.prompt_tokens = processed
            self.cached_tokens = min(reused, processed) if _is_count(reused) else 0

    def catch_up(self) -> None:
        """Count what the pipe let pass, and close it."""
        if self.pipe is not None:
            self.events += self.pipe.take()

    def touch(self) -> None:
        """The first token of the answer is there."""
        self.received = True
        self.first_ms = time.time_ns() // 1_000_000

    def before_send(self) -> None:
        """Call before bytes leave: records them first when the last checkpoint does not cover them."""
        if self.output > self.recorded or not self.recorded:
            self.recorded = self._ahead()
            self.clerk.checkpoint(
                self.hold, self._event(self._running(self.recorded), status=200, finish="open")
            )

    def _ahead(self) -> int:
        """How far a checkpoint covers the answer: no further than the upstream may go by its limit."""
        output, request = self.output, self.request
        limit = request.upstream_max_tokens or request.max_tokens
        if limit is None:
            return output + AHEAD_TOKENS
        return max(output + 1, min(output + AHEAD_TOKENS, limit * request.choices))

    def capture(self, *, status: int, delivered: bool = True) -> UsageEvent:
        """Close the account. `delivered` false: the output stayed here (a client that left before its answer)."""
        self.catch_up()
        usage = self.usage if self.usage is not None and self.told else self._running(self.output)
        created = usage.completion_tokens
        if not delivered and created:
            usage = Usage(
                input_tokens=usage.input_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                cache_write_long_tokens=usage.cache_write_long_tokens,
                audio_input_tokens=usage.audio_input_tokens,
                image_input_tokens=usage.image_input_tokens,
            )
        event = self._event(usage, status=status, finish=self.finish or "stop")
        event.created_tokens = max(created, self.made)
        event.undelivered_tokens = event.created_tokens - usage.completion_tokens
        self.clerk.capture(self.hold, event)
        return event

    def _running(self, output: int) -> Usage:
        prompt, cached = self.prompt_tokens, self.cached_tokens
        if prompt < 0:
            prompt, cached = (self._prompt_estimate() if self.received else 0), 0
        return Usage(
            input_tokens=max(prompt - cached, 0), cache_read_tokens=cached, output_tokens=max(output, 0)
        )

    def _prompt_estimate(self) -> int:
        size = self.request.said_bytes
        # Never more than the hold's bound of the prompt, which is what it holds beside the output.
        return min(size // BYTES_PER_TOKEN + 1, max(self.hold.granted[Unit.TOKENS] - max(self.output, 0), 0))

    @property
    def source(self) -> str:
        """Whose counts these are: "engine", "provider" or "estimate"."""
        if self.received and not self.told:
            counted = self.counted_output >= 0 and self.prompt_tokens >= 0
            if not counted or self.counted_events >= 0:
                return "estimate"
        return "engine" if self.deployment.own_engine else "provider"

    def _plainly(self, usage: Usage) -> tuple[Usage, int]:
        """The upstream counts what the price has no rate for: charged at the plain rates, as far as there are any."""
        plain = Usage(usage.prompt_tokens, output_tokens=usage.completion_tokens)
        for charged in (plain, Usage(usage.prompt_tokens), Usage(output_tokens=usage.completion_tokens)):
            try:
                return plain, rate(charged, self.price, at_ms=self.started_ms, service_tier=self.service_tier)
            except UnpricedDimension:
                continue
        return plain, 0

    def _event(self, usage: Usage, *, status: int, finish: str) -> UsageEvent:
        request, price, started_ms = self.request, self.price, self.started_ms
        at_ms = time.time_ns() // 1_000_000
        try:
            amount_nano = rate(usage, price, at_ms=started_ms, service_tier=self.service_tier)
        except UnpricedDimension:
            usage, amount_nano = self._plainly(usage)
        event = self.route.usage_event(self.deployment)
        event.request_id = request.request_id
        event.at_ms = at_ms
        event.service_tier = self.service_tier
        event.price_version_id = price.version_id
        event.input_tokens = usage.input_tokens
        event.cache_read_tokens = usage.cache_read_tokens
        event.cache_write_tokens = usage.cache_write_tokens
        event.cache_write_long_tokens = usage.cache_write_long_tokens
        event.output_tokens = usage.output_tokens
        event.reasoning_tokens = usage.reasoning_tokens
        event.audio_input_tokens = usage.audio_input_tokens
        event.audio_output_tokens = usage.audio_output_tokens
        event.image_input_tokens = usage.image_input_tokens
        event.image_output_tokens = usage.image_output_tokens
        event.created_tokens = usage.completion_tokens
        event.amount_nano = amount_nano
        event.currency = price.currency
        event.source = self.source
        event.finish = finish
        event.status = status
        event.stream = int(request.stream)
        event.latency_ms = at_ms - started_ms
        event.ttft_ms = max(self.first_ms - started_ms, 0) if self.first_ms else 0
        return event


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value < COUNT_MAX


def as_mapping(value: object) -> Mapping[str, Any] | None:
    """`value` if it is a JSON object."""
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else None
