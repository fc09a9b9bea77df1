"""Bounds of prompts at upstreams that count them only afterwards. Looked at near a cap alone.

A token is at least one byte of text, so text plus a template's own words bounds a prompt. An upstream that has told
how many tokens a prompt had gives a closer bound for the next one that begins with the same role: what both have in
common, the template's own words included, cannot be more than that count, and what differs is bounded by its bytes.
This is no estimate from a ratio: it holds for text in any language.
"""

from collections import OrderedDict, deque
from hashlib import blake2b

import msgspec

from tokenhub.maas.gateway.request import ParsedRequest
from tokenhub.maas.gateway.validation import normal_bytes

TEMPLATE_TOKENS = 512
"""A template's own text: default system prompt, tool preamble, generation prompt."""
MESSAGE_TOKENS = 16
"""What a template writes around one message, its role aside."""
SEAM_TOKENS = 8
"""Where two prompts part, words may be cut into tokens differently."""
TEXT_BYTES_MAX = 32_768
"""So much of an earlier prompt's beginning is remembered."""
BODY_BYTES_MAX = 2**20
"""Larger requests are not looked into."""
TOLD_MAX = 8
"""Earlier prompts remembered of one deployment."""
DEPLOYMENTS_MAX = 32
_NEUTRAL = frozenset(
    [
        "model",
        "messages",
        "prompt",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
        "stop",
        "user",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
    ]
)
"""Fields that add nothing to a prompt. Any other may: prompts are then alike only where it is the same."""


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    text: str


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str | list[_Part]


_messages = msgspec.json.Decoder(list[_Message]).decode
_prompt = msgspec.json.Decoder(str).decode


def plain_text(request: ParsedRequest) -> bytes | None:
    """All that the client gives of the prompt, each message after a NUL; None where more than text is said in it.

    In front stands a digest of the fields that the upstream may write into the prompt as it likes (tools, schemas).
    Images, tool calls and reasoning are put into a prompt in ways that only the upstream knows.
    """
    if request.endpoint == "embeddings" or request.body_bytes > BODY_BYTES_MAX:
        return None
    try:
        if request.endpoint == "completions":
            text = "\0\n" + _prompt(request.fields["prompt"])
        else:
            text = "".join([_said(message) for message in _messages(request.fields["messages"])])
        return None if "think>" in text else _others(request) + text.encode()
    except (KeyError, UnicodeEncodeError, msgspec.MsgspecError):
        return None


def _others(request: ParsedRequest) -> bytes:
    named = sorted((name, bytes(raw)) for name, raw in request.fields.items() if name not in _NEUTRAL)
    return blake2b(repr(named).encode(), digest_size=16).hexdigest().encode() if named else b""


def _said(message: _Message) -> str:
    content = message.content
    if isinstance(content, str):
        return f"\0{message.role}\n{content}"
    if any(part.type != "text" for part in content):
        raise msgspec.ValidationError("not text alone")
    return "".join([f"\0{message.role}\n", *[part.text + "\n" for part in content]])


class PromptBounds:
    """What the deployments of one process have told about prompts; bounded in memory, never written down."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, deque[tuple[bytes, int]]] = OrderedDict()
        self._distrusted: set[str] = set()

    def bound(self, deployment_id: str, text: bytes) -> int | None:
        """The most tokens that a prompt of this text (as `plain_text` gives it) can have there; None: not known."""
        apart = [_apart(text) + TEMPLATE_TOKENS] if text.startswith(b"\0") else []
        return min([*apart, *self._closer(deployment_id, text)], default=None)

    def learn(self, deployment_id: str, text: bytes, *, tokens: int, bound: int) -> None:
        """The deployment counted `tokens` where `bound` was held. One that passes its bound is not trusted again."""
        if tokens > bound:
            self._distrusted.add(deployment_id)
            self._told.pop(deployment_id, None)
        if tokens <= 0 or deployment_id in self._distrusted:
            return
        told = self._told.setdefault(deployment_id, deque(maxlen=TOLD_MAX))
        self._told.move_to_end(deployment_id)
        if len(self._told) > DEPLOYMENTS_MAX:
            self._told.popitem(last=False)
        if min(self._closer(deployment_id, text), default=bound) > tokens + 2 * SEAM_TOKENS:
            told.append((text[:TEXT_BYTES_MAX], tokens))

    def _closer(self, deployment_id: str, text: bytes) -> list[int]:
        beside = [_beside(text, known, tokens) for known, tokens in self._told.get(deployment_id, ())]
        return [most for most in beside if most is not None]


def _apart(text: bytes) -> int:
    """The most tokens of a text by itself."""
    return normal_bytes(text) + text.count(b"\0") * MESSAGE_TOKENS


def _beside(text: bytes, known: bytes, tokens: int) -> int | None:
    """The most tokens of a text, if `known`, or what began with it, had so many; None where that tells nothing."""
    common = _common(text, known)
    return None if common < 0 else tokens + SEAM_TOKENS + _apart(text[common:])


def _common(one: bytes, other: bytes) -> int:
    """Bytes of the beginning that both share, up to where a word begins in both; -1: not even the first role."""
    if one == other and len(one) < TEXT_BYTES_MAX:
        return len(one)
    same, differs = 0, min(len(one), len(other)) + 1
    while differs - same > 1:  # one[:same] is shared, one[:differs] is not
        middle = (same + differs) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            differs = middle
    if same <= one.find(b"\n"):
        return -1
    return max(one.rfind(b" ", 0, same - 1), one.rfind(b"\0", 0, same))
