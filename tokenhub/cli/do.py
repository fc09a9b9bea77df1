"""`hub do TEXT`: one sentence becomes one exact command; what writes is shown with its effect and asks first.

The hub offers the commands that the sentence may mean (`hub commands offer`), a model that is being served chooses
among them under a schema that lets it write nothing else, and the choice goes through the same door as every command:
permission, gates and audit are the server's. Without a model the best match by words is taken, and said so.
"""

import json
import shlex
import sys
from datetime import datetime
from typing import Any, cast

import click

from tokenhub.cli import exits
from tokenhub.cli.call import Transport, failure, find_remote, load_settings, transport
from tokenhub.cli.chat import Refused, refusal
from tokenhub.cli.connection import NoAnswer, Remote, Undecided
from tokenhub.cli.exits import exit_code
from tokenhub.cli.manifest import Verb, load
from tokenhub.cli.render import differences, print_envelope, print_error

Json = dict[str, Any]
MODEL_TIMEOUT_S = 120.0


@click.command(
    name="do",
    help="Say what you want in your own words; one exact command is proposed.\n\n"
    "What only reads runs at once. What writes is tried first, shown with every row that it would change, and asks.\n\n"
    "Examples:\n\n"
    "\b\n  hub do 'what do I have to do this week?'\n"
    "  hub do 'ask ana to order paper by friday'\n"
    "  hub do '让 ana 周五之前订纸' --dry-run",
)
@click.argument("text", nargs=-1, required=True)
@click.option("--model", help="Model that chooses; the first that is served if left out.")
@click.option("--dry-run", is_flag=True, help="Show the command and what it would change; run nothing.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print proposal and answer as JSON; what writes is only proposed."
)
@click.pass_context
def do(ctx: click.Context, text: tuple[str, ...], model: str | None, dry_run: bool, as_json: bool) -> None:
    """Propose, show, ask, run."""
    sentence = " ".join(text).strip()
    if not sentence:
        raise click.UsageError("Say what you want, such as `hub do 'list my tasks'`.", ctx)
    settings = load_settings()
    door, remote = transport(settings), find_remote(settings)
    envelope = door.call(
        load()["commands"]["offer"],
        {"text": sentence, "now": datetime.now().isoformat(timespec="minutes")},
        dry_run=False,
        idempotency_key="",
    )
    if not envelope["ok"]:
        _print_failure(envelope, as_json=as_json)
        ctx.exit(exit_code(envelope))
    options: list[Json] = envelope["data"]["items"]
    try:
        chosen, how = _choose(sentence, options, remote, model)
    except Refused as error:
        _print_failure(
            failure("no_choice", error.message, status=error.status, hint=error.hint), as_json=as_json
        )
        ctx.exit(error.code)
    proposal = {
        "command": chosen["command"],
        "arguments": chosen["arguments"],
        "line": line_of(chosen),
        "chosen_by": how,
    }
    if not as_json:
        click.echo(f"{proposal['line']}", err=True)
        click.echo(
            f"[{how}]" + ("" if chosen["complete"] else " Something was guessed: look closely."), err=True
        )
    code = _perform(door, chosen, proposal, dry_run=dry_run, as_json=as_json, currency=settings.currency)
    ctx.exit(code)


def line_of(option: Json) -> str:
    """The command as one would type it."""
    verb = _verb(option)
    arguments = cast(Json, option["arguments"])
    words = ["hub", verb.noun, verb.verb]
    placed = sorted(
        (param for param in verb.params if param.position is not None), key=lambda p: p.position or 0
    )
    for param in placed:
        if param.name not in arguments or param.many:
            break
        words.append(shlex.quote(str(arguments[param.name])))
        arguments = {name: value for name, value in arguments.items() if name != param.name}
    for name, value in arguments.items():
        words += _flags("--" + name.replace("_", "-"), value)
    return " ".join(words)


