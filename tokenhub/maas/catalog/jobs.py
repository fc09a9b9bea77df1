"""`model.pull`: fetch one model in the background."""

from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.jobs.types import Arguments, Handler, Progress, Reporter
from tokenhub.maas.catalog.fetch import Sources, fetch
from tokenhub.maas.catalog.store import get_entry

PULL = "model.pull"


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
