"""Use cases of the assistant: each is one transaction on the hub's database, plus the launch of a run."""

import asyncio
from collections.abc import Callable

from tokenhub.assistant import run_store, store
from tokenhub.assistant.completions import list_models
from tokenhub.assistant.ports import Books, Credentials, Envelope
from tokenhub.assistant.runs import Runner
from tokenhub.assistant.schemas import ConversationChange, NewRun
from tokenhub.assistant.types import (
    BooksLine,
    Conversation,
    Message,
    MessageId,
    Run,
    Turn,
)
from tokenhub.db.engine import Database
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import Conflict, HubError, InvalidRequest, Unauthenticated

HISTORY_MAX = 200
"""Messages of a branch that a model is shown, at most."""
TITLE_CHARS = 60


class Assistant:
    """The assistant of one app process. Methods that touch the database are synchronous; call them from threads."""

    def __init__(
        self,
        database: Database,
        runner: Runner,
        *,
        gateway_url: Callable[[], str],
        credentials: Credentials,
        books: Books,
    ) -> None:
        self.runner = runner
        self._database = database
        self._gateway_url = gateway_url
        self._credentials = credentials
        self._books = books

    async def models(self, principal: Principal) -> list[str]:
        """Models that the caller may use, asked of the gateway with the caller's delegated key."""
        secret = await asyncio.to_thread(self._credentials.secret_for, principal)
        for attempt in range(30):
            try:
                return await list_models(self._gateway_url(), secret=secret)
            except HubError as error:
                if error.status != 401:
                    raise
                if attempt == 29:
                    raise Unauthenticated(
                        "The gateway does not know this key (any more); sign in again."
                    ) from error
                await asyncio.sleep(0.1)
        raise AssertionError("unreachable")

    def envelopes(self, principal: Principal) -> list[Envelope]:
        """Limits on the caller's path."""
        return self._books.envelopes(principal)

    def line(self, principal: Principal, run_id: str) -> BooksLine | None:
        """The ledger's line of a run; None while it is not settled."""
        with self._database.read("hub") as connection:
            run = run_store.get_owned_run(connection, run_id, owner=principal.actor)
        return self._books.line(run.request_id) if run.request_id else None

    def conversations(
        self, principal: Principal, *, search: str, before: tuple[int, str] | None, limit: int
    ) -> list[Conversation]:
        """The caller's conversations, newest first."""
        with self._database.read("hub") as connection:
            return store.list_conversations(
                connection, owner=principal.actor, search=search, before=before, limit=limit
            )

    def create(self, principal: Principal, *, title: str, model: str) -> Conversation:
        """A new, empty conversation."""
        with self._database.write("hub") as connection:
            return store.create_conversation(
                connection,
                org_id=principal.org_id,
                owner=principal.actor,
                title=title,
                model=model,
                at_ms=now_ms(),
            )

    def messages(
        self, principal: Principal, conversation_id: str, *, before: str | None, limit: int
    ) -> tuple[Conversation, list[tuple[Message, BooksLine | None]], str | None]:
        """One page of the shown branch, oldest first, each answer with its ledger line; and where the page before ends."""
        with self._database.read("hub") as connection:
            conversation = store.get_conversation(connection, conversation_id, owner=principal.actor)
            head_id: str | None = conversation.head_id
            if before is not None:
                head_id = store.get_message(connection, conversation_id, before).parent_id
            page = store.branch(connection, conversation_id, head_id=head_id, limit=limit)
        lines = [self._line(message) for message in page]
        previous = page[0].id if page and page[0].parent_id is not None else None
        return conversation, list(zip(page, lines, strict=True)), previous

    def change(self, principal: Principal, conversation_id: str, wanted: ConversationChange) -> Conversation:
        """Rename, choose a model, or show another version of a turn."""
        with self._database.write("hub") as connection:
            store.get_conversation(connection, conversation_id, owner=principal.actor)
            head_id = None
            if wanted.head_id is not None:
                head_id = store.newest_leaf(connection, conversation_id, wanted.head_id)
            store.update_conversation(
                connection, conversation_id, title=wanted.title, model=wanted.model, head_id=head_id
            )
            return store.get_conversation(connection, conversation_id, owner=principal.actor)

    async def delete(self, principal: Principal, conversation_id: str) -> None:
        """Stop what is being written in it, then delete its texts for good."""
        for run in await asyncio.to_thread(self._running, principal, conversation_id):
            await self.runner.stop(run.id)
        await asyncio.to_thread(self._delete, principal, conversation_id)

    async def ask(
        self, principal: Principal, conversation_id: str, wanted: NewRun
    ) -> tuple[Run, MessageId | None]:
        """Store the question and an empty answer, and begin to write it. Raises: Conflict while one is being written."""
        run, user_message_id, turns = await asyncio.to_thread(
            self._store_question, principal, conversation_id, wanted
        )
        self.runner.launch(run, principal=principal, turns=turns)
        return run, user_message_id

    def owned_run(self, principal: Principal, run_id: str) -> Run:
        """Raises: NotFound unless the run is in a conversation of the caller."""
        with self._database.read("hub") as connection:
            return run_store.get_owned_run(connection, run_id, owner=principal.actor)

    def _line(self, message: Message) -> BooksLine | None:
        ended = message.request_id and message.status != "running"
        return self._books.line(message.request_id) if ended else None

    def _running(self, principal: Principal, conversation_id: str) -> list[Run]:
        with self._database.read("hub") as connection:
            store.get_conversation(connection, conversation_id, owner=principal.actor)
            return run_store.running_in_conversation(connection, conversation_id)

    def _delete(self, principal: Principal, conversation_id: str) -> None:
        with self._database.write("hub") as connection:
            store.get_conversation(connection, conversation_id, owner=principal.actor)
            store.delete_conversation(connection, conversation_id)

    def _store_question(
        self, principal: Principal, conversation_id: str, wanted: NewRun
    ) -> tuple[Run, MessageId | None, list[Turn]]:
        at_ms = now_ms()
        with self._database.write("hub") as connection:
            conversation = store.get_conversation(connection, conversation_id, owner=principal.actor)
            if run_store.running_in_conversation(connection, conversation_id):
                raise Conflict("An answer is being written in this conversation; stop it or wait for it.")
            model = wanted.model or conversation.model
            asked: MessageId | None = None
            if wanted.content is not None:
                parent_id = _parent(conversation, wanted)
                if parent_id is not None:
                    store.get_message(connection, conversation_id, parent_id)
                asked = store.add_message(
                    connection,
                    conversation_id=conversation.id,
                    parent_id=parent_id,
                    role="user",
                    content=wanted.content,
                    status="complete",
                    model="",
                    run_id=None,
                    at_ms=at_ms,
                )
                question_id: str | None = asked
            elif wanted.regenerate_id is not None:
                question_id = store.get_message(connection, conversation_id, wanted.regenerate_id).parent_id
            else:
                raise InvalidRequest(
                    "Give `content` to ask, or `regenerate_id` to have an answer written anew."
                )
            history = store.branch(connection, conversation_id, head_id=question_id, limit=HISTORY_MAX)
            if not history or history[-1].role != "user":
                raise InvalidRequest("Only an answer can be written anew.", param="regenerate_id")
            run_id = run_store.new_run_id()
            answer_id = store.add_message(
                connection,
                conversation_id=conversation.id,
                parent_id=history[-1].id,
                role="assistant",
                content="",
                status="running",
                model=model,
                run_id=run_id,
                at_ms=at_ms + 1,
            )
            run = run_store.add_run(
                connection,
                run_id=run_id,
                conversation_id=conversation.id,
                message_id=answer_id,
                process=self.runner.process,
                model=model,
                at_ms=at_ms,
            )
            title = None if conversation.title else title_of(wanted.content or history[0].content)
            store.update_conversation(
                connection, conversation.id, title=title, model=model, head_id=answer_id, at_ms=at_ms
            )
        return run, asked, turns_of(history)


def title_of(text: str) -> str:
    """A conversation's first title: the beginning of its first message, without a call to any model."""
    words = " ".join(text.split())
    return words if len(words) <= TITLE_CHARS else words[: TITLE_CHARS - 1].rstrip() + "…"


def turns_of(history: list[Message]) -> list[Turn]:
    """What the model is shown: turns with text, in order; a failed answer without text is left out with nothing in its place."""
    return [Turn(role=message.role, content=message.content) for message in history if message.content]


def _parent(conversation: Conversation, wanted: NewRun) -> MessageId | None:
    if wanted.root:
        return None
    return MessageId(wanted.parent_id) if wanted.parent_id is not None else conversation.head_id
