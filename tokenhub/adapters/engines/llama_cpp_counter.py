"""Exact prompt tokens from llama.cpp: the same body that would be sent, through its own template and tokenizer."""

import asyncio
import json
from typing import Any, cast

import msgspec
import structlog

from tokenhub.adapters.engines.llama_cpp import LlamaCppAdapter
from tokenhub.adapters.engines.local_http import post_json
from tokenhub.kernel.errors import HubError
from tokenhub.maas.deployments.types import Deployment
from tokenhub.maas.gateway.request import ParsedRequest

log = structlog.get_logger()
COUNT_S_MAX = 5.0
Json = dict[str, Any]


class LlamaCppPromptCounter:
    """Counts for deployments of the adapter `llama.cpp`; None for others, or when the engine does not answer."""

    def __init__(self) -> None:
        self._adapter = LlamaCppAdapter()

    async def count(self, deployment: Deployment, request: ParsedRequest) -> int | None:
        """Prompt tokens of one choice (of all prompts together); None where the upstream cannot tell."""
        if deployment.adapter != "llama.cpp":
            return None
        root = deployment.base_url.removesuffix("/v1")
        try:
            async with asyncio.timeout(COUNT_S_MAX):
                if request.endpoint == "chat.completions":
                    body = self._adapter.prepare(request).body
                    answer = await post_json(
                        f"{root}/v1/chat/completions/input_tokens", api_key=deployment.api_key, body=body
                    )
                    return int(answer["input_tokens"])
                return await _count_texts(root, deployment.api_key, request)
        except HubError:
            return None  # prepare refuses it again, where the caller sees it
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            log.warning("prompt_count_failed", deployment=deployment.id, error=repr(error))
            return None


async def _count_texts(root: str, api_key: str, request: ParsedRequest) -> int:
    given: Any = msgspec.json.decode(
        request.fields["prompt" if request.endpoint == "completions" else "input"]
    )
    items = cast(list[Any], given) if isinstance(given, list) else [given]
    if items and isinstance(items[0], int):
        return len(items)
    total = 0
    for item in items:
        if isinstance(item, list):
            total += len(cast(list[Any], item))
            continue
        body = json.dumps({"content": item, "add_special": True, "parse_special": True}).encode()
        answer: Json = await post_json(f"{root}/tokenize", api_key=api_key, body=body)
        total += len(answer["tokens"])
    return total
