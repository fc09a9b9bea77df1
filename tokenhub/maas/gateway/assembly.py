"""A stream put back together into the answer a client without `stream` expects: content, tool calls, logprobs,
every choice, usage."""

from typing import Any, cast

Json = dict[str, Any]


class Assembly:
    """Collects chunks of one chat completion or completion."""

    def __init__(self, *, chat: bool) -> None:
        self._chat = chat
        self._head: Json = {}
        self._choices: dict[int, Json] = {}
        self._usage: Json | None = None

    def add(self, event: Json) -> None:
        """One schema-valid chunk."""
        for name, value in event.items():
            if name not in ("choices", "usage", "object") and value is not None:
                self._head.setdefault(name, value)
        usage = event.get("usage")
        if isinstance(usage, dict):
            self._usage = cast(Json, usage)
        for choice in cast(list[Json], event.get("choices") or []):
            self._add_choice(choice)

    def body(self, usage: Json | None = None) -> Json:
        """The whole answer; `usage` where the stream gave none."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            if self._chat:
                _close_message(choice)
        return {
            **self._head,
            "object": "chat.completion" if self._chat else "text_completion",
            "choices": choices,
            "usage": self._usage or usage,
        }

    def _add_choice(self, choice: Json) -> None:
        index = int(choice.get("index") or 0)
        known = self._choices.get(index)
        if known is None:
            known = self._choices[index] = {"index": index, "logprobs": None, "finish_reason": None}
            known.update({"message": {"role": "assistant"}} if self._chat else {"text": ""})
        if choice.get("finish_reason"):
            known["finish_reason"] = choice["finish_reason"]
        _add_logprobs(known, choice.get("logprobs"))
        if self._chat:
            _add_delta(cast(Json, known["message"]), cast(Json, choice.get("delta") or {}))
        else:
            known["text"] += choice.get("text") or ""
        for name, value in choice.items():
            if name not in ("index", "delta", "text", "logprobs", "finish_reason") and value is not None:
                known.setdefault(name, value)


def _add_delta(message: Json, delta: Json) -> None:
    for name, value in delta.items():
        if value is None:
            continue
        if name == "tool_calls":
            _add_tool_calls(message.setdefault("tool_calls", []), value)
        elif name == "function_call":
            _add_function(message.setdefault("function_call", {"name": "", "arguments": ""}), value)
        elif name == "role":
            message["role"] = value
        elif isinstance(value, str):
            message[name] = message.get(name, "") + value
        elif isinstance(value, list):
            message[name] = [*message.get(name, []), *cast(list[Any], value)]
        else:
            message[name] = value


def _add_tool_calls(calls: list[Json], deltas: list[Json]) -> None:
    for delta in deltas:
        index = int(delta.get("index") or 0)
        while len(calls) <= index:
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[index]
        if delta.get("id"):
            call["id"] = delta["id"]
        if delta.get("type"):
            call["type"] = delta["type"]
        _add_function(call["function"], cast(Json, delta.get("function") or {}))


def _add_function(function: Json, delta: Json) -> None:
    function["name"] += delta.get("name") or ""
    function["arguments"] += delta.get("arguments") or ""


def _add_logprobs(choice: Json, logprobs: Json | None) -> None:
    if not logprobs:
        return
    known = cast(Json, choice["logprobs"] or {})
    choice["logprobs"] = known
    for name, value in logprobs.items():
        if isinstance(value, list):
            known[name] = [*(known.get(name) or []), *cast(list[Any], value)]
        else:
            known.setdefault(name, value)


def _close_message(choice: Json) -> None:
    message: Json = choice["message"]
    message.setdefault("content", None if message.get("tool_calls") else "")
    message.setdefault("refusal", None)
