"""What a request head must be: our rules on top of the parser's, and their errors."""

import httptools

from tokenhub.kernel.errors import HubError, InvalidRequest, PayloadTooLarge
from tokenhub.maas.gateway.errors import HttpVersionNotSupported
from tokenhub.maas.gateway.exchange import Exchange

_ONCE_ONLY = frozenset(
    {
        b"host",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"authorization",
        b"expect",
        b"idempotency-key",
    }
)


def read_head(
    parser: httptools.HttpRequestParser, exchange: Exchange, header_list: list[tuple[bytes, bytes]]
) -> HubError | None:
    """The parsed head into `exchange`; the error it deserves, if any."""
    headers = {name.lower(): value for name, value in header_list}
    exchange.header_list, exchange.headers = header_list, headers
    exchange.method = parser.get_method()
    version = parser.get_http_version()
    exchange.http11 = version == "1.1"
    exchange.keep_alive = parser.should_keep_alive()
    target = exchange.target
    if version not in ("1.1", "1.0"):
        return HttpVersionNotSupported("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if target[:1] != b"/" and target != b"*":
        return InvalidRequest("The request target must be a path.", code="invalid_target")
    mark = target.find(b"?")
    if mark >= 0:
        exchange.path, exchange.query = target[:mark], target[mark + 1 :]
    if len(headers) != len(header_list) and _repeated_once_only(header_list):
        return InvalidRequest("A header that may appear once was repeated.", code="invalid_header")
    if exchange.http11 and b"host" not in headers:
        return InvalidRequest("The Host header is missing.", code="invalid_header")
    coding = headers.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or not exchange.http11):
        return InvalidRequest("Only `Transfer-Encoding: chunked` is understood.", code="invalid_header")
    return None


def _repeated_once_only(headers: list[tuple[bytes, bytes]]) -> bool:
    seen: set[bytes] = set()
    for name, _ in headers:
        lowered = name.lower()
        if lowered in seen and lowered in _ONCE_ONLY:
            return True
        seen.add(lowered)
    return False


def size_of(headers: list[tuple[bytes, bytes]]) -> int:
    """Bytes of a head; the wire count may include a body that came in the same block."""
    return sum(len(name) + len(value) + 4 for name, value in headers)


def too_large(limit: int) -> HubError:
    """413."""
    return PayloadTooLarge(f"The request body exceeds {limit} bytes (TOKENHUB_BODY_BYTES_MAX).")


def describe(error: httptools.HttpParserError, data: bytes) -> HubError:
    """What the parser refused, as an error of ours."""
    if data.startswith(b"PRI * HTTP/2"):
        return HttpVersionNotSupported("HTTP/2 without TLS is not spoken here; use HTTP/1.1.")
    return InvalidRequest(f"Malformed HTTP request: {error}.", code="malformed_http")
