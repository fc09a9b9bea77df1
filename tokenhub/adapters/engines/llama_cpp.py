"""llama.cpp's server behind the port of the gateway: what it is asked, and who mends what it answers.

Text is always asked for as a stream with progress events, because that is the only time this server notices that
a client has gone (also while it reads a prompt); the gateway puts the stream together where the client wants one
answer. Tools are served by constrained decoding (`tool_prompt`), because native parsing fails on small models.
"""

import re
from typing import Any, cast

import msgspec

from tokenhub.adapters.engines.llama_cpp_mender import (
    Asked,
    ChatMender,
    CompletionMender,
    EmbeddingMender,
    ToolMender,
)
from tokenhub.adapters.engines.schema_support import check_strict
from tokenhub.adapters.engines.tool_prompt import ToolPlan, plan_tools, render_messages
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.maas.gateway.request import ParsedRequest
from tokenhub.maas.gateway.upstream_adapter import PreparedRequest

Json = dict[str, Any]
Fields = dict[str, msgspec.Raw]
_encode = msgspec.json.encode
_STREAM: Fields = {
    "stream": msgspec.Raw(b"true"),
    "stream_options": msgspec.Raw(b'{"include_usage":true}'),
    "return_progress": msgspec.Raw(b"true"),
    "timings_per_token": msgspec.Raw(b"true"),
}
_NEEDS_RENDERING = re.compile(rb'"(?:tool_calls|tool|developer|function)"')
_DROPPED = (
    "stream_options", "max_completion_tokens", "tools", "tool_choice", "parallel_tool_calls", "functions",
    "function_call", "user", "metadata", "store", "service_tier", "prediction", "prompt_cache_key",
    "prompt_cache_retention", "prompt_cache_options", "safety_identifier", "echo", "best_of", "modalities",
    "verbosity", "moderation",
)  # fmt: skip
_REFUSED = (
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "allowed_token_ids",
    "bad_words", "prompt_logprobs", "truncate_prompt_tokens", "stop_token_ids", "web_search_options", "audio",
    "suffix", "functions", "function_call", "dimensions",
)  # fmt: skip
"""Fields that the engine would pass over although the answer depends on them."""
_SEED_MAX = 2**32 - 2


class LlamaCppAdapter:
    """Engines of our own, and llama.cpp servers elsewhere."""

    def prepare(self, request: ParsedRequest) -> PreparedRequest:
        """The engine's body for `request`. Raises: InvalidRequest for what this engine cannot do."""
        assert request.deployment is not None
        _refuse_unsupported(request)
        fields: Fields = {name: raw for name, raw in request.fields.items() if name not in _DROPPED}
        fields["model"] = msgspec.Raw(_encode(request.deployment.upstream_model))
        match request.endpoint:
            case "embeddings":
                return PreparedRequest(_encode(fields), EmbeddingMender(request.model))
            case "chat.completions":
                mender = _prepare_chat(request, fields)
            case "completions":
                mender = _prepare_completion(request, fields)
        fields.update(_STREAM)
        limit = request.upstream_max_tokens if request.upstream_max_tokens is not None else request.max_tokens
        if limit is not None:
            fields["max_tokens"] = msgspec.Raw(b"%d" % limit)
        if "seed" in fields:
            fields["seed"] = msgspec.Raw(b"%d" % ((request.value("seed", int) or 0) % _SEED_MAX))
        return PreparedRequest(_encode(fields), mender, stream=True)


def _prepare_chat(request: ParsedRequest, fields: Fields) -> ChatMender:
    plan = plan_tools(
        request.value("tools", list[Json]),
        _any(request, "tool_choice"),
        request.value("parallel_tool_calls", bool),
    )
    formatted = _response_format(request)
    if plan is not None or _NEEDS_RENDERING.search(bytes(fields["messages"])):
        messages = cast(list[Json], request.value("messages", list[Json]))
        fields["messages"] = msgspec.Raw(_encode(render_messages(messages, plan)))
    if plan is None:
        tops = _ask_logprobs(request, fields, "top_logprobs") if request.value("logprobs", bool) else 0
        return ChatMender(Asked(request.model, request.choices, request.include_usage, top_logprobs=tops))
    _constrain(fields, plan, formatted)
    asked = Asked(request.model, request.choices, request.include_usage, schema_param="tools")
    return ToolMender(asked, content_is_json=formatted is not None)


