"""Answers for people: aligned tables, short sentences. Logs never stand on standard output."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import click

from tokenhub.cli.manifest import Verb
from tokenhub.cli.nouns import PLURALS
from tokenhub.kernel.money import format_nano

Json = dict[str, Any]
_MAX_CELL = 48


def print_envelope(envelope: Json, verb: Verb, *, as_json: bool, currency: str) -> None:
    """Print an answer: data on standard output, what went wrong and what comes next on standard error."""
    if as_json:
        click.echo(json.dumps(envelope, ensure_ascii=False, indent=2))
    error = envelope["error"]
    if error is not None:
        print_error(error["message"], error["hint"])
        return
    if as_json:
        return
    data: Json = envelope["data"] or {}
    click.echo(human(data, verb, currency=currency))
    if envelope["dry_run"] and envelope["changes"] is not None:
        click.echo(differences(envelope["changes"]), err=True)
    if envelope["dry_run"]:
        click.echo("Dry run: rolled back, nothing was changed.", err=True)
    if envelope["replayed"]:
        click.echo("This was done before under the same idempotency key; nothing was done again.", err=True)
    if verb.secrets and not envelope["dry_run"] and any(data.get(name) for name in verb.secrets):
        click.echo(f"Keep the {' and '.join(verb.secrets)} now: it is shown once.", err=True)
    if envelope["next"]:
        click.echo(f"Next: {envelope['next']}", err=True)


def print_error(message: str, hint: str = "") -> None:
    """One sentence and what to do next, on standard error."""
    click.echo(f"hub: {message}" + (f" {hint}" if hint else ""), err=True)


def differences(changes: Sequence[Json]) -> str:
    """One line a row: `+ table key column=value …`, `~ … column: before -> after`, `- …`."""
    lines: list[str] = []
    for change in changes:
        key = ",".join(str(value) for value in change["key"].values())
        before, after = cast(Json, change["before"] or {}), cast(Json, change["after"] or {})
        match change["op"]:
            case "insert":
                shown = " ".join(
                    f"{name}={_clip(str(value), False)}"
                    for name, value in after.items()
                    if value not in (None, "")
                )
                lines.append(f"+ {change['table']} {key} {shown}")
            case "update":
                shown = ", ".join(
                    f"{name}: {_clip(str(before[name]), False)} -> {_clip(str(after[name]), False)}"
                    for name in before
                )
                lines.append(f"~ {change['table']} {key} {shown}")
            case _:
                lines.append(f"- {change['table']} {key}")
    return "\n".join(lines) if lines else "No row would change."


def human(data: Json, verb: Verb, *, currency: str) -> str:
    """The text for a person; a model with one list field is a table, one that is only `content` that content."""
    items = data.get("items")
    if data.keys() == {"content"}:
        return str(data["content"])
    if not isinstance(items, list):
        return _card(data, currency=currency)
    rows = cast(list[Json], items)
    if not rows:
        return f"No {PLURALS.get(verb.name) or verb.noun.replace('-', ' ').removesuffix('s') + 's'}."
    text = table(rows, verb.columns or _short_columns(rows[0]), currency=currency)
    rest = {name: value for name, value in data.items() if name not in ("items", "next_cursor")}
    if rest:
        text += "\n\n" + _card(rest, currency=currency)
    if data.get("next_cursor"):
        text += f"\nMore: add --cursor {data['next_cursor']}"
    return text


def table(rows: Sequence[Json], columns: Sequence[str], *, currency: str) -> str:
    """Aligned columns under their names; numbers to the right."""
    shown = [[cell(name, row.get(name), row, currency=currency) for name in columns] for row in rows]
    right = [
        all(isinstance(row.get(name), int | None) and not _is_instant(name) for row in rows)
        for name in columns
    ]
    wide = (sys.stdout.isatty() and shutil.get_terminal_size().columns) or 10_000
    lines = [[heading(name) for name in columns], *shown]
    widths = [max(display_width(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(_line(line, widths, right)[:wide].rstrip() for line in lines)


def cell(name: str, value: Any, row: Json, *, currency: str, full: bool = False) -> str:
    """One value as text; the name tells the unit (`_at_ms`, `_nano`)."""
    if value is None or value == [] or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return _number(name, value, str(row.get("currency") or currency))
    if isinstance(value, list):
        values = cast(list[Any], value)
        plain = [cell("", item, row, currency=currency, full=full) for item in values]
        return _clip(", ".join(plain), full)
    if isinstance(value, dict):
        return _clip(json.dumps(value, ensure_ascii=False), full)
    return _clip(str(value), full)


def heading(name: str) -> str:
    """`created_at_ms` -> `CREATED`, `at_ms` -> `AT`."""
    if _is_instant(name):
        name = name.removesuffix("_ms").removesuffix("_at")
    return name.removesuffix("_nano").replace("_", " ").upper()


def display_width(text: str) -> int:
    """Columns that a text takes in a terminal (wide East Asian characters take two)."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _card(data: Json, *, currency: str) -> str:
    names = {
        name: heading(name).lower() for name in data if not (name.endswith("_nano") and name[:-5] in data)
    }
    width = max((display_width(name) for name in names.values()), default=0)
    lines: list[str] = []
    for name in names:
        value = data[name]
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = cast(list[Json], value)
            lines += ["", names[name], table(rows, _short_columns(rows[0]), currency=currency)]
        elif isinstance(value, dict) and value:
            inner = _card(cast(Json, value), currency=currency)
            lines += [names[name], *("  " + line for line in inner.splitlines())]
        else:
            shown = cell(name, value, data, currency=currency, full=True)
            lines.append(f"{names[name]:<{width}}  {shown}")
    return "\n".join(lines)


def _short_columns(row: Json) -> list[str]:
    return [name for name, value in row.items() if not isinstance(value, dict)][:8]


def _is_instant(name: str) -> bool:
    return name == "at_ms" or name.endswith("_at_ms")


def _number(name: str, value: int, currency: str) -> str:
    if _is_instant(name):
        return datetime.fromtimestamp(value / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if name.endswith("_nano"):
        return format_nano(value, currency=currency)
    return f"{value:,}"


def _clip(text: str, full: bool) -> str:
    flat = " ".join(text.split()) if not full else text
    return flat if full or len(flat) <= _MAX_CELL else flat[: _MAX_CELL - 1] + "…"


def _line(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells: list[str] = []
    for text, width, to_right in zip(line, widths, right, strict=True):
        gap = " " * (width - display_width(text))
        cells.append(gap + text if to_right else text + gap)
    return "  ".join(cells)
