"""The usage event: everything a statement needs to say about one request."""

import msgspec

from tokenhub.kernel.usage import FIELDS, Usage


class UsageEvent(msgspec.Struct, gc=False, kw_only=True, array_like=True):
    """One request, as charged. The fields are the columns of `usage_event`, in this order; as JSON it is an array of
    them, so a new field comes last. First what is each request's own, then what it shares with others of its kind.

    `at_ms` is the instant of capture (it decides the sub-window of a rolling limit).
    `created_tokens` are output tokens that the engine made, never fewer than the delivered completion tokens;
    `undelivered_tokens` is the difference. `amount_nano` is in nano-units of `currency`.
    `path_id` and the overage fields are filled in by the clerk.
    """

    request_id: str
    at_ms: int
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_long_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    created_tokens: int = 0
    undelivered_tokens: int = 0
    amount_nano: int = 0
    latency_ms: int = 0
    ttft_ms: int = 0
    overage_tokens: int = 0
    overage_nano: int = 0

    org_id: str
    team_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    key_id: str
    app: str = ""
    model: str
    deployment_id: str = ""
    engine_boot: str = ""
    endpoint: str = "chat.completions"
    service_tier: str = "default"
    price_version_id: str = ""
    currency: str = "USD"
    source: str = "engine"
    finish: str = "stop"
    status: int = 200
    stream: int = 0
    path_id: str = ""

    def clean(self) -> None:
        """Replace NUL characters, which PostgreSQL does not store. Words of a client or an upstream may have any."""
        for name in EVENT_FIELDS:
            value: object = getattr(self, name)
            if isinstance(value, str) and "\0" in value:
                setattr(self, name, value.replace("\0", "\ufffd"))

    def another(self) -> "UsageEvent":
        """A copy."""
        return self.__copy__()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]  # missing in msgspec's stubs

    @property
    def usage(self) -> Usage:
        """The disjoint vector."""
        return Usage(*[getattr(self, name) for name in FIELDS])

    @property
    def prompt_tokens(self) -> int:
        """All input, cached included."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_long_tokens
            + self.audio_input_tokens
            + self.image_input_tokens
        )

    @property
    def completion_tokens(self) -> int:
        """All delivered output, reasoning included."""
        return (
            self.output_tokens + self.reasoning_tokens + self.audio_output_tokens + self.image_output_tokens
        )

    @property
    def total_tokens(self) -> int:
        """What token limits count."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_long_tokens
            + self.output_tokens
            + self.reasoning_tokens
            + self.audio_input_tokens
            + self.audio_output_tokens
            + self.image_input_tokens
            + self.image_output_tokens
        )


UsageDraft = UsageEvent
"""The same record with what is known so far; posted as it stands if the process dies."""

EVENT_FIELDS: tuple[str, ...] = UsageEvent.__struct_fields__

LINE_FIELDS: tuple[str, ...] = EVENT_FIELDS[: EVENT_FIELDS.index("org_id")]
"""What is each request's own; the request id comes first, all others are integers."""

SELDOM_FIELDS = frozenset({
    "cache_write_tokens", "cache_write_long_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens",
    "image_input_tokens", "image_output_tokens", "undelivered_tokens", "overage_tokens", "overage_nano",
})  # fmt: skip
"""Of them, what is 0 for most requests: then it need not be written."""

KIND_FIELDS: tuple[str, ...] = EVENT_FIELDS[len(LINE_FIELDS) :]
"""What many requests have in common: kept once for all of them."""

Kind = tuple[str | int | None, ...]
"""The values of KIND_FIELDS."""
