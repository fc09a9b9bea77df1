"""Turn what llama.cpp's server answers into what the published schema promises. One mender per request.

Mended (measured, docs/reference/engine-notes.md): `created` and `id` that change inside one stream, progress and
timing events, repeated role events, missing `refusal` and `logprobs`, foreign keys in log probabilities, chat-style
log probabilities in completions, one usage chunk per choice, the constrained JSON of tool calls.
"""

import secrets
import time
from dataclasses import dataclass
from typing import Any, cast

from tokenhub.adapters.engines.llama_cpp_errors import engine_error
from tokenhub.adapters.engines.tool_stream import CallArguments, CallStart, Text, ToolStream
from tokenhub.kernel.errors import HubError

Json = dict[str, Any]
_LOGPROB_MIN = -9999.0
"""What the API writes for a token that cannot be (JSON has no minus infinity)."""
_FIELDS = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the client asked, as far as the answer's shape depends on it."""

    model: str
    """Public name."""
    choices_per_prompt: int = 1
    include_usage: bool = False
    """Every chunk but the last then says `usage: null`."""
    top_logprobs: int = 0
    """Alternatives per token."""
    schema_param: str = "response_format"
    """The field to blame for a schema that the engine cannot hold an answer to."""


class StreamUsage:
    """Adds up the engine's usage objects, of which it sends one per choice."""

    def __init__(self, choices_per_prompt: int) -> None:
        self._per_prompt = max(choices_per_prompt, 1)
        self._seen: list[Json] = []

    def add(self, usage: Json) -> None:
        """One usage object of the engine."""
        self._seen.append(usage)

    def total(self) -> Json | None:
        """The request's usage: every output token; each prompt once, whatever its number of choices."""
        if not self._seen:
            return None
        output = sum(int(usage.get("completion_tokens") or 0) for usage in self._seen)
        prompt = sum(int(usage.get("prompt_tokens") or 0) for usage in self._seen) // self._per_prompt
        details = [cast(Json, usage.get("prompt_tokens_details") or {}) for usage in self._seen]
        cached = [int(detail.get("cached_tokens") or 0) for detail in details]
        # Choices of one prompt share its work: the first one's cache hits are the prompt's.
        shared = min(cached) if self._per_prompt > 1 else sum(cached)
        return usage_object(prompt, output, cached=min(shared, prompt))


def usage_object(prompt: int, output: int, *, cached: int) -> Json:
    """Usage as the API writes it."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class _StreamMender:
    """What both kinds of stream share: the head of every event, and the usage at the end."""

    _object = ""
    _prefix = ""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._usage = StreamUsage(asked.choices_per_prompt)
        self._head: Json = {
            "id": f"{self._prefix}-{secrets.token_hex(12)}",
            "object": self._object,
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": None,
        }

    def chunk(self, event: Json) -> list[Json]:
        """One upstream event -> events to send."""
        if self._head["system_fingerprint"] is None:
            self._head["system_fingerprint"] = f"fp_llama_cpp_{event.get('system_fingerprint') or 'unknown'}"
        usage = event.get("usage")
        if usage is not None:
            self._usage.add(cast(Json, usage))
        mended: list[Json] = []
        for choice in cast(list[Json], event.get("choices") or []):
            mended += self._choice(choice)
        return [self._event(choice) for choice in mended]

    def finish(self) -> list[Json]:
        """The one usage chunk."""
        total = self._usage.total()
        return [] if total is None else [{**self._head, "choices": [], "usage": total}]

    def body(self, body: Json) -> Json:
        """Never: this engine always streams text."""
        return body

    def error(self, status: int, body: bytes) -> HubError:
        """An engine's refusal."""
        return engine_error(status, body, schema_param=self._asked.schema_param)

    def _event(self, choice: Json) -> Json:
        event = {**self._head, "choices": [choice]}
        if self._asked.include_usage:
            event["usage"] = None
        return event

    def _choice(self, choice: Json) -> list[Json]:
        raise NotImplementedError


class ChatMender(_StreamMender):
    """A stream of chat completion chunks."""

    _object = "chat.completion.chunk"
    _prefix = "chatcmpl"

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._begun: set[int] = set()

    def _choice(self, choice: Json) -> list[Json]:
        index = int(choice.get("index") or 0)
        engine_delta = cast(Json, choice.get("delta") or {})
        delta = {
            name: engine_delta[name] for name in ("content", "reasoning_content") if engine_delta.get(name)
        }
        finish = choice.get("finish_reason")
        if not delta and finish is None and not choice.get("logprobs"):
            return []
        mended: list[Json] = [] if index in self._begun else [self._role(index, {"content": ""})]
        if delta or choice.get("logprobs"):
            logprobs = chat_logprobs(choice.get("logprobs"), tops=self._asked.top_logprobs)
            mended.append(_chat_choice(index, delta, logprobs=logprobs))
        if finish is not None:
            mended.append(_chat_choice(index, {}, finish=finish))
        return mended

    def _role(self, index: int, content: Json) -> Json:
        self._begun.add(index)
        return _chat_choice(index, {"role": "assistant", **content, "refusal": None})


