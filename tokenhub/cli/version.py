"""`hub version`."""

import json
import platform
import sqlite3

import click

from tokenhub import __version__


@click.command(help="Show the version of the hub and of what it runs on.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
def version(as_json: bool) -> None:
    """Version of hub, Python, SQLite and machine."""
    shown = {
        "hub": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.system()} {platform.machine()}",
    }
    if as_json:
        click.echo(json.dumps({"ok": True, "status": "success", "data": shown}, indent=2))
        return
    for name, value in shown.items():
        click.echo(f"{name:<8} {value}")
