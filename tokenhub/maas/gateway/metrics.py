"""Counters of one gateway process in Prometheus text: OpenTelemetry's GenAI names, hub names for the rest.

Plain integers and lists, because they are touched by every request.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tokenhub.metering.plain import Kinds, PlainUse
from tokenhub.metering.types import KIND_FIELDS, UsageEvent

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
PENDING_MAX = 256
"""Captured requests that are not counted yet, at most."""
_MODEL, _ENDPOINT, _FINISH = (KIND_FIELDS.index(name) for name in ("model", "endpoint", "finish"))
Gauge = Callable[[], Iterator[tuple[str, dict[str, str], float]]]


class Histogram:
    """Cumulative buckets of seconds."""

    __slots__ = ("counts", "sum_ms", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum_ms = 0
        self.total = 0

    def observe_all(self, values: Mapping[int, int]) -> None:
        """Values in milliseconds, each with how often it came."""
        for ms, count in values.items():
            self.counts[bisect_left(SECONDS, ms / 1000)] += count
            self.sum_ms += ms * count
            self.total += count


class _Model:
    """Series of one model."""

    __slots__ = ("duration", "finished", "first", "input_tokens", "output_tokens", "undelivered")

    def __init__(self) -> None:
        self.duration = Histogram()
        self.first = Histogram()
        self.finished: dict[str, int] = {}
        self.input_tokens = 0
        self.output_tokens = 0
        self.undelivered = 0

    def count(self, finish: str, durations: Iterable[int], first: Iterable[int]) -> None:
        """Requests that ended alike: how long each took, and its first token (0: none came), in milliseconds."""
        took = Counter(durations)
        self.duration.observe_all(took)
        self.first.observe_all({ms: count for ms, count in Counter(first).items() if ms})
        self.finished[finish] = self.finished.get(finish, 0) + took.total()


class Metrics:
    """All series. `gauges` yields (name, labels, value) at scrape time."""

    def __init__(self, gateway: str, kinds: Kinds) -> None:
        self._gateway = gateway
        self._models: dict[tuple[str, str], _Model] = {}
        self._answers: dict[int, int] = {}
        self._pending: list[UsageEvent] = []
        self._plain: list[PlainUse] = []
        self._kinds = kinds
        kinds.before_forgetting.append(self._fold_plain)
        self.gauges: list[Gauge] = []

    def captured(self, event: UsageEvent) -> None:
        """A request of a token path was captured."""
        pending = self._pending
        pending.append(event)
        if len(pending) >= PENDING_MAX:
            self._fold()

    def answered_plain(self, uses: Sequence[PlainUse]) -> None:
        """These plain uses were captured, and their requests answered."""
        pending = self._plain
        pending += uses
        self._answers[200] = self._answers.get(200, 0) + len(uses)
        if len(pending) >= PENDING_MAX:
            self._fold_plain()

    def _fold(self) -> None:
        """Count what was captured since the last time: many at once cost less than each at its own time."""
        pending, self._pending = self._pending, []
        alike: dict[tuple[str, str, str], list[UsageEvent]] = {}
        for event in pending:
            alike.setdefault((event.model, event.endpoint, event.finish), []).append(event)
        for (name, endpoint, finish), events in alike.items():
            model = self._model(name, endpoint)
            model.count(finish, [event.latency_ms for event in events], [event.ttft_ms for event in events])
            for event in events:
                output = event.completion_tokens
                model.input_tokens += event.total_tokens - output
                model.output_tokens += output
                model.undelivered += event.undelivered_tokens

    def _fold_plain(self) -> None:
        pending, self._plain = self._plain, []
        alike: dict[int, list[PlainUse]] = {}
        for use in pending:
            alike.setdefault(use[0], []).append(use)
        for number, uses in alike.items():
            kind = self._kinds[number]
            model = self._model(str(kind[_MODEL]), str(kind[_ENDPOINT]))
            _, _, _, inputs, cached, outputs, _, took = zip(*uses, strict=True)
            model.count(str(kind[_FINISH]), took, took)
            model.input_tokens += sum(inputs) + sum(cached)
            model.output_tokens += sum(outputs)

    def _model(self, name: str, endpoint: str) -> _Model:
        model = self._models.get((name, endpoint))
        if model is None:
            model = self._models[name, endpoint] = _Model()
        return model

    def answered(self, status: int) -> None:
        """Any request was answered."""
        self._answers[status] = self._answers.get(status, 0) + 1

    def render(self) -> bytes:
        """The exposition text."""
        self._fold()
        self._fold_plain()
        return "".join(self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        own = {"gateway": self._gateway}
        yield "# TYPE tokenhub_http_requests_total counter\n"
        for status, count in sorted(self._answers.items()):
            yield _line("tokenhub_http_requests_total", {**own, "status": str(status)}, count)
        labelled = [
            ({**own, "gen_ai_request_model": name, "gen_ai_operation_name": _OPERATION[endpoint]}, model)
            for (name, endpoint), model in sorted(self._models.items())
        ]
        yield "# TYPE gen_ai_client_token_usage_total counter\n"
        for labels, model in labelled:
            for kind, count in (("input", model.input_tokens), ("output", model.output_tokens)):
                yield _line("gen_ai_client_token_usage_total", {**labels, "gen_ai_token_type": kind}, count)
        yield "# TYPE tokenhub_undelivered_tokens_total counter\n"
        for labels, model in labelled:
            yield _line("tokenhub_undelivered_tokens_total", labels, model.undelivered)
        yield "# TYPE tokenhub_requests_finished_total counter\n"
        for labels, model in labelled:
            for reason, count in sorted(model.finished.items()):
                yield _line("tokenhub_requests_finished_total", {**labels, "finish_reason": reason}, count)
        yield "# TYPE gen_ai_server_request_duration_seconds histogram\n"
        for labels, model in labelled:
            yield from _histogram("gen_ai_server_request_duration_seconds", labels, model.duration)
        yield "# TYPE gen_ai_server_time_to_first_token_seconds histogram\n"
        for labels, model in labelled:
            yield from _histogram("gen_ai_server_time_to_first_token_seconds", labels, model.first)
        named: set[str] = set()
        for gauge in self.gauges:
            for name, labels, value in gauge():
                if name not in named:
                    named.add(name)
                    yield f"# TYPE {name} gauge\n"
                yield _line(name, {**own, **labels}, value)


_OPERATION = {"chat.completions": "chat", "completions": "text_completion", "embeddings": "embeddings"}


def _line(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _histogram(name: str, labels: dict[str, str], histogram: Histogram) -> Iterator[str]:
    total = 0
    for bound, count in zip([*map(str, SECONDS), "+Inf"], histogram.counts, strict=True):
        total += count
        yield _line(f"{name}_bucket", {**labels, "le": bound}, total)
    yield _line(f"{name}_sum", labels, histogram.sum_ms / 1000)
    yield _line(f"{name}_count", labels, histogram.total)
