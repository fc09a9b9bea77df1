"""Jobs of the catalogue: `model.pull` fetches an entry's bytes, `model.add` takes a file of this machine."""

from pathlib import Path

from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.jobs.types import Arguments, Handler, Progress, Reporter
from tokenhub.maas.catalog.adding import add_file
from tokenhub.maas.catalog.fetch import Sources, fetch
from tokenhub.maas.catalog.store import get_entry, insert_entry
from tokenhub.maas.catalog.types import ModelEntry

PULL = "model.pull"
ADD = "model.add"


def pull_handler(database: Database, settings: Settings, *, sources: Sources) -> Handler:
    """The handler of `model.pull`; arguments: `model`, an entry's name."""

    def pull(arguments: Arguments, reporter: Reporter) -> Arguments:
        with database.read("hub") as connection:
            entry = get_entry(connection, arguments["model"])

        def report(done: int, total: int) -> None:
            reporter.report(Progress(step=f"fetching {entry.name}", done=done, total=total))

        path = fetch(entry, settings, sources=sources, report=report)
        return {"model": entry.name, "path": str(path), "sha256": entry.sha256}

    return pull


def add_handler(database: Database, settings: Settings) -> Handler:
    """The handler of `model.add`; arguments: `path`, `name` ("" = from the file)."""

    def add(arguments: Arguments, reporter: Reporter) -> Arguments:
        path = Path(arguments["path"])

        def report(done: int, total: int) -> None:
            reporter.report(Progress(step=f"hashing {path.name}", done=done, total=total))

        entry = add_file(path, settings, name=arguments.get("name", ""), report=report)
        with database.write("hub") as connection:
            insert_entry(connection, entry)
        return {"model": entry.name, "sha256": entry.sha256, "note": entry.note}

    return add


def add_model_file(database: Database, settings: Settings, path: Path, *, name: str = "") -> ModelEntry:
    """`model.add` at once, for the first start with TOKENHUB_MODEL=/path/to/file.gguf."""
    entry = add_file(path, settings, name=name, report=lambda _done, _total: None)
    with database.write("hub") as connection:
        insert_entry(connection, entry)
    return entry
