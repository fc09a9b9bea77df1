"""The click commands of the declared verbs, built from the manifest."""

import base64
import importlib
import json
import os
import re
import sys
from typing import Any, cast

import click
from click.shell_completion import CompletionItem

from tokenhub.cli.folder import packed
from tokenhub.cli.forgiving import mend
from tokenhub.cli.manifest import Param, Verb
from tokenhub.cli.nouns import DEFAULT_VERBS, IMPLIED_VERBS, OUTSIDE, OWN_VERBS, SUMMARIES
from tokenhub.cli.suggest import unknown

_MAGNITUDES = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "b": 1_000_000_000}

_DIGITS_MAX = 40
"""Twice what the hub can store; it refuses what is too large in its own words."""


class Whole(click.ParamType[int]):
    """A whole number; `1_000`, `1,000`, `200k`, `1.5M` are understood."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Exact: `1.2345k` is refused rather than rounded."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(
            r"(-?)0*([0-9]+)(?:\.([0-9]+))?([kmgb]?)", str(value).replace("_", "").replace(",", "").lower()
        )
        if match is None:
            self.fail(f"{value!r} is not a whole number (1000, 1_000 and 200k are).", param, ctx)
        sign, whole, decimals, magnitude = match[1], match[2], match[3] or "", match[4]
        if len(whole + decimals) > _DIGITS_MAX:
            self.fail(f"{value!r} has too many digits.", param, ctx)
        factor = _MAGNITUDES[magnitude]
        number, rest = divmod(int(whole + decimals) * factor, 10 ** len(decimals))
        if rest:
            self.fail(f"{value!r} is not a whole number.", param, ctx)
        return -number if sign else number


class JsonText(click.ParamType[Any]):
    """A JSON value; text that is not JSON stands for itself."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """`{"a": 1}` is an object, `abc` is the string abc."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            return value


_TYPES: dict[str, click.ParamType[Any]] = {
    "string": click.STRING,
    "integer": Whole(),
    "number": click.FLOAT,
    "json": JsonText(),
}


