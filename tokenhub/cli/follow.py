"""`hub agent run` at a terminal: each step as it happens, what the run asks, and its answer at the end.

Steps go to standard error, the answer to standard output. Ctrl-C leaves the run at work.
"""

import json
import time
from typing import Any, Protocol

import click

from tokenhub.cli.exits import FAILURE, INTERRUPTED, PENDING, exit_code
from tokenhub.cli.manifest import Verb, load
from tokenhub.cli.render import print_envelope
from tokenhub.kernel.money import format_nano

Json = dict[str, Any]
LOOK_EVERY_S = 0.25
PATIENCE_S = 60.0
"""How long the hub may not answer before it is given up."""
_ARGUMENTS_MAX = 100


class Transport(Protocol):
    """A way to the door."""

    def call(self, verb: Verb, arguments: Json, *, dry_run: bool, idempotency_key: str) -> Json:
        """The envelope."""
        ...


def follow(transport: Transport, run_id: str, *, as_json: bool, currency: str) -> int:
    """Show a run until it ends or asks; the exit code: 0 answered, 1 failed or stopped, 8 it waits for a person."""
    show = load()["agent"]["show"]
    shown = 0
    click.echo(run_id, err=True)
    try:
        while True:
            envelope = _look(transport, show, run_id)
            run: Json = envelope["data"] or {}
            if not run:
                print_envelope(envelope, show, as_json=as_json, currency=currency)
                return exit_code(envelope)
            for step in run["trace"][shown:]:
                if step["state"] == "open":
                    break
                click.echo(_line(step, currency), err=True)
                shown += 1
            if run["question"] is not None or run["state"] in ("done", "failed", "stopped"):
                return _end(envelope, run, show, as_json=as_json, currency=currency)
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        click.echo(
            f"\nIt goes on. Follow it: hub agent show {run_id}   Stop it: hub agent stop {run_id}", err=True
        )
        return INTERRUPTED


def _look(transport: Transport, show: Verb, run_id: str) -> Json:
    """The run, also across a restart of the hub."""
    until = time.monotonic() + PATIENCE_S
    while True:
        envelope = transport.call(show, {"run": run_id}, dry_run=False, idempotency_key="")
        error = envelope["error"]
        if error is None or error["status"] < 500 or time.monotonic() > until:
            return envelope
        time.sleep(LOOK_EVERY_S)


def _line(step: Json, currency: str) -> str:
    if step["kind"] == "model":
        cost = (
            "" if step["amount_nano"] is None else f", {format_nano(step['amount_nano'], currency=currency)}"
        )
        return f"  {step['seq']:>3}  thought ({step['tokens']} tokens{cost})"
    arguments = step["arguments"]
    if len(arguments) > _ARGUMENTS_MAX:
        arguments = arguments[:_ARGUMENTS_MAX] + "…"
    came = step["outcome"] + (f": {step['said']}" if step["said"] else "")
    return f"  {step['seq']:>3}  {step['name']} {arguments} → {came}"


def _end(envelope: Json, run: Json, show: Verb, *, as_json: bool, currency: str) -> int:
    question = run["question"]
    if as_json:
        print_envelope(envelope, show, as_json=True, currency=currency)
    elif question is None:
        click.echo(run["answer"], err=run["state"] != "done")
    if question is not None:
        click.echo(
            f"It asks: {question['command']} {json.dumps(question['arguments'], ensure_ascii=False)}\n"
            f"  {question['why']}\n"
            f"  hub agent approve {run['id']}   or   hub agent deny {run['id']}",
            err=True,
        )
        return PENDING
    total = format_nano(run["amount_nano"], currency=currency)
    click.echo(
        f"{run['state']} ({run['code']}): {run['steps']} steps, {run['tokens']} tokens, {total}", err=True
    )
    return 0 if run["state"] == "done" else FAILURE
