"""The ports by which engines and providers plug into the gateway. Bytes-level, synchronous, no I/O.

`adapters/engines/*` implement them; `bootstrap` passes `{deployment.adapter: UpstreamAdapter}` to `server.serve`.
A conforming upstream needs no `Mender`: its bytes are relayed and only usage is read.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from tokenhub.kernel.errors import HubError
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway.request import ParsedRequest, upstream_fields

Json = dict[str, Any]
"""One decoded JSON object as it crosses this port."""


class Mender(Protocol):
    """Turns one answer of a deviating upstream into what the API's schema promises. One per request."""

    def chunk(self, event: Json) -> list[Json]:
        """One upstream SSE event -> schema-valid events: stable `id` and `created`, role first, one usage chunk.

        The gateway reads running counts (llama.cpp `timings`) from the *upstream* event before this call; the final
        `usage` it takes from `finish`, so an upstream that sends one usage object per choice is added up here.
        """
        ...

    def finish(self) -> list[Json]:
        """Events still to send before `[DONE]`."""
        ...

    def body(self, body: Json) -> Json:
        """A non-stream answer."""
        ...

    def error(self, status: int, body: bytes) -> HubError:
        """An upstream's refusal (any status but 200) as an error of ours."""
        ...


@dataclass(slots=True)
class PreparedRequest:
    """What is sent upstream."""

    body: bytes
    mender: Mender | None = None
    stream: bool = False
    """The upstream was asked to stream. An adapter may stream although nobody asked (counts of a cut answer);
    the gateway then assembles the answer."""


class UpstreamAdapter(Protocol):
    """One kind of upstream."""

    def prepare(self, request: ParsedRequest) -> PreparedRequest:
        """The upstream's body for `request` (deployment and limits already set; start from `upstream_fields`).

        May rewrite fields (tools into constrained decoding), ask for counts (`timings_per_token`) and return a
        `Mender`. Raises: HubError for what this upstream cannot do.
        """
        ...


class PromptCounter(Protocol):
    """Exact prompt tokens, by the engine's own tokenizer and template. Used near a cap only."""

    async def count(self, deployment: Deployment, request: ParsedRequest) -> int | None:
        """Tokens of the prompt of one choice; None where the upstream cannot tell."""
        ...


class ConformingAdapter:
    """An upstream that keeps to the API: fields passed on, answer relayed byte for byte."""

    def prepare(self, request: ParsedRequest) -> PreparedRequest:
        """The client's fields with those the hub owns."""
        return PreparedRequest(
            body=msgspec.json.encode(upstream_fields(request)),
            stream=request.upstream_stream or request.stream,
        )
