"""Carries a letter of the outbox to a URL: one POST, signed, with the letter's id as idempotency key.

The name is resolved here, every address is checked, and the connection goes to a checked address, so that a name which
changes its answer reaches nothing else. No proxy, no redirect, no cookie. What the receiver says beyond its status is
not read further than a few KiB. The whole exchange has one deadline.
"""

import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from tokenhub.db.outbox import Outcome
from tokenhub.work.delivery import Address, Attempt

CONNECT_S, DEADLINE_S = 5.0, 15.0
ANSWER_MAX = 4096
_RETRYABLE = {408, 425, 429}


class _Refused(Exception):
    """It must not be reached from here."""


class WebhookCarrier:
    """POSTs JSON. `private_hosts` are names and addresses of one's own network that may be reached."""

    def __init__(self, private_hosts: Collection[str] = (), *, deadline_s: float = DEADLINE_S) -> None:
        self._private = {host.strip().lower() for host in private_hosts if host.strip()}
        self._deadline_s = deadline_s
        self._tls: ssl.SSLContext | None = None

    def carry(self, address: Address, key: str, payload: Mapping[str, Any]) -> Attempt:
        """Never raises; says whether it arrived, surely did not, or may have."""
        body = json.dumps(dict(payload), ensure_ascii=False).encode()
        connection: http.client.HTTPConnection | None = None
        sent = False
        try:
            connection = self._connect(address.url)
            timer = threading.Timer(self._deadline_s, _cut, [connection.sock])
            timer.daemon = True
            timer.start()
            try:
                sent = True
                connection.request("POST", _path(address.url), body, _headers(address, key, body))
                with connection.getresponse() as answer:
                    return _judged(answer)
            finally:
                timer.cancel()
        except _Refused as error:
            return Attempt("refused", str(error))
        except (OSError, http.client.HTTPException, ValueError) as error:
            words = f"{type(error).__name__}: {error}"[:200]
            outcome: Outcome = "unknown" if sent else "later"
            return Attempt(outcome, words if sent else f"not reached ({words})")
        finally:
            if connection is not None:
                connection.close()

    def _connect(self, url: str) -> http.client.HTTPConnection:
        """An open connection to a checked address. Raises: _Refused, OSError."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        wrong = [one for one in addresses if not self._may_reach(host, one)]
        if wrong or not addresses:
            raise _Refused(
                f"{host} is {', '.join(wrong)}, which is no public address (see TOKENHUB_OUTBOX_PRIVATE_HOSTS)"
            )
        raw = _first_that_answers(addresses, port)
        connection = http.client.HTTPConnection(host, port, timeout=DEADLINE_S)
        connection.sock = raw
        if parts.scheme == "https":
            try:
                self._tls = self._tls or ssl.create_default_context()
                connection.sock = self._tls.wrap_socket(raw, server_hostname=host)
            except OSError:
                raw.close()
                raise
        return connection

    def _may_reach(self, host: str, address: str) -> bool:
        return host.lower() in self._private or address in self._private or is_public(address)


def is_public(address: str) -> bool:
    """True for an address that anybody on the internet has; also looks into addresses that carry another one."""
    try:
        found = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in ipaddress.IPv6Network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and not found.is_reserved


def _first_that_answers(addresses: list[str], port: int) -> socket.socket:
    problem: OSError = OSError("no address")
    for address in addresses[:4]:
        try:
            opened = socket.create_connection((address, port), timeout=CONNECT_S)
            opened.settimeout(DEADLINE_S)
            return opened
        except OSError as error:
            problem = error
    raise problem


def _judged(answer: http.client.HTTPResponse) -> Attempt:
    """By the status; a body that breaks off changes nothing."""
    status = answer.status
    if 200 <= status < 300:
        return Attempt("delivered", "")
    try:
        words = " ".join(answer.read(ANSWER_MAX).decode(errors="replace").split())[:200]
    except (OSError, http.client.HTTPException):
        words = ""
    outcome: Outcome = "later" if status in _RETRYABLE or status >= 500 else "refused"
    return Attempt(outcome, f"answered {status}: {words}".rstrip(": "))


def _headers(address: Address, key: str, body: bytes) -> dict[str, str]:
    at = str(int(time.time()))
    signed = hmac.new(address.secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/json; charset=utf-8",
        "user-agent": "TokenHub",
        "idempotency-key": key,
        "x-tokenhub-timestamp": at,
        "x-tokenhub-signature": f"sha256={signed}",
        "connection": "close",
    }


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _cut(opened: socket.socket) -> None:
    """The deadline has passed: wake whoever reads."""
    try:
        opened.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
