"""What llama.cpp's server refuses, in the API's words. The engine's own codes are integers and its 500s often mean 400."""

import json
import re
from typing import Any, cast

from tokenhub.kernel.errors import (
    ContextLengthExceeded,
    HubError,
    InvalidRequest,
    Unavailable,
    UpstreamError,
)

Json = dict[str, Any]
_SCHEMA = re.compile(r"JSON schema error at ([^:]*): (.*)", re.DOTALL)
_FIELD = re.compile(r"^Field '(\w+)': (.*)", re.DOTALL)
_PREFIX = re.compile(r"^Unable to generate parser for this template\. Automatic parser generation failed: ")


def engine_error(status: int, body: bytes, *, schema_param: str = "response_format") -> HubError:
    """The error for an answer of the engine that is not 200; `schema_param`: the field that gave the schema."""
    fault = _fault(body)
    message = _PREFIX.sub("", str(fault.get("message") or ""))
    if fault.get("type") == "exceed_context_size_error":
        return ContextLengthExceeded(
            f"This model's context holds {fault.get('n_ctx')} tokens, but the request has "
            f"{fault.get('n_prompt_tokens')}. Shorten the messages.",
            param="messages",
        )
    if status == 503:
        return Unavailable("The engine is loading its model; try again in a moment.")
    if status == 501:
        return InvalidRequest(
            "This model does not do that (see its kinds in `hub model list`).", code="unsupported"
        )
    if "grammar" in message or _SCHEMA.search(message):
        found = _SCHEMA.search(message)
        reason = f"{found.group(2)} (at {found.group(1)})" if found else "it is too large or not supported"
        return InvalidRequest(
            f"This model cannot be held to the JSON Schema: {reason}.",
            code="invalid_json_schema",
            param=schema_param,
        )
    if status == 400 or (status == 500 and _is_callers_fault(message)):
        return _invalid(message)
    return UpstreamError(f"The engine failed ({message or f'status {status}'}).")


def _fault(body: bytes) -> Json:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    fault: Any = cast(Json, answer).get("error") if isinstance(answer, dict) else None
    return cast(Json, fault) if isinstance(fault, dict) else {}


def _is_callers_fault(message: str) -> bool:
    marks = (
        "not supported",
        "Failed to parse",
        "Missing",
        "must be",
        "invalid",
        "Invalid",
        "too large to process",
    )
    return any(mark in message for mark in marks)


def _invalid(message: str) -> InvalidRequest:
    if "image input is not supported" in message or "audio input is not supported" in message:
        return InvalidRequest("This model takes text only.", code="unsupported_content", param="messages")
    field = _FIELD.match(message)
    if field:
        name, reason = field.groups()
        words = reason.replace("Value must be between 1 <= value <= ", "it must be between 1 and ")
        return InvalidRequest(f"Invalid value for '{name}': {words}.", code="invalid_value", param=name)
    if "exceeds the available context" in message or "too large to process" in message:
        return ContextLengthExceeded(
            f"The input is longer than this model's context ({message}).", param="input"
        )
    return InvalidRequest(message or "The engine refused the request without a reason.")
