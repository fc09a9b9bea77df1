"""`hub completion SHELL`: the script that teaches a shell the nouns, verbs and flags."""

import click
from click.shell_completion import get_completion_class


@click.command(
    help="Print shell completion; put it where your shell reads it.\n\n"
    "Examples:\n\n"
    '\b\n  bash   eval "$(hub completion bash)"        in ~/.bashrc\n'
    '  zsh    eval "$(hub completion zsh)"         in ~/.zshrc, after compinit\n'
    "  fish   hub completion fish | source         in ~/.config/fish/config.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script."""
    from tokenhub.cli.main import PROGRAM, hub

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(hub, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