class ToolMender(ChatMender):
    """A stream of chat completion chunks whose text is the constrained JSON of `tool_prompt`."""

    def __init__(self, asked: Asked, *, content_is_json: bool) -> None:
        super().__init__(asked)
        self._content_is_json = content_is_json
        self._streams: dict[int, ToolStream] = {}

    def _choice(self, choice: Json) -> list[Json]:
        index = int(choice.get("index") or 0)
        stream = self._streams.get(index)
        if stream is None:
            stream = self._streams[index] = ToolStream(content_is_json=self._content_is_json)
        mended: list[Json] = []
        text = cast(Json, choice.get("delta") or {}).get("content")
        for piece in stream.feed(text) if text else ():
            match piece:
                case Text(text=part):
                    self._begin(index, mended, {"content": ""})
                    mended.append(_chat_choice(index, {"content": part}))
                case CallStart(index=number, name=name):
                    self._begin(index, mended, {"content": None})
                    function = {"name": name, "arguments": ""}
                    call = {"index": number, "id": _call_id(), "type": "function", "function": function}
                    mended.append(_chat_choice(index, {"tool_calls": [call]}))
                case CallArguments(index=number, json=raw):
                    call = {"index": number, "function": {"arguments": raw}}
                    mended.append(_chat_choice(index, {"tool_calls": [call]}))
        finish = choice.get("finish_reason")
        if finish is not None:
            self._begin(index, mended, {"content": ""})
            if finish == "stop" and stream.calls:
                finish = "tool_calls"
            mended.append(_chat_choice(index, {}, finish=finish))
        return mended

    def _begin(self, index: int, mended: list[Json], content: Json) -> None:
        if index not in self._begun:
            mended.append(self._role(index, content))


class CompletionMender(_StreamMender):
    """A stream of text completion events. `echoes`: for each prompt the text to repeat before its answers."""

    _object = "text_completion"
    _prefix = "cmpl"

    def __init__(self, asked: Asked, *, echoes: tuple[str, ...] = ()) -> None:
        super().__init__(asked)
        self._per_prompt = asked.choices_per_prompt
        self._echoes = echoes
        self._offsets: dict[int, int] = {}

    def _choice(self, choice: Json) -> list[Json]:
        index = int(choice.get("index") or 0)
        text = str(choice.get("text") or "")
        if not text and choice.get("finish_reason") is None and not choice.get("logprobs"):
            return []
        if index not in self._offsets:
            echo = self._echoes[min(index // self._per_prompt, len(self._echoes) - 1)] if self._echoes else ""
            self._offsets[index] = 0
            text = echo + text
        offset = self._offsets[index]
        self._offsets[index] += len(text)
        mended: Json = {
            "text": text,
            "index": index,
            "logprobs": legacy_logprobs(choice.get("logprobs"), offset=offset, tops=self._asked.top_logprobs),
            "finish_reason": choice.get("finish_reason"),
        }
        return [mended]


class EmbeddingMender:
    """An embeddings answer."""

    def __init__(self, model: str) -> None:
        self._model = model

    def chunk(self, event: Json) -> list[Json]:
        """Never streamed."""
        return [event]

    def finish(self) -> list[Json]:
        """Never streamed."""
        return []

    def body(self, body: Json) -> Json:
        """Only what the schema knows."""
        data = [
            {"object": "embedding", "index": item["index"], "embedding": item["embedding"]}
            for item in cast(list[Json], body["data"])
        ]
        usage = cast(Json, body.get("usage") or {})
        tokens = int(usage.get("prompt_tokens") or 0)
        counts = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": self._model, "usage": counts}

    def error(self, status: int, body: bytes) -> HubError:
        """An engine's refusal."""
        return engine_error(status, body)


def chat_logprobs(logprobs: Any, *, tops: int) -> Json | None:
    """The engine's log probabilities with the schema's keys and the alternatives that were asked for."""
    if not logprobs:
        return None
    entries = cast(list[Json], logprobs.get("content") or [])
    return {"content": [_token(entry, tops=tops) for entry in entries], "refusal": None}


def legacy_logprobs(logprobs: Any, *, offset: int, tops: int) -> Json | None:
    """The engine writes completions' log probabilities as in chat; the API writes them as columns."""
    if not logprobs:
        return None
    entries = [_token(entry, tops=tops) for entry in cast(list[Json], logprobs.get("content") or [])]
    offsets: list[int] = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry["token"])
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {top["token"]: top["logprob"] for top in entry["top_logprobs"]} for entry in entries
        ],
        "text_offset": offsets,
    }


def _token(entry: Json, *, tops: int) -> Json:
    found = cast(list[Json], entry.get("top_logprobs") or [])[:tops]
    return {**_token_logprob(entry), "top_logprobs": [_token_logprob(top) for top in found]}


def _token_logprob(entry: Json) -> Json:
    logprob = entry.get("logprob")
    known = isinstance(logprob, int | float) and logprob > _LOGPROB_MIN
    return {
        "token": entry.get("token") or "",
        "bytes": entry.get("bytes"),
        "logprob": logprob if known else _LOGPROB_MIN,
    }


def _chat_choice(index: int, delta: Json, *, logprobs: Json | None = None, finish: Any = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def _call_id() -> str:
    return f"call_{secrets.token_urlsafe(18)}"
