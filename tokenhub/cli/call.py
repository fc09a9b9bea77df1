"""How a verb runs: over HTTP if a hub runs (or TOKENHUB_URL says where), else in this process. The same door both ways.

In this process the caller is the local operator: whoever owns the state folder commands its hub. Nothing is retried
silently; where it is unknown whether a write happened, the message says how to ask again safely.
"""

import json
import logging
import os
import sys
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import quote, urlsplit
from uuid import uuid4

import click

from tokenhub import config
from tokenhub.cli.connection import NoAnswer, Remote, Undecided
from tokenhub.cli.exits import exit_code
from tokenhub.cli.follow import follow
from tokenhub.cli.manifest import Verb
from tokenhub.cli.render import print_envelope
from tokenhub.config import Settings
from tokenhub.http.address import running_hub

Json = dict[str, Any]
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Transport(Protocol):
    """A way to the door."""

    def call(self, verb: Verb, arguments: Json, *, dry_run: bool, idempotency_key: str) -> Json:
        """The envelope."""
        ...


def run_verb(
    verb: Verb, arguments: Json, *, as_json: bool, dry_run: bool = False, idempotency_key: str = ""
) -> int:
    """Run a declared verb, print its answer, return the exit code."""
    settings = load_settings()
    way = transport(settings)
    envelope = way.call(verb, arguments, dry_run=dry_run, idempotency_key=idempotency_key)
    if verb.name == "agent.run" and envelope["status"] == "pending" and isinstance(way, RemoteDoor):
        started = envelope["data"]
        if not started["detached"] and not dry_run:
            return follow(way, str(started["id"]), as_json=as_json, currency=settings.currency)
    print_envelope(envelope, verb, as_json=as_json, currency=settings.currency)
    return exit_code(envelope)


def load_settings() -> Settings:
    """The settings. Raises: click.UsageError naming the variable that is wrong."""
    try:
        return config.load_settings()
    except config.InvalidSetting as error:
        raise click.UsageError(error.message) from error


def transport(settings: Settings) -> Transport:
    """HTTP to the hub that runs, else this process."""
    remote = find_remote(settings)
    return RemoteDoor(remote) if remote is not None else LocalDoor(settings)


def find_remote(settings: Settings) -> Remote | None:
    """The hub to talk to with the key to use, or None if none runs or no key is at hand.

    Without any key, the owner of the state folder still gets through in this process.
    """
    key = settings.api_key or local_key(settings)
    if settings.url:
        try:
            here = (urlsplit(settings.url).hostname or "") in _LOOPBACK
        except ValueError as error:
            raise click.UsageError(
                f"TOKENHUB_URL {settings.url!r} is not a URL such as http://127.0.0.1:8080."
            ) from error
        if not settings.api_key and not (here and key):  # this machine's key is for this machine
            raise click.UsageError("TOKENHUB_URL names another hub; set TOKENHUB_API_KEY to a key of it.")
        return Remote(settings.url.rstrip("/"), key)
    running = running_hub(settings)
    if running is None or not key or not _alive(running.pid):
        return None
    return Remote(running.url, key)


def local_key(settings: Settings) -> str:
    """The key in `home/credentials`, empty if there is none."""
    try:
        return str(json.loads((settings.home / "credentials").read_text())["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def failure(code: str, message: str, *, status: int, hint: str = "") -> Json:
    """An envelope for what failed on this side."""
    error = {"code": code, "message": message, "hint": hint, "param": None, "type": "", "status": status}
    return {
        "ok": False,
        "status": "failure",
        "data": None,
        "error": error,
        "audit_id": None,
        "dry_run": False,
        "next": "",
        "changes": None,
        "replayed": False,
    }


@dataclass(frozen=True, slots=True)
class RemoteDoor:
    """The door of a running hub, by HTTP."""

    remote: Remote

    def call(self, verb: Verb, arguments: Json, *, dry_run: bool, idempotency_key: str) -> Json:
        """The envelope that the hub answers, or one that says why there is none."""
        headers: dict[str, str] = {}
        if verb.effect != "read":
            idempotency_key = idempotency_key or uuid4().hex
            headers["idempotency-key"] = idempotency_key
        path = f"/api/commands/{quote(verb.name)}" + ("?dry_run=true" if dry_run else "")
        try:
            status, answer = self.remote.json("POST", path, arguments, headers=headers)
        except NoAnswer as error:
            return failure("no_hub", error.message, status=503, hint="Start it with `hub up`.")
        except Undecided as error:
            if verb.effect == "read":
                return failure("connection_lost", error.message, status=503, hint="Try again.")
            hint = f"Ask again safely: the same command with `--idempotency-key {idempotency_key}`."
            message = f"{error.message} It is unknown whether the change was made."
            return failure("outcome_unknown", message, status=503, hint=hint)
        if "status" in answer and "ok" in answer:
            return answer
        return _refused(status, answer)


@dataclass(frozen=True, slots=True)
class LocalDoor:
    """The door in this process, as the local operator."""

    settings: Settings

    def call(self, verb: Verb, arguments: Json, *, dry_run: bool, idempotency_key: str) -> Json:
        """The envelope."""
        from tokenhub.cli.local import run_local

        configure_logging()
        return run_local(
            self.settings, verb.name, arguments, dry_run=dry_run, idempotency_key=idempotency_key
        )


def configure_logging() -> None:
    """Logs go to standard error, from warnings on; standard output holds answers only."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _refused(status: int, answer: Json) -> Json:
    """An error that is no envelope (sign-in, gateway) as one."""
    error = cast(Json | None, answer.get("error"))
    if not error:
        return failure(
            "bad_answer", f"The hub answered {status} in an unknown form.", status=max(status, 500)
        )
    hint = str(error.get("hint") or "")
    if status == 401 and not hint:
        hint = "Set TOKENHUB_API_KEY to a key that counts."
    return failure(str(error.get("code")), str(error.get("message")), status=status, hint=hint)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
