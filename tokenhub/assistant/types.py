"""Words of the assistant: conversations, messages, runs and their events."""

from dataclasses import dataclass, field
from typing import Literal, NewType

ConversationId = NewType("ConversationId", str)
MessageId = NewType("MessageId", str)
RunId = NewType("RunId", str)

Role = Literal["user", "assistant"]
Status = Literal["running", "complete", "stopped", "interrupted", "error"]
EventKind = Literal["start", "text", "reasoning", "end", "ledger", "snapshot"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One thread of messages; `running` tells whether an answer is being written now."""

    id: ConversationId
    title: str
    model: str
    head_id: MessageId | None
    created_at_ms: int
    updated_at_ms: int
    running: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `siblings` are the ids of all versions of this turn, oldest first, this one among them."""

    id: MessageId
    conversation_id: ConversationId
    parent_id: MessageId | None
    role: Role
    content: str
    reasoning: str
    status: Status
    model: str
    run_id: RunId | None
    created_at_ms: int
    request_id: str = ""
    finish_reason: str = ""
    error_code: str = ""
    error_message: str = ""
    siblings: tuple[MessageId, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One answer being written, or written."""

    id: RunId
    conversation_id: ConversationId
    message_id: MessageId
    model: str
    status: Status
    request_id: str
    finish_reason: str
    error_code: str
    error_message: str
    created_at_ms: int
    ended_at_ms: int | None


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One entry of a run's log; `data` is JSON. Numbers start at 1 and have no gaps."""

    seq: int
    kind: EventKind
    data: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model is shown of one message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. Texts are the whole answer so far, kept whatever the status."""

    status: Status
    text: str
    reasoning: str
    finish_reason: str = ""
    error_code: str = ""
    error_message: str = ""
    request_id: str = ""
    deltas: int = 0
    """Pieces of text that were kept: about the tokens, where the engine sends one a piece."""


@dataclass(frozen=True, slots=True)
class BooksLine:
    """What the ledger says about one answer: the numbers under a message. Amounts in nano-units of `currency`."""

    request_id: str
    transfer_id: str
    at_ms: int
    key_id: str
    model: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int
    amount_nano: int
    currency: str
    price_version_id: str
    finish: str
    source: str
    details: dict[str, str | int] = field(default_factory=dict[str, str | int])
    """Everything else that the statement carries, by its own names."""
