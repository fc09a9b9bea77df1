"""One chat completion through the gateway, as pieces of text: the only place that knows the wire format."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from tokenhub.assistant.types import Turn
from tokenhub.assistant.upstream import Reply, open_request
from tokenhub.kernel.errors import HubError, UpstreamError


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Fault(msgspec.Struct):
    message: str = ""
    code: str | int | None = None
    type: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: _Fault | None = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] = []


_chunks = msgspec.json.Decoder(_Chunk)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text, some reasoning, or the reason why the answer ended."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""


class Completion:
    """An answer that is coming: the gateway's request id, then its pieces."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.request_id = reply.headers.get("x-request-id", "")

    async def pieces(self) -> AsyncIterator[Piece]:
        """Pieces in order. Raises: HubError if the stream carries an error or is cut."""
        async for line in self._reply.lines():
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            try:
                chunk = _chunks.decode(data)
            except msgspec.DecodeError as error:
                raise UpstreamError("The gateway sent something that is not a completion chunk.") from error
            if chunk.error is not None:
                raise _fault(chunk.error, 502)
            for choice in chunk.choices[:1]:
                delta = choice.delta
                yield Piece(
                    text=delta.content or "",
                    reasoning=delta.reasoning_content or delta.reasoning or "",
                    finish_reason=choice.finish_reason or "",
                )


@asynccontextmanager
async def complete(
    base_url: str, *, secret: str, model: str, turns: Sequence[Turn], idle_timeout_s: float = 330.0
) -> AsyncGenerator[Completion]:
    """Ask for one streamed answer. Raises: HubError with the gateway's own words when it refuses."""
    body = msgspec.json.encode(
        {
            "model": model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )
    headers = {
        "authorization": f"Bearer {secret}",
        "content-type": "application/json",
        "accept": "text/event-stream",
    }
    async with open_request(
        base_url,
        "/v1/chat/completions",
        method="POST",
        headers=headers,
        body=body,
        idle_timeout_s=idle_timeout_s,
    ) as reply:
        if reply.status != 200:
            raise await _refusal(reply)
        yield Completion(reply)


async def list_models(base_url: str, *, secret: str) -> list[str]:
    """Names of the models that this key may use. Raises: HubError."""
    async with open_request(base_url, "/v1/models", headers={"authorization": f"Bearer {secret}"}) as reply:
        if reply.status != 200:
            raise await _refusal(reply)
        return [model.id for model in msgspec.json.decode(await reply.read(), type=_Models).data]


class _Refusal(msgspec.Struct):
    error: _Fault = msgspec.field(default_factory=_Fault)


async def _refusal(reply: Reply) -> HubError:
    try:
        fault = msgspec.json.decode(await reply.read(), type=_Refusal).error
    except msgspec.DecodeError:
        fault = _Fault()
    refusal = _fault(fault, reply.status)
    refusal.headers["x-request-id"] = reply.headers.get("x-request-id", "")
    return refusal


def _fault(fault: _Fault, status: int) -> HubError:
    error = HubError(
        fault.message or f"The gateway answered with status {status}.",
        code=str(fault.code or fault.type or "upstream_error"),
    )
    error.status = status
    return error
