"""`hub mcp serve`: the hub's commands for an AI client that starts this program and speaks MCP with it.

Calls go to the running hub with TOKENHUB_API_KEY or this machine's key, else through the door in this process: as the
key's owner if there is a key, else as the owner of the state folder.
"""

import asyncio
from typing import Any

import click

from tokenhub.cli.call import RemoteDoor, configure_logging, find_remote, load_settings
from tokenhub.cli.manifest import Verb, load
from tokenhub.kernel.errors import HubError

Json = dict[str, Any]


@click.command(
    "serve",
    help="Speak MCP on standard input and output, for AI clients that start a program.\n\n"
    "Give the client an agent's own key (`hub grant create`), so that it acts within a grant: "
    'set "command": "hub", "args": ["mcp", "serve"], "env": {"TOKENHUB_API_KEY": "sk-th-..."}.',
)
def serve() -> None:
    """Runs until the client closes standard input."""
    settings = load_settings()
    configure_logging()
    remote = find_remote(settings)
    from tokenhub.commands.mcp.server import serve_stdio

    if remote is not None:
        asyncio.run(serve_stdio(_Remote(RemoteDoor(remote))))
        return
    from tokenhub.cli.local import key_door, open_database

    try:
        database = open_database(settings)
    except HubError as error:
        raise click.ClickException(f"{error.message} {error.hint}".strip()) from error
    try:
        asyncio.run(serve_stdio(key_door(settings, database, settings.api_key)))
    finally:
        database.close()


class _Remote:
    """The door of the running hub."""

    def __init__(self, door: RemoteDoor) -> None:
        self._door = door

    def __call__(self, name: str, raw: Json, *, dry_run: bool = False, idempotency_key: str = "") -> Json:
        """The envelope."""
        return self._door.call(_verb(name), raw, dry_run=dry_run, idempotency_key=idempotency_key)


def _verb(name: str) -> Verb:
    """As much of a verb as a call needs; of one that is not known here, nothing is retried either."""
    noun, _, verb = name.partition(".")
    known = load().get(noun, {}).get(verb)
    return known or Verb(name, "", "", "irreversible", "", (), (), (), ())