class VerbCommand(click.Command):
    """`hub key create …`."""

    def __init__(self, verb: Verb) -> None:
        self.declared = verb
        super().__init__(
            name=verb.verb,
            params=_click_params(verb),
            help=verb.summary + ("\n\n" + verb.description if verb.description else ""),
            short_help=verb.summary,
            epilog=_epilog(verb),
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Mend the flags, then parse."""
        flags = [name for param in self.get_params(ctx) for name in param.opts if name.startswith("--")]
        mended, notes = mend(args, flags)
        for note in notes:
            click.echo(note, err=True)
        return super().parse_args(ctx, mended)

    def invoke(self, ctx: click.Context) -> None:
        """Collect the arguments and pass them through the door."""
        from tokenhub.cli.call import run_verb

        given = dict(ctx.params)
        as_json = bool(given.pop("as_json"))
        dry_run = bool(given.pop("dry_run", False))
        key = str(given.pop("idempotency_key", None) or "")
        arguments = {
            param.name: value for param in self.declared.params if (value := _value(param, given)) is not None
        }
        missing = [param for param in self.declared.params if param.required and param.name not in arguments]
        if missing:
            raise click.UsageError(f"{_shown(missing[0])} is missing.", ctx)
        code = run_verb(self.declared, arguments, as_json=as_json, dry_run=dry_run, idempotency_key=key)
        if code:
            ctx.exit(code)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples as they are written."""
        _write_epilog(self.epilog, formatter)


class NounGroup(click.Group):
    """`hub key …`."""

    def __init__(self, noun: str, verbs: dict[str, Verb]) -> None:
        self.verbs = verbs
        summary = SUMMARIES.get(noun, ", ".join(verbs))
        examples = [line for verb in verbs.values() for line in verb.examples[:1]]
        super().__init__(
            name=noun,
            help=summary + ".",
            short_help=summary,
            epilog="Examples:\n" + "\n".join(f"  {line}\n      {note}" for line, note in examples[:4]),
        )
        self.invoke_without_command = _default(verbs) is not None
        self.no_args_is_help = not self.invoke_without_command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Its verbs, and those of the command line's own."""
        return sorted([*self.verbs, *(verb for noun, verb in OWN_VERBS if noun == self.name)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One verb."""
        name = cmd_name.replace("_", "-").lower()
        verb = self.verbs.get(name)
        own = OWN_VERBS.get((self.name or "", name))
        if own is None and verb is None and self.name == OUTSIDE and "." in cmd_name:
            from tokenhub.cli.outside import outside_verb

            verb = outside_verb(f"{OUTSIDE}.{cmd_name}")
        if own is None:
            return VerbCommand(verb) if verb else None
        module, attribute = own[0].split(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb; the implied one where the noun has one and the word is no near miss of another."""
        if self.get_command(ctx, args[0]) is not None:
            return super().resolve_command(ctx, args)
        implied = self.verbs.get(IMPLIED_VERBS.get(self.name or "", ""))
        message = unknown(args[0], self.verbs, f"hub {self.name}")
        if implied is not None and "Did you mean" not in message:
            return implied.verb, VerbCommand(implied), args
        raise click.UsageError(message, ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A bare noun means its default verb; flags after a bare noun are that verb's."""
        default = None if ctx.resilient_parsing else _default(self.verbs)
        if default is not None and (
            not args or (args[0].startswith("-") and args[0] not in ("--help", "-h"))
        ):
            args = [default.verb, *args]
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples as they are written."""
        _write_epilog(self.epilog, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs with their summaries."""
        return [
            CompletionItem(verb.verb, help=verb.summary)
            for verb in self.verbs.values()
            if verb.verb.startswith(incomplete)
        ]


def _write_epilog(epilog: str | None, formatter: click.HelpFormatter) -> None:
    if epilog:
        formatter.write_paragraph()
        for line in epilog.splitlines():
            formatter.write(line + "\n")


def _default(verbs: dict[str, Verb]) -> Verb | None:
    for name in DEFAULT_VERBS:
        verb = verbs.get(name)
        if verb is not None and verb.effect == "read" and not any(param.required for param in verb.params):
            return verb
    return None


def _click_params(verb: Verb) -> list[click.Parameter]:
    params: list[click.Parameter] = []
    positional = sorted((p for p in verb.params if p.position is not None), key=lambda p: p.position or 0)
    for param in positional:
        params.append(_argument(param))
    params += [_option(param) for param in verb.params]
    params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print the whole answer as JSON."))
    if verb.effect != "read":
        params.append(click.Option(["--dry-run", "dry_run"], is_flag=True, help="Run it and roll it back."))
        params.append(
            click.Option(
                ["--idempotency-key", "idempotency_key"],
                metavar="TEXT",
                help="Makes a retry safe: the same key does it once (24 hours).",
            )
        )
    return params


def _argument(param: Param) -> click.Argument:
    return click.Argument(
        [f"arg_{param.name}"],
        required=False,
        nargs=-1 if param.many else 1,
        metavar=param.name.upper().replace("_", "-") if param.required else f"[{param.name.upper()}]",
        type=click.Choice(param.choices) if param.choices else _TYPES.get(param.kind, click.STRING),
    )


def _option(param: Param) -> click.Option:
    names = [param.flag, f"opt_{param.name}"]
    help = param.help
    if param.default not in (None, [], "", False):
        shown = ",".join(cast(list[str], param.default)) if param.many else param.default
        help = f"{help} [default: {shown}]"
    if param.required and param.position is None:
        help = f"{help} [required]"
    if param.kind == "boolean" and not param.many:
        return click.Option([f"{param.flag}/--no-{param.flag[2:]}", names[1]], default=None, help=help)
    if param.many and param.flag.endswith("s"):
        names.insert(0, param.flag[:-1])
    return click.Option(
        names,
        help=help,
        multiple=param.many,
        hidden=param.position is not None,
        type=click.Choice(param.choices)
        if param.choices and not param.many
        else _TYPES.get(param.kind, click.STRING),
        metavar=None if param.choices and not param.many else param.name.upper().replace("_", "-"),
    )


def _value(param: Param, given: dict[str, Any]) -> Any:
    """What was given for this argument by flag or position; None = left out."""
    value = given.get(f"opt_{param.name}")
    if value in (None, ()):
        value = given.get(f"arg_{param.name}")
    if value in (None, ()):
        return None
    if param.many:
        parts = [part for item in value for part in (item.split(",") if isinstance(item, str) else [item])]
        return [part for part in parts if part != ""]
    if param.content and isinstance(value, str):
        return _content(param, value)
    if param.folder and isinstance(value, str):
        return packed(param.flag, value)
    if param.secret and value == "-":
        return sys.stdin.readline().rstrip("\n")
    if (
        isinstance(value, str)
        and value.startswith(("./", "../", "~/"))
        and os.path.exists(os.path.expanduser(value))
    ):
        return os.path.abspath(os.path.expanduser(value))  # the hub may run in another folder
    return value


def _content(param: Param, value: str) -> str:
    """`-` = standard input, `@FILE` = that file (one that is no text as base64), else the text itself."""
    if value == "-":
        return sys.stdin.read()
    path = os.path.expanduser(value[1:])
    if not value.startswith("@") or (re.search(r"[\s(]", path) and not os.path.exists(path)):
        return value  # a text may begin with @, too
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except OSError as error:
        raise click.UsageError(f"{param.flag}: cannot read {value[1:]}: {error.strerror}.") from error
    if param.name.endswith("_base64"):
        return base64.b64encode(data).decode()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{param.flag}: {value[1:]} is no UTF-8 text.") from error


def _shown(param: Param) -> str:
    return param.name.upper().replace("_", "-") if param.position is not None else param.flag


def _epilog(verb: Verb) -> str:
    lines = [f"  {line}\n      {note}" for line, note in verb.examples]
    if any(param.secret for param in verb.params):
        lines.append("  A secret given as - is read from standard input.")
    if any(param.folder for param in verb.params):
        lines.append("  A folder is sent as it is; links in it are refused.")
    if any(param.content for param in verb.params):
        lines.append("  A long text can be given as @FILE, or as - from standard input.")
    return "Examples:\n" + "\n".join(lines) if lines else ""
