"""`hub mcp SERVER.TOOL`: a tool of an outside server as a verb, as the hub describes it."""

import re

import click

from tokenhub.cli.call import load_settings, transport
from tokenhub.cli.manifest import Verb, from_json, load
from tokenhub.cli.manifest_build import described

_FLAG = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def outside_verb(name: str) -> Verb | None:
    """The verb; None if there is no such command. Raises: click.ClickException if the hub cannot be asked."""
    describe = load()["commands"]["describe"]
    answer = transport(load_settings()).call(describe, {"name": name}, dry_run=False, idempotency_key="")
    error = answer["error"]
    if error is not None:
        if error["code"] == "unknown_command":
            return None
        raise click.ClickException(f"{error['message']} {error['hint']}".strip())
    entry = described(answer["data"])
    entry["params"] = [param for param in entry["params"] if _FLAG.fullmatch(param["name"])]
    return from_json(entry)
