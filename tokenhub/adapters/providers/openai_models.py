"""Ask an OpenAI-compatible provider for its models: the check that URL and key work."""

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any, cast

from tokenhub.kernel.errors import UpstreamError
from tokenhub.maas.deployments.jobs import ProviderAnswer

READ_S = 20.0
_BODY_BYTES_MAX = 8 * 2**20


def list_models(base_url: str, api_key: str, *, connect_s: float) -> ProviderAnswer:
    """GET `<base_url>/models`. Raises: UpstreamError with the provider's own reason; the key never appears in it."""
    headers = {"Accept": "application/json", "User-Agent": "tokenhub"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    started = time.monotonic()
    try:
        request = urllib.request.Request(f"{base_url}/models", headers=headers)
        with urllib.request.urlopen(request, timeout=max(connect_s, READ_S)) as response:
            body = response.read(_BODY_BYTES_MAX)
    except urllib.error.HTTPError as error:
        reason = {401: "it refuses the key", 403: "it refuses the key", 404: "it has no /models there"}
        told = reason.get(error.code, f"it answered {error.code}")
        raise UpstreamError(f"{base_url} is reachable, but {told}.", code="provider_refused") from error
    except (OSError, http.client.HTTPException) as error:
        inner = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UpstreamError(f"{base_url} is not reachable ({inner}).", code="provider_unreachable") from error
    return ProviderAnswer(
        models=_names(body, base_url), latency_ms=round((time.monotonic() - started) * 1000)
    )


def _names(body: bytes, base_url: str) -> list[str]:
    try:
        answer: Any = json.loads(body)
        return [str(model["id"]) for model in cast(list[dict[str, Any]], answer["data"])]
    except (ValueError, KeyError, TypeError) as error:
        raise UpstreamError(
            f"{base_url}/models did not answer an OpenAI model list.", code="provider_refused"
        ) from error
