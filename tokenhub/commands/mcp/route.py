"""`POST /mcp`: the MCP server of the hub, streamable HTTP, stateless, JSON answers.

The key is the caller (`Authorization: Bearer`), as on every route; a browser's cookie is none here. There is nothing to
stream or to end, so GET and DELETE are refused as the protocol says (405).
"""

from importlib import import_module
from typing import Any

import anyio.to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.mcp.desk import Door, Json
from tokenhub.commands.registry import Registry
from tokenhub.http.auth import MCP, keyed_principal
from tokenhub.http.conventions import request_id_of
from tokenhub.http.errors import error_response
from tokenhub.http.state import state_of
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import HubError, InvalidRequest

SERVER = "tokenhub.commands.mcp.server"


class OnlyPost(InvalidRequest):
    """There is no stream to open and no session to end here."""

    status = 405
    code = "method_not_allowed"


def mcp_router(registry: Registry) -> APIRouter:
    """The one route."""
    router = APIRouter()
    router.add_route(MCP, _Endpoint(registry), include_in_schema=False)  # pyright: ignore[reportArgumentType]
    return router


class _Endpoint:
    """An ASGI application, because the SDK writes its answers itself."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if request.method != "POST":
                raise OnlyPost("MCP is spoken by POST here.", headers={"allow": "POST"})
            caller = await anyio.to_thread.run_sync(keyed_principal, request)
        except HubError as error:
            await error_response(error)(scope, receive, send)
            return
        # The SDK, which most hubs never need, is loaded by the first request.
        server: Any = await anyio.to_thread.run_sync(import_module, SERVER)
        limit = state_of(request).settings.body_bytes_max
        await server.serve_http(self._door(request, caller), scope, receive, send, body_bytes_max=limit)

    def _door(self, request: Request, caller: Principal) -> Door:
        def door(name: str, raw: Json, *, dry_run: bool = False, idempotency_key: str = "") -> Json:
            state = state_of(request)
            return execute(
                self._registry,
                Runtime(state.database, state.settings, state.clock),
                caller,
                name,
                raw,
                dry_run=dry_run,
                idempotency_key=idempotency_key,
                request_id=request_id_of(request),
            ).to_dict()

        return door
