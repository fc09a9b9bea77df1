"""Engines that make tokens: llama.cpp as our own process; vLLM, SGLang, Ollama, any OpenAI-compatible URL.

`llama_server.py` is the process, `llama_cpp_process.py` starts it, `llama_cpp.py` speaks to it,
`llama_cpp_mender.py` mends what it answers, `tool_prompt.py` and `tool_stream.py` give small models tools.
"""

from tokenhub.adapters.engines.llama_cpp import LlamaCppAdapter
from tokenhub.adapters.engines.llama_cpp_counter import LlamaCppPromptCounter
from tokenhub.adapters.engines.openai_compatible import OpenAICompatibleAdapter
from tokenhub.maas.gateway.upstream_adapter import PromptCounter, UpstreamAdapter


def gateway_adapters() -> dict[str, UpstreamAdapter]:
    """Every adapter by the name that deployments carry."""
    return {"openai": OpenAICompatibleAdapter(), "llama.cpp": LlamaCppAdapter()}


def prompt_counter() -> PromptCounter:
    """Exact counts from engines of our own; providers are estimated by the gateway."""
    return LlamaCppPromptCounter()
