"""Routes of the assistant under /api/assistant. Thin: parse, call `service`, render."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from starlette.responses import Response

from tokenhub.assistant.schemas import (
    ConversationChange,
    ConversationPage,
    EnvelopeList,
    MessageOut,
    MessagePage,
    ModelList,
    ModelOut,
    NewConversation,
    NewRun,
    RunCreated,
)
from tokenhub.assistant.service import Assistant
from tokenhub.assistant.types import BooksLine, Conversation, Run, RunEvent
from tokenhub.http import sse
from tokenhub.http.auth import Caller
from tokenhub.kernel.errors import InvalidRequest


def build_router(
    assistant: Assistant,
    *,
    default_model: str,
    currency: str,
) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/assistant", tags=["assistant"])
    _add_reading(router, assistant, default_model=default_model, currency=currency)
    _add_conversations(router, assistant)
    _add_runs(router, assistant)
    return router


def _add_reading(
    router: APIRouter,
    assistant: Assistant,
    *,
    default_model: str,
    currency: str,
) -> None:
    @router.get("/models", summary="Models that the caller may use")
    async def models(principal: Caller) -> ModelList:
        names = await assistant.models(principal)
        default = default_model if default_model in names else next(iter(names), None)
        return ModelList(data=[ModelOut(id=name) for name in names], default=default)

    @router.get("/limits", summary="Limits of the caller: used, held and left")
    def limits(principal: Caller) -> EnvelopeList:
        return EnvelopeList(data=assistant.envelopes(principal), currency=currency)


def _add_conversations(router: APIRouter, assistant: Assistant) -> None:
    @router.get("/conversations", summary="The caller's conversations, newest first")
    def list_conversations(
        principal: Caller,
        search: Annotated[str, Query(max_length=200)] = "",
        after: Annotated[str, Query(max_length=100)] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 40,
    ) -> ConversationPage:
        found = assistant.conversations(principal, search=search, before=_cursor(after), limit=limit + 1)
        page = found[:limit]
        last = page[-1] if len(found) > limit else None
        return ConversationPage(data=page, next=f"{last.updated_at_ms}.{last.id}" if last else None)

    @router.post("/conversations", status_code=201, summary="Begin a conversation")
    def create(body: NewConversation, principal: Caller) -> Conversation:
        return assistant.create(principal, title=body.title, model=body.model)

    @router.get("/conversations/{conversation_id}", summary="A page of its shown branch, with ledger lines")
    def messages(
        conversation_id: str,
        principal: Caller,
        before: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 40,
    ) -> MessagePage:
        conversation, page, previous = assistant.messages(
            principal, conversation_id, before=before, limit=limit
        )
        data = [MessageOut(message=message, ledger=line) for message, line in page]
        return MessagePage(conversation=conversation, data=data, previous=previous)

    @router.patch("/conversations/{conversation_id}", summary="Rename, choose a model, show another version")
    def change(conversation_id: str, body: ConversationChange, principal: Caller) -> Conversation:
        return assistant.change(principal, conversation_id, body)

    @router.delete("/conversations/{conversation_id}", status_code=204, summary="Delete its texts for good")
    async def delete(conversation_id: str, principal: Caller) -> Response:
        await assistant.delete(principal, conversation_id)
        return Response(status_code=204)


def _add_runs(router: APIRouter, assistant: Assistant) -> None:
    @router.post("/conversations/{conversation_id}/runs", status_code=201, summary="Ask for an answer")
    async def ask(conversation_id: str, body: NewRun, principal: Caller) -> RunCreated:
        run, user_message_id = await assistant.ask(principal, conversation_id, body)
        return RunCreated(run=run, user_message_id=user_message_id)

    @router.get("/runs/{run_id}", summary="State of a run")
    def get_run(run_id: str, principal: Caller) -> Run:
        return assistant.owned_run(principal, run_id)

    @router.get("/runs/{run_id}/ledger", summary="Its line in the ledger; null until it is settled")
    def ledger(run_id: str, principal: Caller) -> BooksLine | None:
        return assistant.line(principal, run_id)

    @router.post("/runs/{run_id}/stop", summary="End the engine's work now; the text so far is kept")
    async def stop(run_id: str, principal: Caller) -> Run:
        await asyncio.to_thread(assistant.owned_run, principal, run_id)
        await assistant.runner.stop(run_id)
        return await asyncio.to_thread(assistant.owned_run, principal, run_id)

    @router.get(
        "/runs/{run_id}/events", summary="Its log from entry `after` on, then live (server-sent events)"
    )
    async def events(
        run_id: str,
        principal: Caller,
        after: Annotated[int, Query(ge=0)] = 0,
        last_event_id: Annotated[str, Header()] = "",
    ) -> StreamingResponse:
        run = await asyncio.to_thread(assistant.owned_run, principal, run_id)
        if last_event_id.isdigit():
            after = max(after, int(last_event_id))
        return sse.sse_response(_as_sse(assistant.runner.follow(run, after=after)))


async def _as_sse(events: AsyncGenerator[RunEvent]) -> AsyncIterator[bytes]:
    async with aclosing(events):
        async for event in events:
            yield sse.event(msgspec.Raw(event.data.encode()), name=event.kind, id=str(event.seq))
    yield sse.event({}, name="close")


def _cursor(after: str) -> tuple[int, str] | None:
    if not after:
        return None
    at_ms, _, last_id = after.partition(".")
    if not at_ms.isdigit() or not last_id:
        raise InvalidRequest("This cursor is not one that the hub gave.", param="after")
    return int(at_ms), last_id
