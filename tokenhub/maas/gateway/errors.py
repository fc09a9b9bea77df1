"""Errors of the data plane and their one rendering: the OpenAI error shape, headers included."""

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from tokenhub.kernel.errors import (
    HubError,
    InvalidRequest,
    LimitReached,
    UpstreamError,
)

_encode = msgspec.json.Encoder().encode


class ClientGone(Exception):
    """The client closed its connection; nobody is left to answer."""


class HeaderFieldsTooLarge(InvalidRequest):
    """431: too many or too large header fields."""

    status = 431
    code = "header_fields_too_large"


class UriTooLong(InvalidRequest):
    """414: the request target is too long."""

    status = 414
    code = "uri_too_long"


class RequestTimeout(InvalidRequest):
    """408: headers or body did not arrive in time."""

    status = 408
    code = "request_timeout"


class MethodNotAllowed(InvalidRequest):
    """405: `headers["allow"]` names the methods that work here."""

    status = 405
    code = "method_not_allowed"


class ExpectationFailed(InvalidRequest):
    """417: an `Expect` other than 100-continue."""

    status = 417
    code = "expectation_failed"


class HttpVersionNotSupported(InvalidRequest):
    """505: neither HTTP/1.1 nor HTTP/1.0."""

    status = 505
    code = "http_version_not_supported"


def error_object(error: HubError) -> dict[str, Any]:
    """`{"error": {"message", "type", "param", "code"}}`."""
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def error_body(error: HubError) -> bytes:
    """The error object as JSON."""
    return _encode(error_object(error))


def error_event(error: HubError) -> bytes:
    """The error object as one SSE event, for a fault after the answer has begun."""
    return b"data: " + error_body(error) + b"\n\n"


def error_headers(error: HubError) -> list[tuple[bytes, bytes]]:
    """Headers of an error answer: `x-should-retry`, `Retry-After` and what the error itself carries.

    An error that resets keeps the exact wait in `retry-after-ms`, for SDKs that read it.
    """
    headers = [
        (b"content-type", b"application/json"),
        (b"x-should-retry", b"true" if error.retryable else b"false"),
    ]
    headers += [
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()
    ]
    names = {name for name, _ in headers}
    if b"retry-after" in names and b"retry-after-ms" not in names:
        seconds = dict(headers)[b"retry-after"]
        if seconds.isdigit():
            headers.append((b"retry-after-ms", b"%d" % (int(seconds) * 1000)))
    if error.status == 503 and b"retry-after" not in names:
        headers += [(b"retry-after", b"1"), (b"retry-after-ms", b"1000")]
    return headers


def from_upstream(status: int, body: bytes, headers: dict[bytes, bytes]) -> HubError:
    """An upstream's refusal as an error of ours.

    Mistakes of the caller (400, 404 of a file, 413, 415, 422) keep the upstream's words; trouble between the hub
    and its provider (401, 402, 403, 404 of a route) is a 502, because the caller's key is not at fault.
    """
    message, kind, param, code = _read_error(body)
    if status == 429:
        retry = headers.get(b"retry-after", b"1").decode("latin-1")
        return LimitReached(
            message or "The upstream provider is rate limited; retry after the given time.",
            headers={"retry-after": retry},
        )
    if status in (400, 413, 415, 422):
        error = InvalidRequest(message or "The upstream refused the request.", code=code, param=param)
        error.status = 400 if status == 422 else status
        error.type = kind or error.type
        return error
    if status == 503:
        unavailable = UpstreamError(message or "The upstream is not ready.", code="upstream_unavailable")
        unavailable.status = 503
        return unavailable
    return UpstreamError(f"The upstream answered {status}{': ' + message if message else '.'}")


def _read_error(body: bytes) -> tuple[str, str | None, str | None, str | None]:
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return "", None, None, None
    outer = cast(dict[str, Any], decoded) if isinstance(decoded, dict) else {}
    inner: Any = outer.get("error", outer)
    if isinstance(inner, str):
        return inner[:1000], None, None, None
    error = cast(dict[str, Any], inner) if isinstance(inner, dict) else {}
    found = [
        value if isinstance(value, str) else None
        for value in map(error.get, ("message", "type", "param", "code"))
    ]
    return (found[0] or "")[:1000], found[1], found[2], found[3]


def allow(methods: Iterable[str]) -> dict[str, str]:
    """The `Allow` header."""
    return {"allow": ", ".join(methods)}
