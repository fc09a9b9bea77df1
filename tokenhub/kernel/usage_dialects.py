"""Usage objects of the wire dialects to and from the one disjoint `Usage` vector.

What the dialects disagree on is settled here and nowhere else: OpenAI counts cached tokens inside the prompt
and reasoning inside the completion, Anthropic counts cached tokens beside the input.

Rule for what upstreams get wrong:
- a total (prompt, completion, input, output) that is missing or not a count is refused (`InvalidUsage`): the
  caller then has no usage and counts for itself;
- a part (cached, reasoning, audio, …) that is missing, null or not a count is 0, so its tokens stay in the
  part's total at the plain rate; a part larger than what is left of its total is cut to that;
- a count is a non-negative int below 2**31, or a float that equals one; bools and strings are not. What is
  larger is no count of tokens, and times a price it would not fit the books.
"""

from collections.abc import Mapping
from typing import cast

from tokenhub.kernel.usage import Usage

COUNT_MAX = 2**31
Wire = Mapping[str, object]


class InvalidUsage(ValueError):
    """A usage object whose totals cannot be read."""


def from_openai_chat(usage: Wire) -> Usage:
    """`usage` of a chat completion, a completion or an embedding (no `completion_tokens`: zero).

    Cached tokens are also read from `prompt_cache_hit_tokens` (DeepSeek). Reasoning that the upstream counts
    beside the completion (`total = prompt + completion + reasoning`, xAI) is added to it.
    Raises: InvalidUsage.
    """
    prompt = _total(usage, "prompt_tokens")
    completion = _total(usage, "completion_tokens") if usage.get("completion_tokens") is not None else 0
    into = _mapping(usage.get("prompt_tokens_details"))
    out = _mapping(usage.get("completion_tokens_details"))
    cached = _part(into, "cached_tokens") or _part(usage, "prompt_cache_hit_tokens")
    reasoning = _part(out, "reasoning_tokens")
    if reasoning and _part(usage, "total_tokens") == prompt + completion + reasoning:
        completion += reasoning
    cache_read, rest = _take(cached, prompt)
    cache_write, rest = _take(_part(into, "cache_write_tokens"), rest)
    audio_input, rest = _take(_part(into, "audio_tokens"), rest)
    image_input, rest = _take(_part(into, "image_tokens"), rest)
    reasoning, answer = _take(reasoning, completion)
    audio_output, answer = _take(_part(out, "audio_tokens"), answer)
    image_output, answer = _take(_part(out, "image_tokens"), answer)
    return Usage(
        input_tokens=rest,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        output_tokens=answer,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_input,
        audio_output_tokens=audio_output,
        image_input_tokens=image_input,
        image_output_tokens=image_output,
    )


def from_openai_responses(usage: Wire) -> Usage:
    """`response.usage` of the Responses API. Writes with 12 hours of retention are the long ones.

    Raises: InvalidUsage.
    """
    total_input, total_output = _total(usage, "input_tokens"), _total(usage, "output_tokens")
    into = _mapping(usage.get("input_tokens_details"))
    written = _part(into, "cache_write_tokens")
    long = min(_part(_mapping(into.get("cache_write_tokens_details")), "ttl_12h_tokens"), written)
    cache_read, rest = _take(_part(into, "cached_tokens"), total_input)
    cache_write_long, rest = _take(long, rest)
    cache_write, rest = _take(written - long, rest)
    audio_input, rest = _take(_part(into, "audio_tokens"), rest)
    image_input, rest = _take(_part(into, "image_tokens"), rest)
    out = _mapping(usage.get("output_tokens_details"))
    reasoning, answer = _take(_part(out, "reasoning_tokens"), total_output)
    audio_output, answer = _take(_part(out, "audio_tokens"), answer)
    image_output, answer = _take(_part(out, "image_tokens"), answer)
    return Usage(
        input_tokens=rest,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        cache_write_long_tokens=cache_write_long,
        output_tokens=answer,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_input,
        audio_output_tokens=audio_output,
        image_input_tokens=image_input,
        image_output_tokens=image_output,
    )


def from_anthropic(usage: Wire) -> Usage:
    """`usage` of a message, or of a stream after `merge_anthropic`. `input_tokens` excludes the cache.

    Cache writes are split by retention where `cache_creation` says so (one hour = long); what it leaves
    unsaid of `cache_creation_input_tokens` is short. Thinking is inside `output_tokens`.
    Raises: InvalidUsage.
    """
    split = _mapping(usage.get("cache_creation"))
    long, short = _part(split, "ephemeral_1h_input_tokens"), _part(split, "ephemeral_5m_input_tokens")
    short += max(0, _part(usage, "cache_creation_input_tokens") - long - short)
    out = _mapping(usage.get("output_tokens_details"))
    reasoning, answer = _take(_part(out, "thinking_tokens"), _total(usage, "output_tokens"))
    return Usage(
        input_tokens=_total(usage, "input_tokens"),
        cache_read_tokens=_part(usage, "cache_read_input_tokens"),
        cache_write_tokens=short,
        cache_write_long_tokens=long,
        output_tokens=answer,
        reasoning_tokens=reasoning,
    )


def merge_anthropic(seen: Wire, update: Wire) -> dict[str, object]:
    """Usage of `message_start` and of each `message_delta`: cumulative, so a later value replaces an earlier one."""
    return {**seen, **{name: value for name, value in update.items() if value is not None}}


def to_openai_chat(usage: Usage) -> dict[str, object]:
    """The `usage` object of a chat completion, with both details. Long cache writes are part of the writes."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens + usage.cache_write_long_tokens,
            "audio_tokens": usage.audio_input_tokens,
            "image_tokens": usage.image_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def to_openai_responses(usage: Usage) -> dict[str, object]:
    """The `usage` object of the Responses API."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens + usage.cache_write_long_tokens,
            "cache_write_tokens_details": {
                "ttl_30m_tokens": usage.cache_write_tokens,
                "ttl_12h_tokens": usage.cache_write_long_tokens,
            },
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def to_anthropic(usage: Usage) -> dict[str, object]:
    """The `usage` object of a message; audio and image input count as input there."""
    return {
        "input_tokens": usage.input_tokens + usage.audio_input_tokens + usage.image_input_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens + usage.cache_write_long_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_long_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def _count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < COUNT_MAX:
        return value
    return None


def _total(usage: Wire, name: str) -> int:
    value = _count(usage.get(name))
    if value is None:
        raise InvalidUsage(f"usage.{name} is {usage.get(name)!r}, not a count of tokens")
    return value


def _part(details: Wire, name: str) -> int:
    return _count(details.get(name)) or 0


def _mapping(value: object) -> Wire:
    return cast(Wire, value) if isinstance(value, Mapping) else {}


def _take(part: int, left: int) -> tuple[int, int]:
    """As much of `part` as is left, and what then is left."""
    taken = min(part, left)
    return taken, left - taken
