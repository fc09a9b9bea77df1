"""What a request may say: the published OpenAI request schemas as msgspec types, and the extensions let through.

One decode checks every type and range; values that only the engine reads stay undecoded. Field names that are not
listed here are refused by name (`unknown_parameter`). Extensions are those of vLLM, llama.cpp and SGLang that
cannot lift a limit, pick another caller's slot, or load code; `n_predict` is not among them (use `max_tokens`).
"""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

Object = dict[str, Raw]
Unit = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Natural = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
Name = Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
Text = Annotated[str, Meta(max_length=4096)]
Stop = str | Annotated[list[str], Meta(max_length=4)] | None


class Part(Struct):
    """One part of a message's content."""

    type: Text


Content = str | list[Part]


class Named(Struct):
    """A function, by name."""

    name: Name


class FunctionTool(Struct, tag_field="type", tag="function"):
    """A tool with JSON arguments."""

    function: "ToolFunction"


class ToolFunction(Struct):
    """Name, description and JSON Schema of a function."""

    name: Name
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class CustomTool(Struct, tag_field="type", tag="custom"):
    """A tool with free-form input."""

    custom: Named


class CalledFunction(Struct):
    """A function as the model called it."""

    name: str
    arguments: str


class FunctionCall(Struct, tag_field="type", tag="function"):
    """A call of a function in an assistant message."""

    id: str
    function: CalledFunction


class CustomCall(Struct, tag_field="type", tag="custom"):
    """A call of a custom tool in an assistant message."""

    id: str
    custom: Object


class System(Struct, tag_field="role", tag="system"):
    """Instructions."""

    content: Content


class Developer(Struct, tag_field="role", tag="developer"):
    """Instructions, as newer models call them."""

    content: Content


class User(Struct, tag_field="role", tag="user"):
    """What a person says."""

    content: Content


class Assistant(Struct, tag_field="role", tag="assistant"):
    """What the model said."""

    content: Content | None = None
    tool_calls: list[FunctionCall | CustomCall] | None = None


class ToolResult(Struct, tag_field="role", tag="tool"):
    """What a tool returned."""

    content: Content
    tool_call_id: str


class FunctionResult(Struct, tag_field="role", tag="function"):
    """What a function returned (deprecated by its publisher)."""

    name: str
    content: str | None


class TextFormat(Struct, tag_field="type", tag="text"):
    """Free text."""


class JsonObjectFormat(Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""

    schema: Object | None = None


class SchemaSpec(Struct):
    """A JSON Schema with a name."""

    name: Name
    schema: Object | None = None
    strict: bool | None = None


class JsonSchemaFormat(Struct, tag_field="type", tag="json_schema"):
    """JSON of a schema."""

    json_schema: SchemaSpec


class StreamOptions(Struct):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    continuous_usage_stats: bool | None = None


Messages = Annotated[
    list[System | Developer | User | Assistant | ToolResult | FunctionResult],
    Meta(min_length=1, max_length=16384),
]
Tools = Annotated[list[FunctionTool | CustomTool], Meta(max_length=1024)]


class Sampling(Struct, forbid_unknown_fields=True, kw_only=True):
    """Fields that chat completions and completions share, extensions included."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Positive | None = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    seed: Integer | None = None
    stop: Stop = None
    user: Text | None = None
    # extensions
    top_k: Integer | None = None
    min_p: Unit | None = None
    typical_p: Unit | None = None
    top_a: Number | None = None
    tfs_z: Number | None = None
    repetition_penalty: Number | None = None
    repeat_penalty: Number | None = None
    repeat_last_n: Integer | None = None
    mirostat: Integer | None = None
    mirostat_tau: Number | None = None
    mirostat_eta: Number | None = None
    dynatemp_range: Number | None = None
    dynatemp_exponent: Number | None = None
    dry_multiplier: Number | None = None
    dry_base: Number | None = None
    dry_allowed_length: Integer | None = None
    dry_penalty_last_n: Integer | None = None
    dry_sequence_breakers: list[str] | None = None
    xtc_probability: Unit | None = None
    xtc_threshold: Unit | None = None
    samplers: list[str] | None = None
    min_tokens: Natural | None = None
    ignore_eos: bool | None = None
    stop_token_ids: list[Natural] | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    allowed_token_ids: list[Natural] | None = None
    bad_words: list[str] | None = None
    prompt_logprobs: Natural | None = None
    truncate_prompt_tokens: Integer | None = None
    grammar: str | None = None
    json_schema: Object | None = None
    guided_json: str | Object | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    structured_outputs: Object | None = None
    cache_prompt: bool | None = None
    timings_per_token: bool | None = None
    return_tokens: bool | None = None
    return_token_ids: bool | None = None
    return_progress: bool | None = None
    n_probs: Natural | None = None
    post_sampling_probs: bool | None = None
    priority: Integer | None = None
    lora: list[Object] | None = None


class ChatCompletion(Sampling, kw_only=True):
    """POST /v1/chat/completions."""

    messages: Messages
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    tools: Tools | None = None
    tool_choice: Literal["none", "auto", "required"] | Object | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Named] | None = None
    function_call: Literal["none", "auto"] | Named | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    audio: Object | None = None
    prediction: Object | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: Text | None = None
    reasoning_effort: Text | None = None
    verbosity: Text | None = None
    web_search_options: Object | None = None
    prompt_cache_key: Text | None = None
    prompt_cache_retention: Text | None = None
    prompt_cache_options: Object | None = None
    safety_identifier: Text | None = None
    moderation: Object | None = None
    # extensions
    chat_template_kwargs: Object | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    add_special_tokens: bool | None = None
    enable_thinking: bool | None = None
    thinking_budget: Natural | None = None
    include_reasoning: bool | None = None
    separate_reasoning: bool | None = None
    reasoning_format: Text | None = None
    reasoning: Object | None = None
    thinking: Object | None = None
    documents: list[Object] | None = None
    mm_processor_kwargs: Object | None = None


class Completion(Sampling, kw_only=True):
    """POST /v1/completions."""

    prompt: str | list[str | Natural | list[Natural]]
    suffix: str | None = None
    echo: bool | None = None
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    add_special_tokens: bool | None = None


class Embedding(Struct, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/embeddings."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: str | Annotated[list[str | Natural | list[Natural]], Meta(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=65536)] | None = None
    user: Text | None = None
    # extensions
    input_type: Text | None = None
    truncate_prompt_tokens: Integer | None = None
    priority: Integer | None = None
    add_special_tokens: bool | None = None


class CommonChat(Struct, kw_only=True):
    """The fields that nearly every chat request consists of: the same checks, decoded faster. See `COMMON_CHAT`."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Messages
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Integer | None = None
    stop: Stop = None
    user: Text | None = None
    tools: Tools | None = None
    tool_choice: Literal["none", "auto", "required"] | Object | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None


COMMON_CHAT = frozenset(CommonChat.__struct_fields__)
