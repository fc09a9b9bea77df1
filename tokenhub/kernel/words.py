"""Words for people."""

MESSAGE_MAX = 1000
"""Characters of a refusal's sentence."""


def clipped(words: str) -> str:
    """At most so many characters: of a caller's own long words in a message, only some are said back."""
    if len(words) <= MESSAGE_MAX:
        return words
    return f"{words[: MESSAGE_MAX - 200]} … {words[-180:]}"
