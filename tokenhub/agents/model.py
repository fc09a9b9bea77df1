"""One thought: a chat completion through the gateway, with the run's own key. The only place that knows the wire.

Blocking, one connection a call: it runs in the thread of its stretch. The idempotency key makes the gateway answer a
call that it has answered before with the same reply, which is not billed again.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from tokenhub.db.engine import Database
from tokenhub.identity.keys import add_secret
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import HubError

CONNECT_S = 5.0
SECRET_MS = 6 * 3_600_000
SECRETS_MAX = 4096
Verdict = Literal["answered", "again", "refused", "exhausted"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    verdict: Verdict
    """`again`: nobody knows, or not now; ask again under the same key. `exhausted`: a person's limit is used up."""
    message: dict[str, Any] = field(default_factory=dict[str, Any])
    """Of the assistant: `content` and `tool_calls`."""
    finish: str = ""
    tokens: int = 0
    """Prompt and completion, as they are billed."""
    prompt_tokens: int = 0
    request_id: str = ""
    code: str = ""
    why: str = ""
    retry_after_ms: int | None = None
    sent: bool = True
    """False: the call never left, so nothing of it can be billed."""


class Secrets:
    """Secrets of run keys, in memory only: each life of a worker adds its own to the key, whose id stays."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def of(self, key_id: str) -> str:
        """A secret that counts for an hour at least. Raises: SQLAlchemyError."""
        now = now_ms()
        with self._lock:
            held = self._held.get(key_id)
        if held is not None and held[1] - now > SECRET_MS // 6:
            return held[0]
        with self._database.write("hub") as connection:
            secret = add_secret(connection, key_id, ttl_ms=SECRET_MS, at_ms=now)
        with self._lock:
            while len(self._held) >= SECRETS_MAX:
                self._held.pop(next(iter(self._held)))
            self._held[key_id] = (secret, now + SECRET_MS)
        return secret

    def forget(self, key_id: str) -> None:
        """It was refused; the next call makes another."""
        with self._lock:
            self._held.pop(key_id, None)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The way to models."""

    url: Callable[[], str]
    secrets: Secrets

    def ask(self, body: str, *, key_id: str, key: str, timeout_s: float) -> Reply:
        """One completion; never raises for what the network or the gateway does."""
        try:
            url = self.url()
            secret = self.secrets.of(key_id)
        except (HubError, OSError, SQLAlchemyError, ValueError) as error:
            return Reply("again", code="no_gateway", why=str(error), sent=False)
        parts = urlsplit(url)
        make = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = make(parts.hostname or "127.0.0.1", parts.port, timeout=CONNECT_S)
        headers = {
            "authorization": f"Bearer {secret}",
            "content-type": "application/json",
            "idempotency-key": key,
        }
        sent = False
        try:
            connection.connect()
            connection.sock.settimeout(timeout_s)
            sent = True
            connection.request(
                "POST", f"{parts.path.rstrip('/')}/v1/chat/completions", body.encode(), headers
            )
            answer = connection.getresponse()
            status, told = answer.status, {name.lower(): value for name, value in answer.getheaders()}
            data = answer.read()
        except (OSError, HTTPException) as error:
            why = f"The gateway did not answer ({type(error).__name__}: {error})."
            return Reply("again", code="no_answer" if sent else "no_gateway", why=why, sent=sent)
        finally:
            connection.close()
        if status == 401:
            self.secrets.forget(key_id)
        return _read(status, told, data)


def _read(status: int, headers: dict[str, str], data: bytes) -> Reply:
    request_id = headers.get("x-request-id", "")
    try:
        body = cast(dict[str, Any], json.loads(data))
        if status == 200:
            return _answer(body, request_id)
        inner: object = body["error"]
        error = cast(dict[str, Any], inner if isinstance(inner, dict) else {"message": str(inner)})
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        why = f"The gateway answered {status} in an unknown form."
        return Reply(
            "again" if status >= 500 else "refused", request_id=request_id, code="bad_answer", why=why
        )
    code, why = _text(error.get("code") or error.get("type")), _text(error.get("message"))
    verdict: Verdict = "refused"
    if status in (402, 429):
        verdict = "exhausted"
    elif status in (401, 408) or status >= 500 or code == "idempotency_request_in_progress":
        verdict = "again"
    after = headers.get("retry-after", "")
    return Reply(
        verdict,
        request_id=request_id,
        code=code,
        why=why,
        retry_after_ms=int(after) * 1000 if after.isdigit() else None,
    )


def _answer(body: dict[str, Any], request_id: str) -> Reply:
    choice = body["choices"][0]
    message = choice["message"]
    usage = cast(dict[str, Any], body.get("usage") or {})
    prompt, completion = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    said = {"content": _text(message.get("content")), "tool_calls": _calls(message.get("tool_calls"))}
    kept = {name: value for name, value in said.items() if value}
    return Reply(
        "answered",
        message=kept,
        finish=str(choice.get("finish_reason") or ""),
        tokens=prompt + completion,
        prompt_tokens=prompt,
        request_id=request_id,
    )


def _text(value: object) -> str:
    """What a model said as text that can be stored, whatever it is."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return text.encode(errors="replace").decode().replace("\x00", "\ufffd")


def _calls(value: object) -> list[dict[str, Any]]:
    """Its tool calls in the form that the protocol asks for; what is none of them is a call without a name."""
    calls: list[dict[str, Any]] = []
    for one in cast(list[Any], value) if isinstance(value, list) else []:
        call = cast(dict[str, Any], one) if isinstance(one, dict) else {}
        inner = call.get("function")
        function = cast(dict[str, Any], inner) if isinstance(inner, dict) else {}
        named = {"name": _text(function.get("name")), "arguments": _text(function.get("arguments"))}
        calls.append({"id": _text(call.get("id")), "type": "function", "function": named})
    return calls