def _ask_logprobs(request: ParsedRequest, fields: Fields, name: str) -> int:
    """How many alternatives the client wants. The engine gives no log probability at all when asked for none."""
    wanted = request.value(name, int) or 0
    fields[name] = msgspec.Raw(b"%d" % max(wanted, 1))
    return wanted


def _constrain(fields: Fields, plan: ToolPlan, formatted: Json | None) -> None:
    """Decode under the tool grammar; log probabilities of its JSON would fit no text, so none are asked for."""
    for name in ("grammar", "json_schema"):
        if name in fields:
            raise InvalidRequest(
                f"`{name}` cannot be used together with `tools`.", code="invalid_value", param=name
            )
    for name in ("logprobs", "top_logprobs", "n_probs"):
        fields.pop(name, None)
    schema = {"name": "answer", "schema": plan.schema(formatted)}
    fields["response_format"] = msgspec.Raw(_encode({"type": "json_schema", "json_schema": schema}))


def _response_format(request: ParsedRequest) -> Json | None:
    """The schema of a JSON answer; None for text. Raises: SchemaUnsupported."""
    wanted = request.value("response_format", Json)
    kind = wanted.get("type") if wanted else None
    if wanted is None or kind == "text":
        return None
    if kind == "json_object":
        return cast(Json, wanted.get("schema") or {"type": "object"})
    spec = cast(Json, wanted["json_schema"])
    schema = cast(Json, spec.get("schema") or {})
    if spec.get("strict"):
        check_strict(schema, param="response_format.json_schema.schema")
    return schema


def _prepare_completion(request: ParsedRequest, fields: Fields) -> CompletionMender:
    n = request.value("n", int) or 1
    best_of = request.value("best_of", int)
    if best_of is not None and best_of > n:
        raise InvalidRequest(
            "This model gives no `best_of`; use `n`.", code="unsupported_parameter", param="best_of"
        )
    echoes: tuple[str, ...] = ()
    if request.value("echo", bool):
        echoes = _echoes(request)
    tops = _ask_logprobs(request, fields, "logprobs") if request.value("logprobs", int) is not None else 0
    return CompletionMender(Asked(request.model, n, request.include_usage, top_logprobs=tops), echoes=echoes)


def _echoes(request: ParsedRequest) -> tuple[str, ...]:
    prompt = _any(request, "prompt")
    prompts = cast(list[Any], prompt) if isinstance(prompt, list) else [prompt]
    if not all(isinstance(item, str) for item in prompts) or request.value("logprobs", int) is not None:
        raise InvalidRequest(
            "`echo` works with text prompts and without `logprobs` on this model.",
            code="unsupported_parameter",
            param="echo",
        )
    return tuple(prompts)


def _any(request: ParsedRequest, name: str) -> Any:
    """One field, decoded as whatever it is; None when absent."""
    raw = request.fields.get(name)
    return None if raw is None else msgspec.json.decode(raw)


def _refuse_unsupported(request: ParsedRequest) -> None:
    for name in _REFUSED:
        raw = request.fields.get(name)
        if raw is not None and bytes(raw) not in (b"null", b"[]", b'""'):
            hint = " Use `tools`." if name in ("functions", "function_call") else ""
            raise InvalidRequest(
                f"This model does not support `{name}`.{hint}", code="unsupported_parameter", param=name
            )
    modalities = request.value("modalities", list[str])
    if modalities is not None and modalities != ["text"]:
        raise InvalidRequest("This model answers in text only.", code="unsupported_value", param="modalities")
