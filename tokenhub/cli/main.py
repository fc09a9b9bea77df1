"""`hub`: the root of the command line. Everything below it is loaded only when it is called."""

import importlib
import json
import sys
from collections.abc import Sequence

import click

from tokenhub.cli import exits
from tokenhub.cli.manifest import load
from tokenhub.cli.nouns import SECTIONS
from tokenhub.cli.suggest import unknown
from tokenhub.cli.tree import NounGroup
from tokenhub.kernel.words import clipped

PROGRAM = "hub"
BUILT_IN = {
    "up": ("tokenhub.cli.up:up", "Start the hub on this machine"),
    "serve": ("tokenhub.cli.serve:serve", "Run one process of the hub: gateway, app or worker"),
    "do": (
        "tokenhub.cli.do:do",
        "Say it in your own words; proposes one exact command, asks before it writes",
    ),
    "chat": ("tokenhub.cli.chat:chat", "Talk to a model; shows tokens and price of each answer"),
    "config": ("tokenhub.cli.settings_view:config", "Settings, and where each value came from"),
    "doctor": ("tokenhub.cli.doctor:doctor", "Check this machine and say what to mend"),
    "completion": ("tokenhub.cli.completion:completion", "Completion for bash, zsh or fish"),
    "docs": ("tokenhub.cli.reference:docs", "Write docs/reference from the declarations (in a checkout)"),
    "version": ("tokenhub.cli.version:version", "Version of the hub and what it runs on"),
}
"""Verbs that are no commands of the hub: where they are, and what help says of them."""


class Root(click.Group):
    """`hub <noun> <verb>`, loaded lazily."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every noun and every verb of the CLI's own."""
        return sorted([*BUILT_IN, *load()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A noun from the manifest, or a verb of our own; names may be written with `_` or capitals."""
        name = cmd_name.replace("_", "-").lower()
        verbs = load().get(name)
        if verbs is not None:
            return NounGroup(name, verbs)
        if name not in BUILT_IN:
            return None
        module, attribute = BUILT_IN[name][0].split(":")
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command. Raises: click.UsageError naming the nearest."""
        if self.get_command(ctx, args[0]) is None:
            raise click.UsageError(unknown(args[0], self.list_commands(ctx), PROGRAM), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Sections of nouns, without loading what they run."""
        nouns = {name: NounGroup(name, verbs).short_help or "" for name, verbs in load().items()}
        lines = {**nouns, **{name: summary for name, (_, summary) in BUILT_IN.items()}}
        for title, names in SECTIONS:
            rows = [(name, lines.pop(name)) for name in names if name in lines]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if lines:
            with formatter.section("More"):
                formatter.write_dl(sorted(lines.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines to begin with."""
        formatter.write_paragraph()
        formatter.write(
            "Examples:\n"
            "  hub up                          start everything on this machine\n"
            "  hub chat -m 'Say hello.'        one answer, with its tokens and price\n"
            "  hub key create laptop --json    every verb speaks JSON\n\n"
            "Exit codes: 0 success, 1 failure, 2 usage, 3 not found, 4 not allowed, 5 conflict,\n"
            "6 unavailable, 7 partial failure, 8 pending. Help on a verb: hub <noun> <verb> --help\n"
        )


def _version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    from tokenhub import __version__

    click.echo(f"hub {__version__}")
    ctx.exit()


hub = Root(
    name=PROGRAM,
    help="Token Hub: create, deliver and apply AI tokens on exact books.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_version,
            help="Show the version.",
        )
    ],
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with a stable code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = hub.main(given, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = exits.USAGE
    except click.UsageError as error:
        code = _usage(error, as_json="--json" in given)
    except click.ClickException as error:
        click.echo(f"hub: {error.format_message()}", err=True)
        code = exits.FAILURE
    except (click.Abort, KeyboardInterrupt):
        code = exits.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        code = exits.SUCCESS
    sys.exit(code if isinstance(code, int) else exits.SUCCESS)


def _usage(error: click.UsageError, *, as_json: bool) -> int:
    message = clipped(error.format_message())
    where = error.ctx.command_path if error.ctx else PROGRAM
    hint = "" if "See `" in message or "Did you mean" in message else f"See `{where} --help`."
    if as_json:
        shown = {"code": "usage", "message": message, "hint": hint, "param": None, "type": "", "status": 400}
        answer = {
            "ok": False,
            "status": "failure",
            "data": None,
            "error": shown,
            "audit_id": None,
            "dry_run": False,
            "next": "",
            "changes": None,
            "replayed": False,
        }
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    click.echo(f"hub: {message}" + (f" {hint}" if hint else ""), err=True)
    return exits.USAGE


if __name__ == "__main__":
    main()
