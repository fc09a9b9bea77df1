"""Who calls: a Bearer key (or `x-api-key`), else the console's session cookie.

A cookie is sent by a browser without being asked, so a write that rides on one must come from a page of this
hub: SameSite=Strict keeps other sites' requests without it, and the Origin is compared as well.
"""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from tokenhub.http.state import state_of
from tokenhub.identity.keys import authenticate
from tokenhub.identity.sessions import session_principal
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import PermissionDenied, Unauthenticated

COOKIE = "th_session"
COMMANDS = "/api/commands"
MCP = "/mcp"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def current_principal(request: Request) -> Principal:
    """The caller of this request. Raises: Unauthenticated, PermissionDenied (a write from another site)."""
    state = state_of(request)
    token = request.cookies.get(COOKIE)
    if _bearer(request) is None and token:
        check_origin(request)
        with state.database.read("hub") as connection:
            return _bounded(request, session_principal(connection, token, at_ms=state.clock.now_ms()))
    return keyed_principal(request)


def keyed_principal(request: Request) -> Principal:
    """The caller by the key alone, whatever cookies come along. Raises: Unauthenticated, PermissionDenied."""
    state = state_of(request)
    secret = _bearer(request)
    if secret is not None:
        with state.database.look("hub") as connection:
            return _bounded(request, authenticate(connection, secret, at_ms=state.clock.now_ms()))
    raise Unauthenticated(
        "No API key. Send `Authorization: Bearer <key>`, or sign in.",
        code="missing_api_key",
        headers={"www-authenticate": "Bearer"},
    )


Caller = Annotated[Principal, Depends(current_principal)]
"""Parameter type of a route that needs to know who calls: `def route(caller: Caller)`."""


def check_origin(request: Request) -> None:
    """Refuse a write that a page of another site sends with this hub's cookie. Raises: PermissionDenied."""
    if request.method in _SAFE:
        return
    origin = request.headers.get("origin")
    if origin is None:
        same = request.headers.get("sec-fetch-site") in ("same-origin", "none")
    else:
        same = urlsplit(origin).netloc == request.headers.get("host")
    if not same:
        raise PermissionDenied(
            "A write with a session cookie must come from this hub's own page.", code="cross_site"
        )


def _bounded(request: Request, principal: Principal) -> Principal:
    """An agent acts by commands, where its grant is asked, and by no other route. Raises: PermissionDenied."""
    if principal.grant_id is not None and not request.url.path.startswith((COMMANDS, MCP)):
        raise PermissionDenied(
            "An agent's key opens the commands and the models, nothing else.",
            code="agents_use_commands",
            hint="See `GET /api/commands`.",
        )
    return principal


def _bearer(request: Request) -> str | None:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("x-api-key") or None
