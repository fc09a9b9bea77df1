"""One request of a token path, parsed once: the envelope's top level, nothing deeper."""

from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from tokenhub.maas.deployments.types import Deployment

Endpoint = Literal["chat.completions", "completions", "embeddings"]
T = TypeVar("T")

UPSTREAM_PATH: dict[Endpoint, bytes] = {
    "chat.completions": b"/chat/completions",
    "completions": b"/completions",
    "embeddings": b"/embeddings",
}
"""Path below a deployment's `base_url`."""

_SAID = ("messages", "prompt", "input", "tools")
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class ParsedRequest:
    """What the client asked, validated, and what the conductor decided about it.

    `fields` holds every top-level field as raw JSON in the client's order, each key once. Nothing else of the
    body reaches an upstream, so what was validated is what is sent.
    """

    endpoint: Endpoint
    request_id: str
    model: str
    """Public name, as the client wrote it."""
    stream: bool
    """The client asked for a stream."""
    include_usage: bool
    """The client asked for the usage chunk (`stream_options.include_usage`)."""
    fields: dict[str, msgspec.Raw]
    choices: int = 1
    """`n` (for completions: `max(n, best_of)` times the prompts)."""
    max_tokens: int | None = None
    """The client's own output limit of one choice; None when it gave none."""

    deployment: Deployment | None = None
    """Where it goes; set before `UpstreamAdapter.prepare`."""
    upstream_stream: bool = False
    """The upstream must stream, even if the client does not (the hold grows with the answer)."""
    upstream_max_tokens: int | None = None
    """Output tokens of one choice that the hold has paid for: the engine gets exactly this limit. None: no limit
    of ours (the context bounds it, or the hold grows)."""
    body_bytes: int = 0
    prompt_bytes: int = 0
    """`body_bytes`, or more where a tokenizer may make the text longer first; see `validation.normal_bytes`."""
    images: int = 0
    """Images given by address or inline."""
    dropped_bytes: int = 0
    """`said_bytes`, once the fields are dropped."""

    @property
    def said_bytes(self) -> int:
        """JSON bytes of what an engine reads as its prompt."""
        fields = self.fields
        return self.dropped_bytes + sum(len(memoryview(fields[name])) for name in _SAID if name in fields)

    def drop_fields(self) -> None:
        """They are read for the last time: a stream may last for minutes, and there are many."""
        self.dropped_bytes, self.fields = self.said_bytes, {}

    def value(self, name: str, kind: type[T]) -> T | None:
        """One field decoded as `kind`; None when absent or null. Raises: msgspec.ValidationError."""
        raw = self.fields.get(name)
        if raw is None or bytes(raw) == b"null":
            return None
        return msgspec.json.decode(raw, type=kind)


def upstream_fields(request: ParsedRequest) -> dict[str, msgspec.Raw]:
    """The fields a conforming upstream gets: the client's, with those the hub owns.

    The hub owns `model` (the upstream's name), `stream`, `stream_options.include_usage` (always on, so that
    every stream is metered) and the output limit when the hold bounds it.
    """
    assert request.deployment is not None
    fields = dict(request.fields)
    fields["model"] = msgspec.Raw(_encode(request.deployment.upstream_model))
    if request.endpoint == "embeddings":
        return fields
    if request.upstream_stream or request.stream:
        fields["stream"] = msgspec.Raw(b"true")
        fields["stream_options"] = _metered(fields.get("stream_options"))
    limit = request.upstream_max_tokens
    if limit is None and "max_tokens" in fields and "max_completion_tokens" in fields:
        limit = request.max_tokens  # the hold pays for the smaller one, whichever the upstream reads
    if limit is not None:
        _limit_output(fields, limit)
    return fields


def _metered(options: msgspec.Raw | None) -> msgspec.Raw:
    if options is None or bytes(options) == b"null":
        return _METERED
    given = msgspec.json.decode(options, type=dict[str, msgspec.Raw])
    given["include_usage"] = msgspec.Raw(b"true")
    return msgspec.Raw(_encode(given))


def _limit_output(fields: dict[str, msgspec.Raw], most: int) -> None:
    limit = msgspec.Raw(b"%d" % most)
    given = [name for name in ("max_completion_tokens", "max_tokens") if name in fields]
    for name in given or ["max_tokens"]:
        fields[name] = limit


_METERED = msgspec.Raw(b'{"include_usage":true}')
