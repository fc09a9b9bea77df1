"""Bodies of the assistant's routes."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tokenhub.assistant.ports import Envelope
from tokenhub.assistant.types import BooksLine, Conversation, Message, Run

Text = Annotated[str, Field(min_length=1, max_length=1_000_000)]
Title = Annotated[str, Field(min_length=1, max_length=200)]
ModelName = Annotated[str, Field(min_length=1, max_length=300)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewConversation(_Body):
    """An empty conversation."""

    model: ModelName
    title: Annotated[str, Field(max_length=200)] = ""


class ConversationChange(_Body):
    """Only what is given changes. `head_id` shows the branch that holds this message."""

    title: Title | None = None
    model: ModelName | None = None
    head_id: str | None = None


class NewRun(_Body):
    """Ask for an answer.

    `content` is a new user message: under `parent_id` (to continue there, or to put an edited version beside an older
    one), else at the end of the shown branch. Without `content`, `regenerate_id` names the answer to write anew.
    """

    content: Text | None = None
    parent_id: str | None = None
    root: bool = False
    """True puts the message at the very beginning, beside the first one (an edit of the first message)."""
    regenerate_id: str | None = None
    model: ModelName | None = None


class ConversationPage(BaseModel):
    """Conversations, newest first; `next` is the cursor of the page after."""

    data: list[Conversation]
    next: str | None


class MessageOut(BaseModel):
    """A message and, for a finished answer, its line in the ledger."""

    message: Message
    ledger: BooksLine | None


class MessagePage(BaseModel):
    """A branch's messages, oldest first; `previous` is the message to ask before, None at the beginning."""

    conversation: Conversation
    data: list[MessageOut]
    previous: str | None


class RunCreated(BaseModel):
    """The run, and the ids of the messages it belongs to."""

    run: Run
    user_message_id: str | None


class ModelOut(BaseModel):
    """One model that the caller may use."""

    id: str


class ModelList(BaseModel):
    """Models that the caller may use; `default` is the one to start with."""

    data: list[ModelOut]
    default: str | None


class EnvelopeList(BaseModel):
    """Limits of the caller, tightest first."""

    data: list[Envelope]
    currency: str
