"""What one request used: one disjoint vector, whatever dialect it came in.

Disjoint means that no token is counted in two fields: `input_tokens` excludes cache reads and writes,
`output_tokens` excludes reasoning. Each wire dialect converts at its own edge.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of one request, all >= 0 and disjoint. Tokens unless the name says otherwise."""

    input_tokens: int = 0
    """Input processed at full rate (excludes cache reads, cache writes, audio and image tokens)."""
    cache_read_tokens: int = 0
    """Input found in a prompt cache."""
    cache_write_tokens: int = 0
    """Input written to a prompt cache at the provider's write rate (short retention)."""
    cache_write_long_tokens: int = 0
    """Input written to a prompt cache with long retention."""
    output_tokens: int = 0
    """Visible output (excludes reasoning and audio)."""
    reasoning_tokens: int = 0
    """Output spent on hidden or separate reasoning."""
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """All input, as OpenAI's `prompt_tokens` counts it (cached included)."""
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
        """All output, as OpenAI's `completion_tokens` counts it (reasoning included)."""
        return (
            self.output_tokens + self.reasoning_tokens + self.audio_output_tokens + self.image_output_tokens
        )

    @property
    def total_tokens(self) -> int:
        """Every token of the request, input and output."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        """Field by field."""
        return Usage(*[getattr(self, name) + getattr(other, name) for name in FIELDS])


FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Usage))
"""Names of the vector's fields, in order; also the column names of a usage event."""
