"""Upstreams that keep to the API: vLLM, SGLang, Ollama, any OpenAI-compatible provider. Relayed byte for byte."""

import msgspec

from tokenhub.maas.gateway.request import ParsedRequest, upstream_fields
from tokenhub.maas.gateway.upstream_adapter import PreparedRequest


class OpenAICompatibleAdapter:
    """No mender: what comes is passed on, and only usage is read."""

    def prepare(self, request: ParsedRequest) -> PreparedRequest:
        """The client's fields, with the upstream's model name, the paid output limit, and usage in every stream."""
        return PreparedRequest(
            body=msgspec.json.encode(upstream_fields(request)),
            stream=request.upstream_stream or request.stream,
        )
