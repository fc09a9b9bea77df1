"""A fresh database at the newest schema: a copy of files that were migrated once in this process."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.places import in_memory
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate


def migrated(settings: Settings) -> Database:
    """The databases of these settings; on PostgreSQL they are migrated already (`new_postgres` copies a template)."""
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True)
        for file in _sqlite_files():
            shutil.copyfile(file, settings.home / file.name)
    return Database(settings)


@cache
def _sqlite_files() -> list[Path]:
    home = Path(tempfile.mkdtemp(prefix="th-template-", dir=in_memory()))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    settings = Settings(home=home, database_url="")
    database = Database(settings)
    migrate(database, settings)
    database.close()
    return sorted(home.glob("*.db"))
