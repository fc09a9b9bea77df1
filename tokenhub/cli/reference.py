"""`hub docs`, or `python -m tokenhub.cli.reference`: write the manifest and docs/reference from the declarations.

`--check` writes nothing and fails if a file is stale.
"""

import sys
import tempfile
from pathlib import Path

import click
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


def stale() -> dict[Path, str]:
    """Files that are not as the declarations say, and what belongs in them."""
    return {
        path: text
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }


@click.command(
    help="Write the manifest and docs/reference from the declarations, in a checkout of the source."
)
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if a file is stale.")
def docs(check: bool) -> None:
    """Write or check."""
    if not (ROOT / "docs").is_dir():
        raise click.ClickException(
            "This is no checkout of the source, so there is no docs/reference to write."
        )
    old = stale()
    for path, text in old.items():
        shown = path.relative_to(ROOT)
        if check:
            click.echo(f"stale: {shown}; run `hub docs`", err=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {shown}", err=True)
    if check and old:
        sys.exit(1)


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
    docs()
