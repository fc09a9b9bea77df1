"""One wire form for every error: OpenAI's `{"error": {message, type, param, code}}`, with a `hint` of ours."""

from typing import Any, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from tokenhub.db.failures import unanswered
from tokenhub.kernel.errors import HubError, InvalidRequest, NotFound

log = structlog.get_logger()


def error_body(error: HubError) -> dict[str, Any]:
    """The body that goes with `error.status`."""
    shown = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    if error.hint:
        shown["hint"] = error.hint
    return {"error": shown}


def error_headers(error: HubError) -> dict[str, str]:
    """`x-should-retry` for every error, and the error's own headers (`retry-after`, quota)."""
    return {"x-should-retry": "true" if error.retryable else "false", **error.headers}


def error_response(error: HubError) -> JSONResponse:
    """The whole answer."""
    return JSONResponse(error_body(error), status_code=error.status, headers=error_headers(error))


def failure_response(request: Request, error: Exception) -> JSONResponse:
    """The answer to one of our errors, or to a database that did not answer."""
    return (
        _on_hub_error(request, error) if isinstance(error, HubError) else _on_database_error(request, error)
    )


def install_handlers(app: FastAPI) -> None:
    """Render our errors, FastAPI's and Starlette's in the one form."""
    app.add_exception_handler(HubError, _on_hub_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(OperationalError, _on_database_error)


def _on_hub_error(_request: Request, error: Exception) -> JSONResponse:
    return error_response(cast(HubError, error))


def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    failure = cast(OperationalError, error)
    log.error("database_unavailable", path=request.url.path, error=str(failure.orig))
    return error_response(unanswered(failure))


def _on_validation_error(_request: Request, error: Exception) -> JSONResponse:
    first = cast(RequestValidationError, error).errors()[0]
    param = ".".join(str(part) for part in first["loc"] if part != "body") or None
    what = f"`{param}`: {first['msg']}" if param else str(first["msg"])
    return error_response(InvalidRequest(f"{what}.", code="invalid_argument", param=param))


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    raised = cast(HTTPException, error)
    if raised.status_code == 404:
        return error_response(NotFound(f"No route {request.method} {request.url.path}.", code="unknown_url"))
    made = HubError(str(raised.detail), code=_CODES.get(raised.status_code, "http_error"))
    made.status = raised.status_code
    made.type = "invalid_request_error" if raised.status_code < 500 else "server_error"
    made.headers.update(raised.headers or {})
    return error_response(made)


_CODES = {405: "method_not_allowed", 413: "payload_too_large", 415: "unsupported_media_type"}