def _flags(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    if isinstance(value, list):
        return [word for item in cast(list[Any], value) for word in (flag, shlex.quote(str(item)))]
    return [flag, shlex.quote(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def _verb(option: Json) -> Verb:
    """The command of an option; one that this program does not know, such as an outside tool, by what the hub says."""
    name = str(option["command"])
    noun, _, verb = name.partition(".")
    found = load().get(noun, {}).get(verb)
    return found or Verb(name, str(option["summary"]), "", str(option["effect"]), "", (), (), (), ())


def _choose(text: str, options: list[Json], remote: Remote | None, model: str | None) -> tuple[Json, str]:
    """The option and who chose it. Raises: Refused, if the model that was named cannot be asked."""
    if model is None and (len(options) == 1 or remote is None):
        return options[0], "the only match" if len(options) == 1 else "best match by words; no hub runs"
    if remote is None:
        raise Refused("No hub runs here.", code=exits.UNAVAILABLE, hint="Start one with `hub up`.")
    name = model or _served(remote)
    if name is None:
        return options[0], "best match by words; no model is served"
    from tokenhub.agents.intent.choice import chosen_from, request_for
    from tokenhub.agents.intent.options import Option

    typed = [Option(**one) for one in options]
    try:
        status, answer = remote.json(
            "POST",
            "/v1/chat/completions",
            {"model": name, **request_for(text, typed)},
            timeout_s=MODEL_TIMEOUT_S,
        )
    except (NoAnswer, Undecided) as error:
        raise Refused(error.message, code=exits.UNAVAILABLE, hint="See `hub doctor`.") from error
    if status != 200:
        raise refusal(status, json.dumps(answer).encode())
    said = chosen_from(answer["choices"][0]["message"]["content"], typed)
    if said is None:
        return options[0], f"best match by words; {name} named none of them"
    tokens = answer.get("usage", {}).get("total_tokens", 0)
    return options[typed.index(said)], f"chosen by {name} among {len(options)}, {tokens} tokens"


def _served(remote: Remote) -> str | None:
    try:
        status, answer = remote.json("GET", "/v1/models")
    except (NoAnswer, Undecided):
        return None
    found = answer.get("data", ()) if status == 200 else ()
    return next((str(one["id"]) for one in found if "chat" in one.get("kinds", ("chat",))), None)


def _perform(
    door: Transport, chosen: Json, proposal: Json, *, dry_run: bool, as_json: bool, currency: str
) -> int:
    """Read at once; else try, show, ask, run. Exit code 8 where nobody could be asked."""
    verb, arguments = _verb(chosen), cast(Json, chosen["arguments"])
    if verb.effect == "read":
        envelope = None if dry_run else door.call(verb, arguments, dry_run=False, idempotency_key="")
        return _finish(envelope, verb, proposal, as_json=as_json, currency=currency)
    tried = door.call(verb, arguments, dry_run=True, idempotency_key="")
    if not tried["ok"] or dry_run or as_json or not sys.stdin.isatty():
        code = _finish(tried, verb, proposal, as_json=as_json, currency=currency)
        if code or dry_run:
            return code
        click.echo(f"Nothing was run: nobody is here to say yes. Run it with: {proposal['line']}", err=True)
        return exits.PENDING
    click.echo(differences(tried["changes"] or []), err=True)
    question = "Run it? It cannot be undone." if verb.effect == "irreversible" else "Run it?"
    if not click.confirm(question, default=False, err=True):
        click.echo("Nothing was run.", err=True)
        return exits.SUCCESS
    return _finish(
        door.call(verb, arguments, dry_run=False, idempotency_key=""),
        verb,
        proposal,
        as_json=as_json,
        currency=currency,
    )


def _finish(envelope: Json | None, verb: Verb, proposal: Json, *, as_json: bool, currency: str) -> int:
    if as_json:
        click.echo(json.dumps({"proposal": proposal, "answer": envelope}, ensure_ascii=False, indent=2))
    elif envelope is not None:
        print_envelope(envelope, verb, as_json=False, currency=currency)
    return exits.SUCCESS if envelope is None else exit_code(envelope)


def _print_failure(envelope: Json, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(envelope, ensure_ascii=False, indent=2))
    print_error(envelope["error"]["message"], envelope["error"]["hint"])
