"""`hub config show`: every setting, its value and where the value came from."""

import json
from typing import Any

import click

from tokenhub.cli.call import load_settings
from tokenhub.cli.render import table
from tokenhub.cli.suggest import unknown
from tokenhub.config import Settings, describe, given_names

_HIDDEN = ("admin_key", "api_key")


@click.group(invoke_without_command=True, help="Settings, and where each value came from.")
@click.pass_context
def config(ctx: click.Context) -> None:
    """`hub config` alone shows them all."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(show)


@config.command(
    help="Show each setting, its value and where it came from.\n\n"
    "Examples:\n\n\b\n  hub config show\n  hub config show port --json"
)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
def show(name: str | None = None, as_json: bool = False) -> None:
    """Secrets are masked."""
    rows = values(load_settings())
    if name is not None:
        wanted = name.lower().removeprefix("tokenhub_").replace("-", "_")
        found = [row for row in rows if row["name"] == wanted]
        if not found:
            raise click.UsageError(
                unknown(wanted, [row["name"] for row in rows], "hub config show", what="setting")
            )
        rows = found
    if as_json:
        answer = {"ok": True, "status": "success", "data": {"items": rows}}
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    click.echo(table(rows, ("name", "value", "source", "variable"), currency=""))


def values(settings: Settings) -> list[dict[str, Any]]:
    """name, value (text, secrets masked), source (`environment` or `default`), variable, description."""
    given = set(given_names())
    return [
        {
            "name": found.name,
            "value": _shown(found.name, getattr(settings, found.name)),
            "source": "environment" if found.name in given else "default",
            "variable": found.variable,
            "description": found.description,
        }
        for found in describe()
    ]


def _shown(name: str, value: Any) -> str:
    text = str(value)
    if name in _HIDDEN and text:
        return "********"
    if name == "database_url" and "@" in text:
        scheme, _, rest = text.partition("://")
        user, _, host = rest.rpartition("@")
        return f"{scheme}://{user.split(':')[0]}:********@{host}"
    return text
