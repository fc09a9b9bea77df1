"""`hub chat [MODEL] [-m TEXT]`: talk to a model through the gateway; tokens and price under each answer.

An answer is streamed as it is made. Ctrl-C closes the connection, which ends the engine's work; what was made until
then is what the books say. The price is the ledger's own line of that request, not a guess of this program.
"""

import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any, cast

import click

from tokenhub.cli import exits
from tokenhub.cli.call import failure, find_remote, load_settings
from tokenhub.cli.connection import NoAnswer, Remote, Undecided, events
from tokenhub.cli.render import print_error
from tokenhub.kernel.money import format_nano

Json = dict[str, Any]
SETTLED_WAIT_S = 5.0
FIRST_TOKEN_TIMEOUT_S = 330.0


class Refused(Exception):
    """The hub refused or broke off; the message is for the reader."""

    def __init__(self, message: str, *, code: int, hint: str = "", status: int = 503) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.hint = hint


@dataclass(slots=True)
class Answer:
    """One streamed answer."""

    request_id: str = ""
    text: str = ""
    usage: Json = field(default_factory=dict[str, Any])
    finish: str = ""
    stopped: bool = False


@dataclass(slots=True)
class Talk:
    """A conversation with one model."""

    remote: Remote
    model: str
    currency: str
    options: Json
    messages: list[Json] = field(default_factory=list[Json])

    def ask(self, text: str, *, quiet: bool = False) -> Answer:
        """Send one message and print the answer as it comes. Raises: Refused."""
        self.messages.append({"role": "user", "content": text})
        answer = Answer()
        try:
            self._stream(answer, quiet=quiet)
        except KeyboardInterrupt:
            answer.stopped = True
        except (NoAnswer, Undecided) as error:
            self.messages.pop()
            raise Refused(error.message, code=exits.UNAVAILABLE, hint="See `hub doctor`.") from error
        except Refused:
            self.messages.pop()
            raise
        if answer.text:
            self.messages.append({"role": "assistant", "content": answer.text})
        else:
            self.messages.pop()
        return answer

    def receipt(self, answer: Answer) -> str:
        """Tokens and price of an answer, from its line in the ledger (waits until it is settled)."""
        line = statement_line(self.remote, answer.request_id)
        if line is None:
            count = answer.usage.get("total_tokens")
            known = f"{count} tokens; " if count is not None else ""
            return f"{known}not settled yet: hub ledger show {answer.request_id}"
        prompt, completion = int(line["prompt_tokens"]), int(line["completion_tokens"])
        price = format_nano(int(line["amount_nano"]), currency=str(line.get("currency") or self.currency))
        return f"{prompt:,} in + {completion:,} out = {prompt + completion:,} tokens · {price} · {answer.request_id}"

    def _stream(self, answer: Answer, *, quiet: bool) -> None:
        body: Json = {
            "model": self.model,
            "messages": self.messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.options,
        }
        with self.remote.open(
            "POST", "/v1/chat/completions", body, timeout_s=FIRST_TOKEN_TIMEOUT_S
        ) as response:
            answer.request_id = response.getheader("x-request-id", "")
            if response.status != 200:
                raise refusal(response.status, response.read())
            for data in events(response):
                if data == "[DONE]":
                    break
                _take(answer, cast(Json, json.loads(data)), quiet=quiet)


def _take(answer: Answer, event: Json, *, quiet: bool) -> None:
    if event.get("error"):
        raise refusal(502, json.dumps(event).encode())
    answer.usage = event.get("usage") or answer.usage
    for choice in event.get("choices", ()):
        piece = choice.get("delta", {}).get("content") or ""
        answer.text += piece
        answer.finish = choice.get("finish_reason") or answer.finish
        if piece and not quiet:
            click.echo(piece, nl=False)
            sys.stdout.flush()


def refusal(status: int, body: bytes) -> Refused:
    """An error answer in words."""
    try:
        error: Json = json.loads(body)["error"]
        message, hint = str(error["message"]), str(error.get("hint") or "")
    except (ValueError, KeyError, TypeError):
        message, hint = f"The hub answered {status}.", ""
    return Refused(message, code=exits.status_exit(status), hint=hint, status=status)


