"""A small HTTP client on the standard library: JSON calls and streams to a hub."""

import http.client
import json
import ssl
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

TIMEOUT_S = 60.0


class NoAnswer(Exception):
    """The hub was not reached: nothing happened there."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Undecided(Exception):
    """The connection broke after the request was sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Remote:
    """A hub and the key to use there."""

    url: str
    key: str

    def json(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> tuple[int, dict[str, Any]]:
        """One call: status and JSON object. Raises: NoAnswer, Undecided."""
        with self.open(method, path, body, headers=headers, timeout_s=timeout_s) as response:
            try:
                text = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise Undecided(f"The connection to {self.url} broke.") from error
            try:
                answer: object = json.loads(text) if text else {}
            except ValueError:
                answer = {}
            return response.status, cast(dict[str, Any], answer if isinstance(answer, dict) else {})

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Generator[http.client.HTTPResponse, None, None]:
        """One call, its answer open for reading; leaving closes the connection, which cancels a stream.

        Raises: NoAnswer if the hub cannot be reached, Undecided if it did not answer what was sent.
        """
        connection = self._connect(timeout_s)
        try:
            sent = {"authorization": f"Bearer {self.key}", "accept": "application/json", **(headers or {})}
            payload = None if body is None else json.dumps(body).encode()
            if payload is not None:
                sent["content-type"] = "application/json"
            try:
                connection.request(method, urlsplit(self.url).path + path, body=payload, headers=sent)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise Undecided(f"The hub at {self.url} did not answer.") from error
            except ValueError as error:  # raised before anything is sent
                raise NoAnswer(
                    "The key holds characters that no header carries; see TOKENHUB_API_KEY."
                ) from error
            yield response
        finally:
            connection.close()

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        unusable = NoAnswer(f"{self.url!r} is not a URL such as http://127.0.0.1:8080.")
        try:
            parts = urlsplit(self.url)
            scheme, host, port = parts.scheme, parts.hostname, parts.port
        except ValueError as error:
            raise unusable from error
        if scheme not in ("http", "https") or not host:
            raise unusable
        if scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=timeout_s, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        try:
            connection.connect()
        except OSError as error:
            raise NoAnswer(f"No hub answers at {self.url} ({error.strerror or error}).") from error
        return connection


def events(response: http.client.HTTPResponse) -> Iterator[str]:
    """The `data:` of each server-sent event, as it comes. Raises: Undecided if the stream breaks."""
    data: list[str] = []
    while True:
        try:
            line = response.readline()
        except (OSError, http.client.HTTPException) as error:
            raise Undecided("The stream broke.") from error
        if not line:
            return
        text = line.decode(errors="replace").rstrip("\r\n")
        if text.startswith("data:"):
            data.append(text[5:].lstrip(" "))
        elif not text and data:
            yield "\n".join(data)
            data = []
