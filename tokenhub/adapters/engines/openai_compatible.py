"""Upstreams that keep to the API: vLLM, SGLang, Ollama, any OpenAI-compatible provider. Relayed byte for byte."""

from tokenhub.maas.gateway.upstream_adapter import ConformingAdapter


class OpenAICompatibleAdapter(ConformingAdapter):
    """No mender: what comes is passed on, and only usage is read. Plain requests take the fast path."""
