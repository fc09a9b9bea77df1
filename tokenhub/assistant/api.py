"""Routes of the assistant under /api/assistant. Thin: parse, call `service`, render."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
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
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest

KEEP_ALIVE_S = 15.0
_SSE_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def build_router(
    assistant: Assistant,
    *,
    authenticate: Callable[..., Principal],
    default_model: str,
    currency: str,
) -> APIRouter:
    """The routes. `authenticate` is a FastAPI dependency that returns the caller or raises Unauthenticated."""
    router = APIRouter(prefix="/api/assistant", tags=["assistant"])
    _add_reading(router, assistant, authenticate, default_model=default_model, currency=currency)
    _add_conversations(router, assistant, authenticate)
    _add_runs(router, assistant, authenticate)
    return router


def _add_reading(
    router: APIRouter,
    assistant: Assistant,
    authenticate: Callable[..., Principal],
    *,
    default_model: str,
    currency: str,
) -> None:
    @router.get("/models", summary="Models that the caller may use")
    async def models(principal: Annotated[Principal, Depends(authenticate)]) -> ModelList:
        names = await assistant.models(principal)
        default = default_model if default_model in names else next(iter(names), None)
        return ModelList(data=[ModelOut(id=name) for name in names], default=default)

    @router.get("/limits", summary="Limits of the caller: used, held and left")
    def limits(principal: Annotated[Principal, Depends(authenticate)]) -> EnvelopeList:
        return EnvelopeList(data=assistant.envelopes(principal), currency=currency)


def _add_conversations(
    router: APIRouter, assistant: Assistant, authenticate: Callable[..., Principal]
) -> None:
    @router.get("/conversations", summary="The caller's conversations, newest first")
    def list_conversations(
        principal: Annotated[Principal, Depends(authenticate)],
        search: Annotated[str, Query(max_length=200)] = "",
        after: Annotated[str, Query(max_length=100)] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 40,
    ) -> ConversationPage:
        found = assistant.conversations(principal, search=search, before=_cursor(after), limit=limit + 1)
        page = found[:limit]
        last = page[-1] if len(found) > limit else None
        return ConversationPage(data=page, next=f"{last.updated_at_ms}.{last.id}" if last else None)

    @router.post("/conversations", status_code=201, summary="Begin a conversation")
    def create(body: NewConversation, principal: Annotated[Principal, Depends(authenticate)]) -> Conversation:
        return assistant.create(principal, title=body.title, model=body.model)

    @router.get("/conversations/{conversation_id}", summary="A page of its shown branch, with ledger lines")
    def messages(
        conversation_id: str,
        principal: Annotated[Principal, Depends(authenticate)],
        before: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 40,
    ) -> MessagePage:
        conversation, page, previous = assistant.messages(
            principal, conversation_id, before=before, limit=limit
        )
        data = [MessageOut(message=message, ledger=line) for message, line in page]
        return MessagePage(conversation=conversation, data=data, previous=previous)

    @router.patch("/conversations/{conversation_id}", summary="Rename, choose a model, show another version")
    def change(
        conversation_id: str, body: ConversationChange, principal: Annotated[Principal, Depends(authenticate)]
    ) -> Conversation:
        return assistant.change(principal, conversation_id, body)

    @router.delete("/conversations/{conversation_id}", status_code=204, summary="Delete its texts for good")
    async def delete(
        conversation_id: str, principal: Annotated[Principal, Depends(authenticate)]
    ) -> Response:
        await assistant.delete(principal, conversation_id)
        return Response(status_code=204)


def _add_runs(router: APIRouter, assistant: Assistant, authenticate: Callable[..., Principal]) -> None:
    @router.post("/conversations/{conversation_id}/runs", status_code=201, summary="Ask for an answer")
    async def ask(
        conversation_id: str, body: NewRun, principal: Annotated[Principal, Depends(authenticate)]
    ) -> RunCreated:
        run, user_message_id = await assistant.ask(principal, conversation_id, body)
        return RunCreated(run=run, user_message_id=user_message_id)

    @router.get("/runs/{run_id}", summary="State of a run")
    def get_run(run_id: str, principal: Annotated[Principal, Depends(authenticate)]) -> Run:
        return assistant.owned_run(principal, run_id)

    @router.get("/runs/{run_id}/ledger", summary="Its line in the ledger; null until it is settled")
    def ledger(run_id: str, principal: Annotated[Principal, Depends(authenticate)]) -> BooksLine | None:
        return assistant.line(principal, run_id)

    @router.post("/runs/{run_id}/stop", summary="End the engine's work now; the text so far is kept")
    async def stop(run_id: str, principal: Annotated[Principal, Depends(authenticate)]) -> Run:
        await asyncio.to_thread(assistant.owned_run, principal, run_id)
        await assistant.runner.stop(run_id)
        return await asyncio.to_thread(assistant.owned_run, principal, run_id)

    @router.get(
        "/runs/{run_id}/events", summary="Its log from entry `after` on, then live (server-sent events)"
    )
    async def events(
        run_id: str,
        request: Request,
        principal: Annotated[Principal, Depends(authenticate)],
        after: Annotated[int, Query(ge=0)] = 0,
        last_event_id: Annotated[str, Header()] = "",
    ) -> StreamingResponse:
        run = await asyncio.to_thread(assistant.owned_run, principal, run_id)
        if last_event_id.isdigit():
            after = max(after, int(last_event_id))
        stream = _sse(assistant.runner.follow(run, after=after))
        return StreamingResponse(stream, media_type="text/event-stream", headers=_SSE_HEADERS)


async def _sse(events: AsyncIterator[RunEvent]) -> AsyncIterator[bytes]:
    """Entries as server-sent events; a comment when nothing happens, so that proxies keep the line open."""
    iterator = aiter(events)
    waiting: asyncio.Task[RunEvent | None] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(_next(iterator))
            done, _ = await asyncio.wait({waiting}, timeout=KEEP_ALIVE_S)
            if not done:
                yield b": still here\n\n"
                continue
            event = waiting.result()
            if event is None:
                yield b"event: close\ndata: {}\n\n"
                return
            waiting = None
            yield f"id: {event.seq}\nevent: {event.kind}\ndata: {event.data}\n\n".encode()
    finally:
        if waiting is not None:
            waiting.cancel()


async def _next(iterator: AsyncIterator[RunEvent]) -> RunEvent | None:
    return await anext(iterator, None)


def _cursor(after: str) -> tuple[int, str] | None:
    if not after:
        return None
    at_ms, _, last_id = after.partition(".")
    if not at_ms.isdigit() or not last_id:
        raise InvalidRequest("This cursor is not one that the hub gave.", param="after")
    return int(at_ms), last_id
