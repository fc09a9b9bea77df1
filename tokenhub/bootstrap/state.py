"""State before the first process: schema, first organisation and keys, the default model's file and deployment."""

from collections.abc import Callable
from pathlib import Path

from tokenhub.adapters.sources import model_sources
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.http.address import login_url
from tokenhub.identity.first_run import FirstRun, ensure_first_run, local_operator
from tokenhub.identity.sessions import create_login_token
from tokenhub.kernel.clock import now_ms
from tokenhub.maas.catalog.adding import is_path, model_name
from tokenhub.maas.catalog.fetch import fetch
from tokenhub.maas.catalog.jobs import add_model_file
from tokenhub.maas.catalog.store import get_entry, list_entries
from tokenhub.maas.catalog.types import ModelEntry
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
        entry = _entry(database, settings)

        def report(done: int, total: int) -> None:
            if cancelled():
                raise KeyboardInterrupt
            progress(f"fetching {entry.name}", done, total)

        if not entry.path(settings).exists():
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


def _entry(database: Database, settings: Settings) -> ModelEntry:
    """The catalogue's entry of the settings' model; the file of a GGUF path is added first, once."""
    if not is_path(settings.model):
        with database.read("hub") as connection:
            return get_entry(connection, settings.model)
    path = Path(settings.model).expanduser().absolute()
    with database.read("hub") as connection:
        known = {entry.name: entry for entry in list_entries(connection)}.get(model_name(path))
    if (
        known is not None
        and known.path(settings).exists()
        and path.exists()
        and known.size_bytes == path.stat().st_size
    ):
        return known  # hashing gigabytes at each start would only find the same again
    return add_model_file(database, settings, path)


def ready_model(settings: Settings) -> str | None:
    """A model whose deployment serves, the settings' one first; None while none does."""
    database = Database(settings)
    try:
        with database.read("hub") as connection:
            ready = [found.model for found in deployments.load_deployments(connection) if found.healthy]
    finally:
        database.close()
    name = model_name(Path(settings.model)) if is_path(settings.model) else settings.model
    return name if name in ready else next(iter(ready), None)


def failed_start(settings: Settings) -> tuple[int, str]:
    """How often the engine of the settings' model ended, and the last reason if it is failing now."""
    name = model_name(Path(settings.model)) if is_path(settings.model) else settings.model
    database = Database(settings)
    try:
        with database.read("hub") as connection:
            mine = [row for row in deployments.list_deployments(connection) if row.model == name]
    finally:
        database.close()
    failing = [row.message for row in mine if row.status == "failing"]
    return sum(row.restarts for row in mine), failing[0] if failing else ""


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
    return login_url(url, token)
