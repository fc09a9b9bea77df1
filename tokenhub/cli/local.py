"""The door in this process: opens the databases of the state folder and calls as the local operator."""

from collections.abc import Callable
from typing import Any

from tokenhub.bootstrap.commands import registry
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.envelope import Envelope, Fault
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import pending
from tokenhub.identity.first_run import local_operator
from tokenhub.identity.keys import authenticate
from tokenhub.kernel.errors import HubError, Unavailable


def run_local(
    settings: Settings, name: str, arguments: dict[str, Any], *, dry_run: bool, idempotency_key: str
) -> dict[str, Any]:
    """Run one command on the state folder; the envelope as JSON values."""
    try:
        database = open_database(settings)
    except HubError as error:
        return refusal(error).to_dict()
    try:
        with database.read("hub") as connection:
            operator = local_operator(connection)
        return execute(
            registry(),
            Runtime(database, settings),
            operator,
            name,
            arguments,
            dry_run=dry_run,
            idempotency_key=idempotency_key,
        ).to_dict()
    except HubError as error:
        return refusal(error).to_dict()
    finally:
        database.close()


def key_door(settings: Settings, database: Database, key: str) -> Callable[..., dict[str, Any]]:
    """The door in this process: `(name, raw, *, dry_run, idempotency_key)` -> envelope as JSON values.

    The caller is the key's owner, looked up at each call so that a revoked key ends; without a key, the local operator.
    """

    def door(
        name: str, raw: dict[str, Any], *, dry_run: bool = False, idempotency_key: str = ""
    ) -> dict[str, Any]:
        try:
            with database.read("hub") as connection:
                caller = authenticate(connection, key) if key else local_operator(connection)
        except HubError as error:
            return refusal(error).to_dict()
        return execute(
            registry(),
            Runtime(database, settings),
            caller,
            name,
            raw,
            dry_run=dry_run,
            idempotency_key=idempotency_key,
        ).to_dict()

    return door


def open_database(settings: Settings) -> Database:
    """The databases, there and up to date. Raises: Unavailable."""
    if not settings.database_url and not (settings.home / "hub.db").exists():
        raise Unavailable(f"There is no hub in {settings.home} yet.", hint="Start one with `hub up`.")
    database = Database(settings)
    try:
        behind = pending(database)
    except HubError:
        database.close()
        raise
    if behind:
        database.close()
        raise Unavailable(
            "The database is not of this version.", hint="`hub up` brings it up to date, after a copy."
        )
    return database


def refusal(error: HubError) -> Envelope:
    """An error as an envelope."""
    return Envelope(
        "failure",
        error=Fault(error.code, error.message, error.hint, error.param, error.type, error.status),
    )
