"""The error tree. Every refusal a caller can see is one of these; packages add leaves, never roots.

    HubError                        status 500, something the caller should be told
    ├── InvalidRequest              400  malformed or not allowed as written
    │   └── ContextLengthExceeded   400
    ├── Unauthenticated             401  no, unknown, expired or revoked key
    ├── PaymentRequired             402  a lifetime budget or wallet is used up; retrying is of no use
    ├── PermissionDenied            403  known, but may not
    ├── NotFound                    404
    ├── Conflict                    409
    ├── PayloadTooLarge             413
    ├── LimitReached                429  a window is used up; it resets at `resets_at_ms`
    ├── UpstreamError               502  the engine or provider failed
    ├── Unavailable                 503  nothing here can serve it now
    └── UpstreamTimeout             504

Each carries what a face (OpenAI JSON, Anthropic JSON, CLI) needs: status, type, code, param, headers.
"""

from collections.abc import Mapping


class HubError(Exception):
    """A refusal or failure with a sentence that tells the reader what to do next."""

    status: int = 500
    type: str = "server_error"
    code: str = "internal_error"
    retryable: bool = False
    """False sends `x-should-retry: false`, so that official SDKs do not retry by themselves."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        """What to do next, mostly a command; shown after the message."""
        if code is not None:
            self.code = code
        self.param = param
        self.headers: dict[str, str] = dict(headers or {})


class InvalidRequest(HubError):
    """400: the request is malformed; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class ContextLengthExceeded(InvalidRequest):
    """400: prompt and answer do not fit the model's context."""

    code = "context_length_exceeded"


class Unauthenticated(HubError):
    """401: no key, or one that is unknown, expired or revoked."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class PaymentRequired(HubError):
    """402: a budget without a reset is used up."""

    status = 402
    type = "insufficient_quota"
    code = "insufficient_quota"


class PermissionDenied(HubError):
    """403: the key is known but may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFound(HubError):
    """404: no such thing, or none that the caller may see."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class Conflict(HubError):
    """409: clashes with the present state."""

    status = 409
    type = "invalid_request_error"
    code = "conflict"


class PayloadTooLarge(HubError):
    """413: body or headers over the configured bound."""

    status = 413
    type = "invalid_request_error"
    code = "payload_too_large"


class LimitReached(HubError):
    """429: a window (rate or budget) is used up until `resets_at_ms`.

    code is `rate_limit_exceeded` (requests, tokens per minute, concurrency; retryable) or
    `insufficient_quota` (a budget window; not retryable).
    """

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        resets_at_ms: int | None = None,
    ) -> None:
        super().__init__(message, code=code, param=param, headers=headers)
        self.resets_at_ms = resets_at_ms
        if self.code == "insufficient_quota":
            self.type = "insufficient_quota"
            self.retryable = False


class UpstreamError(HubError):
    """502: the engine or provider failed or answered nonsense."""

    status = 502
    type = "server_error"
    code = "upstream_error"
    retryable = True


class Unavailable(HubError):
    """503: starting, draining, or no healthy deployment."""

    status = 503
    type = "server_error"
    code = "service_unavailable"
    retryable = True


class UpstreamTimeout(HubError):
    """504: connect, first-token or idle time-out at the engine or provider."""

    status = 504
    type = "server_error"
    code = "upstream_timeout"
    retryable = True
