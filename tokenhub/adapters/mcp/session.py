"""One exchange with an outside server: connect, list, perhaps call, leave.

A server may lie, hang, send garbage or too much. So each wait has a time-out, what comes is counted, nothing that it
sends is executed, followed (another host) or matched against its own patterns, and its requests to us are refused. A
call is sent once: neither this module nor the SDK's lower layer, which it uses, repeats a request.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tokenhub.adapters.mcp.program import program
from tokenhub.agents.mcp.types import Answer, Json, NoAnswer, NotReached, Seen, Server

BYTES_MAX = 8 * 2**20
"""Most that one exchange reads."""
CONNECT_S = 20.0
"""Longest time to connect and list; a program may be fetched first."""
PAGES_MAX = 20
TOOLS_MAX = 500
SCHEMA_MAX = 64 * 1024
TEXT_MAX = 200_000
"""Characters of an answer that are kept."""
_REFUSED = (types.METHOD_NOT_FOUND, types.INVALID_PARAMS)
"""Errors by which a server says that it did nothing; after any other, nobody knows."""


T = TypeVar("T")


async def tools(server: Server, home: Path) -> list[Seen]:
    """What the server lists now. Raises: NotReached."""

    async def use(client: Client, _limit: asyncio.Timeout) -> list[Seen]:
        return await _listed(client)

    found = await _exchange(server, home, use)
    if isinstance(found, BaseException):
        raise NotReached(_words(server, found)) from found
    return found


async def call(
    server: Server,
    home: Path,
    tool: str,
    arguments: Json,
    *,
    before: Callable[[Sequence[Seen]], Awaitable[bool]],
) -> Answer | None:
    """List, ask `before`, call; None if `before` said no. Raises: NotReached, NoAnswer."""
    sent, answer = False, None
    request = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=arguments))

    async def use(client: Client, limit: asyncio.Timeout) -> None:
        nonlocal sent, answer
        if await before(await _listed(client)):
            sent = True
            limit.reschedule(asyncio.get_running_loop().time() + server.timeout_ms / 1000)
            answer = _answer(await client.session.send_request(request, types.CallToolResult))

    error = await _exchange(server, home, use)
    if error is None or answer is not None:  # it answered, and perhaps failed to part
        return answer
    if not sent:
        raise NotReached(_words(server, error)) from error
    if isinstance(error, MCPError) and error.error.code in _REFUSED:
        return Answer(f"The server refused the call: {error.error.message[:500]}", None, failed=True)
    raise NoAnswer(_words(server, error)) from error


async def _exchange(
    server: Server, home: Path, use: Callable[[Client, asyncio.Timeout], Awaitable[T]]
) -> T | Exception:
    """Connect, use, part; what went wrong is returned, so that nothing a server provokes goes further."""
    try:
        async with asyncio.timeout(CONNECT_S) as limit, _connected(server, home) as client:
            return await use(client, limit)
    except Exception as error:  # noqa: BLE001  # what a stranger's server can provoke has no end
        return _cause(error)


@asynccontextmanager
async def _connected(server: Server, home: Path) -> AsyncGenerator[Client, None]:
    """A client in its session; raises whatever the server provokes, mostly in groups."""
    transport: AbstractAsyncContextManager[Any]
    if server.url:
        headers = {"accept-encoding": "identity"}
        if server.token:
            headers["authorization"] = f"Bearer {server.token}"
        wait = httpx2.Timeout(server.timeout_ms / 1000, connect=10.0)
        http = httpx2.AsyncClient(
            transport=_Counting(httpx2.AsyncHTTPTransport()), headers=headers, timeout=wait, trust_env=False
        )
        async with http, Client(streamable_http_client(server.url, http_client=http), cache=None) as client:
            yield client
        return
    transport = program(server, home, bytes_max=BYTES_MAX)
    async with Client(transport, cache=None) as client:
        yield client


async def _listed(client: Client) -> list[Seen]:
    """Every page of the tool list, within bounds. Raises: NotReached."""
    found: list[Seen] = []
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        request = types.ListToolsRequest(params=types.PaginatedRequestParams(cursor=cursor))
        page = await client.session.send_request(request, types.ListToolsResult)
        found += [_seen(tool) for tool in page.tools]
        cursor = page.next_cursor
        if len(found) > TOOLS_MAX:
            raise NotReached(f"It lists more than {TOOLS_MAX} tools.")
        if not cursor:
            break
    else:
        raise NotReached("Its list of tools has no end.")
    if len({tool.name for tool in found}) != len(found):
        raise NotReached("It lists two tools of one name.")
    return found


def _seen(tool: types.Tool) -> Seen:
    schema: Json = dict(tool.input_schema)
    if len(json.dumps(schema)) > SCHEMA_MAX:
        schema = {"type": "too large"}  # kept as unusable
    hints = {} if tool.annotations is None else tool.annotations.model_dump(exclude_none=True)
    return Seen(_clean(tool.name), _clean(tool.description or ""), schema, hints)


def _answer(result: types.CallToolResult) -> Answer:
    texts: list[str] = []
    notes: list[str] = []
    for block in result.content:
        if isinstance(block, types.TextContent):
            texts.append(block.text)
        else:
            notes.append(f"{block.type} left out")
    text = _clean("\n".join(texts))
    if len(text) > TEXT_MAX:
        notes.append(f"text cut at {TEXT_MAX} of {len(text)} characters")
        text = text[:TEXT_MAX]
    given: object = result.structured_content
    structured = cast(Json, given) if isinstance(given, dict) else None
    if structured is not None:
        written = json.dumps(structured, ensure_ascii=False)
        if len(written) > TEXT_MAX:
            notes.append(f"structured content of {len(written)} characters left out")
            structured = None
        else:
            structured = json.loads(_clean(written).replace("\\u0000", ""))
    return Answer(text, structured, failed=bool(result.is_error), notes=notes[:20])


def _clean(text: str) -> str:
    """Text that any database holds."""
    return text.replace("\x00", "").encode(errors="replace").decode()


def _words(server: Server, cause: BaseException) -> str:
    """What went wrong, in a sentence that holds no secret."""
    if isinstance(cause, TimeoutError):
        return f"The MCP server {server.name!r} did not answer in time."
    said = cause.error.message if isinstance(cause, MCPError) else str(cause)
    kind = "" if isinstance(cause, MCPError | NotReached) else f" ({type(cause).__name__})"
    words = _clean(said).replace(server.token, "…") if server.token else _clean(said)
    return f"The MCP server {server.name!r} cannot be spoken to{kind}: {' '.join(words.split())[:300]}"


def _cause(error: Exception) -> Exception:
    """The first error in groups of groups; one of ours before those that came of it."""
    if not isinstance(error, ExceptionGroup):
        return error
    group = cast("ExceptionGroup[Exception]", error)
    ours = group.subgroup(NotReached)
    return _cause((ours or group).exceptions[0])


class _Counting(httpx2.AsyncBaseTransport):
    """Ends an exchange that reads too much, or that is compressed, which would hide how much it is."""

    def __init__(self, below: httpx2.AsyncBaseTransport) -> None:
        self._below = below
        self._left = BYTES_MAX

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._below.handle_async_request(request)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("it compresses although it was asked not to")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Counted(response.stream, self)
        return response

    def count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise httpx2.RemoteProtocolError(f"it sends more than {BYTES_MAX} bytes")

    async def aclose(self) -> None:
        await self._below.aclose()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, below: httpx2.AsyncByteStream, counting: _Counting) -> None:
        self._below = below
        self._counting = counting

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._below:
            self._counting.count(len(part))
            yield part

    async def aclose(self) -> None:
        await self._below.aclose()