def statement_line(remote: Remote, request_id: str) -> Json | None:
    """The ledger's line of one request; None if it is not settled within five seconds."""
    until = time.monotonic() + SETTLED_WAIT_S
    while request_id and time.monotonic() < until:
        try:
            status, envelope = remote.json(
                "POST", "/api/commands/ledger.show", {"request_id": request_id}, timeout_s=5
            )
        except (NoAnswer, Undecided):
            return None
        if status == 200:
            return cast(Json, envelope["data"]["line"])
        if status != 404:  # this key may not read the books
            return None
        time.sleep(0.1)
    return None


@click.command(
    help="Talk to a model; shows tokens and price of each answer.\n\n"
    "Without --message a conversation begins: an empty line ends it, Ctrl-C stops an answer. Text that is piped in "
    "is the message.\n\n"
    "Examples:\n\n"
    "\b\n  hub chat                               the first model, a conversation\n"
    "  hub chat qwen2.5-coder-0.5b-instruct -m 'Say hello.'\n"
    "  git diff | hub chat -s 'Write a commit message.'"
)
@click.argument("model", required=False)
@click.option("-m", "--message", help="One message; prints the answer and ends.")
@click.option("-s", "--system", help="System message.")
@click.option("--max-tokens", type=int, help="Most tokens of an answer.")
@click.option("--temperature", type=float, help="Sampling temperature.")
@click.option("--json", "as_json", is_flag=True, help="With --message: print one JSON object at the end.")
@click.pass_context
def chat(
    ctx: click.Context,
    model: str | None,
    message: str | None,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    as_json: bool,
) -> None:
    """One answer or a conversation."""
    settings = load_settings()
    remote = find_remote(settings)
    options = {"max_tokens": max_tokens, "temperature": temperature}
    try:
        if remote is None:
            hint = "Start one with `hub up`, or set TOKENHUB_URL and TOKENHUB_API_KEY."
            raise Refused("No hub runs here.", code=exits.UNAVAILABLE, hint=hint)
        talk = Talk(
            remote,
            model or _first_model(remote),
            settings.currency,
            {name: value for name, value in options.items() if value is not None},
            [{"role": "system", "content": system}] if system else [],
        )
        if message is None and not sys.stdin.isatty():
            message = sys.stdin.read()
        code = _once(talk, message, as_json=as_json) if message is not None else _converse(talk)
    except Refused as error:
        if as_json:
            click.echo(
                json.dumps(
                    failure("chat_failed", error.message, status=error.status, hint=error.hint),
                    ensure_ascii=False,
                    indent=2,
                )
            )
        print_error(error.message, error.hint)
        code = error.code
    ctx.exit(code)


def _first_model(remote: Remote) -> str:
    try:
        status, answer = remote.json("GET", "/v1/models")
    except (NoAnswer, Undecided) as error:
        raise Refused(error.message, code=exits.UNAVAILABLE, hint="Start it with `hub up`.") from error
    if status != 200:
        raise refusal(status, json.dumps(answer).encode())
    # A model that only embeds says so; the rest can talk.
    for found in answer.get("data", ()):
        if "chat" in found.get("kinds", ("chat",)):
            return str(found["id"])
    raise Refused("No model is being served.", code=exits.UNAVAILABLE, hint="See `hub model list`.")


def _once(talk: Talk, message: str, *, as_json: bool) -> int:
    answer = talk.ask(message, quiet=as_json)
    if as_json:
        line = statement_line(talk.remote, answer.request_id)
        data = {
            "model": talk.model,
            "text": answer.text,
            "finish": answer.finish,
            "request_id": answer.request_id,
            "usage": answer.usage,
            "ledger": line,
        }
        status = "failure" if answer.stopped else "success"
        click.echo(
            json.dumps(
                {"ok": not answer.stopped, "status": status, "data": data}, ensure_ascii=False, indent=2
            )
        )
    else:
        click.echo()
        click.echo(f"[{talk.receipt(answer)}]", err=True)
    return exits.INTERRUPTED if answer.stopped else exits.SUCCESS


def _converse(talk: Talk) -> int:
    click.echo(f"{talk.model}. An empty line ends it; Ctrl-C stops an answer.", err=True)
    while True:
        try:
            text = input("> ")
        except (EOFError, KeyboardInterrupt):
            click.echo(err=True)
            return exits.SUCCESS
        if not text.strip():
            return exits.SUCCESS
        try:
            answer = talk.ask(text)
        except Refused as error:
            print_error(error.message, error.hint)
            continue
        click.echo(" [stopped]" if answer.stopped else "")
        click.echo(f"[{talk.receipt(answer)}]", err=True)
