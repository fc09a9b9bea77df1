"""`install(app, state)`: request ids, security headers and error forms on every route of an app."""

import re
from dataclasses import dataclass

import structlog
from fastapi import FastAPI, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokenhub.http.errors import error_response, install_handlers
from tokenhub.http.state import HttpState, set_state
from tokenhub.kernel.errors import HubError
from tokenhub.kernel.ids import new_id

log = structlog.get_logger()

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""No inline script, no eval, nothing from another host."""

SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def install(app: FastAPI, state: HttpState) -> None:
    """Give an app the conventions; call it before adding routers."""
    set_state(app, state)
    install_handlers(app)
    app.add_middleware(Conventions)


def request_id_of(request: Request) -> str:
    """The id of this request, as its answer's `x-request-id` says."""
    return str(request.scope.get("tokenhub_request_id", ""))


@dataclass(slots=True)
class Conventions:
    """ASGI middleware: a request id in and out, bound to the log; security headers; no caching of /api."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope["tokenhub_request_id"] = request_id

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api"):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_headers)
            except Exception as error:
                log.exception("request_crashed", method=scope["method"], path=scope["path"])
                if started:  # nothing to mend any more: the server cuts the connection
                    raise
                crash = HubError("The hub failed at this request; its log has the reason.")
                crash.__cause__ = error
                await error_response(crash)(scope, receive, send_with_headers)


def _request_id(headers: Headers) -> str:
    """The gateway's id if it passed one on, else a fresh one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_id("req")
