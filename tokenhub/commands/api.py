"""HTTP face of the commands: `GET /api/commands`, `GET /api/commands/<name>`, `POST /api/commands/<name>`.

The body is the command's arguments; `?dry_run=true` runs and rolls back; `Idempotency-Key` makes a retry safe.
The answer is the envelope, with the HTTP status of its error (202 for pending, 207 for partial_failure).

A call without a query takes `PlainCalls` instead of the routes, which says the same: a framework that compares the
path with some two hundred routes, and goes to three threads for one call, costs twice what the command does.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.types import ASGIApp, Receive, Scope, Send

from tokenhub.commands.declare import Command
from tokenhub.commands.describe import describe, inlined, summarize
from tokenhub.commands.door import KEY_MAX, Runtime, execute
from tokenhub.commands.envelope import Envelope
from tokenhub.commands.registry import Registry
from tokenhub.http.auth import COMMANDS, Caller, current_principal
from tokenhub.http.conventions import request_id_of
from tokenhub.http.errors import failure_response
from tokenhub.http.state import state_of
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import HubError, InvalidRequest

_STATUS = {"success": 200, "pending": 202, "partial_failure": 207}


def router_of(registry: Registry) -> APIRouter:
    """One route per command, and the two that describe them."""
    router = APIRouter(prefix=COMMANDS, tags=["commands"])

    @router.get("", summary="Every command: name, summary, effect, permission")
    def list_commands(_caller: Caller) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Every command: name, summary, effect, permission."""
        return {"items": [summarize(declared) for declared in registry]}

    @router.get("/{name}", summary="One command with the schemas of its arguments and result")
    def describe_command(name: str, caller: Caller, request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """One command with the JSON schemas of its arguments and result."""
        return describe(registry.find_in(state_of(request).database, caller.org_id, name))

    for declared in registry:
        router.add_api_route(
            f"/{declared.name}",
            _endpoint(registry, declared.name),
            methods=["POST"],
            name=declared.name,
            operation_id=declared.name.replace(".", "_").replace("-", "_"),
            summary=declared.summary,
            description=declared.description or declared.summary,
            response_model=None,
            openapi_extra=_openapi(declared),
        )

    router.add_api_route(
        "/{name}",
        _endpoint(registry, ""),
        methods=["POST"],
        response_model=None,
        include_in_schema=False,  # a tool of an outside server, or a name that no command has
    )

    return router


@dataclass(frozen=True, slots=True)
class PlainCalls:
    """ASGI middleware: `POST /api/commands/<name>` without a query, in one thread from the key to the answer's bytes."""

    app: ASGIApp
    registry: Registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or leave it to the routes."""
        name = _plain(scope)
        if not name:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        key = request.headers.get("idempotency-key", "")
        if len(key) > KEY_MAX:
            await self.app(scope, receive, send)
            return
        body = await request.body()
        response = await run_in_threadpool(self._answer, request, name, body, key)
        await response(scope, receive, send)

    def _answer(self, request: Request, name: str, body: bytes, key: str) -> JSONResponse:
        try:
            caller = current_principal(request)
            return _run(self.registry, request, caller, name, _object(body), key=key)
        except (HubError, OperationalError) as error:
            return failure_response(request, error)


def envelope_response(envelope: Envelope) -> JSONResponse:
    """The envelope as an HTTP answer."""
    error = envelope.error
    if error is None:
        return JSONResponse(envelope.to_dict(), status_code=_STATUS[envelope.status])
    return JSONResponse(envelope.to_dict(), status_code=error.status, headers=dict(error.headers))


def _plain(scope: Scope) -> str:
    """The command's name, if this is a plain call."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
        return ""
    path: str = scope["path"]
    name = path[len(COMMANDS) + 1 :] if path.startswith(COMMANDS + "/") else ""
    return "" if "/" in name else name


async def _arguments(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body has no arguments. Raises: InvalidRequest."""
    return _object(await request.body())


def _object(body: bytes) -> dict[str, Any]:
    try:
        raw: object = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not JSON.", code="invalid_json") from error
    if not isinstance(raw, dict):
        raise InvalidRequest("The body must be a JSON object: the command's arguments.", code="invalid_json")
    return cast(dict[str, Any], raw)


def _endpoint(registry: Registry, named: str) -> Callable[..., JSONResponse]:
    """Runs the command of this name, or without one that of the path."""

    def run(
        request: Request,
        caller: Caller,
        raw: Annotated[dict[str, Any], Depends(_arguments)],
        dry_run: Annotated[bool, Query(description="Run the effect and roll it back.")] = False,
        idempotency_key: Annotated[str, Header(max_length=256)] = "",
    ) -> JSONResponse:
        name = named or str(request.path_params["name"])
        return _run(registry, request, caller, name, raw, key=idempotency_key, dry_run=dry_run)

    return run


def _run(
    registry: Registry,
    request: Request,
    caller: Principal,
    name: str,
    raw: dict[str, Any],
    *,
    key: str,
    dry_run: bool = False,
) -> JSONResponse:
    state = state_of(request)
    envelope = execute(
        registry,
        Runtime(state.database, state.settings, state.clock),
        caller,
        name,
        raw,
        dry_run=dry_run,
        idempotency_key=key,
        request_id=request_id_of(request),
    )
    return envelope_response(envelope)


def _openapi(declared: Command) -> dict[str, Any]:
    schema = inlined(declared.arguments.model_json_schema())
    return {
        "requestBody": {
            "required": bool(schema.get("required")),
            "content": {"application/json": {"schema": schema}},
        }
    }
