"""`python -m tokenhub.cli.reference`: write the manifest and docs/reference from the declarations.

`--check` writes nothing and fails if a file is stale.
"""

import sys
import tempfile
from pathlib import Path

from fastapi import FastAPI

from tokenhub.app import build_app
from tokenhub.bootstrap.commands import registry
from tokenhub.cli import manifest
from tokenhub.cli.manifest_build import build
from tokenhub.cli.reference_pages import pages
from tokenhub.config import Settings
from tokenhub.db.engine import Database

ROOT = Path(__file__).parents[2]


def generated() -> dict[Path, str]:
    """Every generated file and what belongs in it."""
    made = {manifest.PATH: build(registry())}
    folder = ROOT / "docs" / "reference"
    made.update({folder / name: text for name, text in pages(registry(), _app()).items()})
    return made


def stale() -> list[Path]:
    """Files that are not as the declarations say."""
    return [
        path
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """Write or check."""
    if "--check" in sys.argv[1:]:
        old = stale()
        for path in old:
            sys.stderr.write(f"stale: {path.relative_to(ROOT)}; run python -m tokenhub.cli.reference\n")
        sys.exit(1 if old else 0)
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _app() -> FastAPI:
    """The composed app, for its routes only; nothing is served and no database is touched."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), database_url="")
        database = Database(settings)
        try:
            return build_app(settings, database)
        finally:
            database.close()


if __name__ == "__main__":
    main()
