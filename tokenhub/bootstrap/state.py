"""State before the first process: schema, first organisation and keys, the default model's file and deployment."""

import sys
from collections.abc import Callable
from pathlib import Path

from tokenhub.adapters.sources import model_sources
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.identity.first_run import FirstRun, ensure_first_run, local_operator
from tokenhub.identity.sessions import create_login_token
from tokenhub.kernel.clock import now_ms
from tokenhub.maas.catalog.fetch import fetch
from tokenhub.maas.catalog.store import get_entry
from tokenhub.maas.deployments import store as deployments

BytesProgress = Callable[[str, int, int], None]
"""`(what, bytes done, bytes in all)`."""


def prepare_state(settings: Settings) -> FirstRun | None:
    """Newest schema, and at the first start the first organisation, user and keys (None later)."""
    for folder in (
        settings.home,
        settings.run_dir,
        settings.log_dir,
        settings.journal_dir,
        settings.models_dir,
    ):
        folder.mkdir(parents=True, exist_ok=True)
    database = Database(settings)
    try:
        migrate(database, settings)
        with database.write("hub") as connection:
            return ensure_first_run(connection, settings)
    finally:
        database.close()


def ensure_model(settings: Settings, *, progress: BytesProgress, cancelled: Callable[[], bool]) -> str:
    """Make sure that the model of the settings is here and asked to be deployed; returns its name.

    Raises: HubError in one sentence (no source, wrong hash, disk full), KeyboardInterrupt when `cancelled()`.
    """
    database = Database(settings)
    try:
        with database.read("hub") as connection:
            entry = get_entry(connection, settings.model)

        def report(done: int, total: int) -> None:
            if cancelled():
                raise KeyboardInterrupt
            progress(f"fetching {entry.name}", done, total)

        fetch(entry, settings, sources=model_sources(), report=report)
        with database.write("hub") as connection:
            deployments.create_engine_deployment(
                connection,
                entry,
                model=entry.name,
                context_tokens=settings.engine_context,
                slots=settings.engine_slots,
            )
        return entry.name
    finally:
        database.close()


def ready_model(settings: Settings) -> str | None:
    """A model whose deployment serves, the settings' one first; None while none does."""
    database = Database(settings)
    try:
        with database.read("hub") as connection:
            ready = [found.model for found in deployments.load_deployments(connection) if found.healthy]
    finally:
        database.close()
    name = Path(settings.model).stem.lower()
    return name if name in ready else next(iter(ready), None)


def login_link(settings: Settings, url: str) -> str:
    """A one-time sign-in link of the first owner."""
    database = Database(settings)
    try:
        with database.write("hub") as connection:
            owner = local_operator(connection)
            assert owner.user_id is not None
            token = create_login_token(connection, org_id=owner.org_id, user_id=owner.user_id, at_ms=now_ms())
    finally:
        database.close()
    return f"{url}/login#token={token}"


def python_executable() -> str:
    """The interpreter that has the hub's packages, for commands that a person copies."""
    return sys.executable
