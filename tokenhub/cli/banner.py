"""What `hub up` prints when it is ready: where it runs, the first key, and commands that work as printed."""

import json
import shlex
import sys

import click

from tokenhub.config import Settings
from tokenhub.identity.first_run import FirstRun

_PROMPT = "Say hello in five words."


def print_banner(
    settings: Settings, url: str, *, first: FirstRun | None, model: str | None, link: str
) -> None:
    """The banner, on standard output. The admin key stands in it at the first start only."""
    click.echo(f"\nToken Hub runs at {url}")
    click.echo(f"  console    {link}   (one-time link, 10 minutes)")
    if first is None:
        click.echo(
            "  admin key  was shown at the first start; make another with: ./hub key create admin-2 --scopes '*'"
        )
    elif not first.generated:
        click.echo("  admin key  the one in TOKENHUB_ADMIN_KEY")
    else:
        click.echo(f"  admin key  {first.admin_key}   (shown once; keep it)")
    if model is None:
        click.echo("  model      none yet: ./hub model list, then ./hub deploy create MODEL")
    else:
        click.echo(f"  model      {model}")
        key = first.admin_key if first is not None and first.generated else "$TOKENHUB_ADMIN_KEY"
        if first is not None:
            click.echo("\nTry it:\n")
            for line in commands(url, key=key, model=model):
                click.echo(line + "\n")
    click.echo("Ctrl-C stops it.", nl=True)
    sys.stdout.flush()


def commands(url: str, *, key: str, model: str) -> list[str]:
    """Three commands that a person can paste into a shell in the checkout: curl, Python, CLI."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": _PROMPT}]})
    quoted_key = f'"{key}"' if key.startswith("$") else shlex.quote(key)
    curl = f'curl {url}/v1/chat/completions -H "Authorization: Bearer {key}" -H "Content-Type: application/json" -d {shlex.quote(body)}'
    program = (
        "import sys; from openai import OpenAI; "
        f"client = OpenAI(base_url='{url}/v1', api_key=sys.argv[1]); "
        f"print(client.chat.completions.create(model='{model}', messages=[{{'role': 'user', 'content': '{_PROMPT}'}}]).choices[0].message.content)"
    )
    python = f'{shlex.quote(sys.executable)} -c "{program}" {quoted_key}'
    return [curl, python, f"./hub chat {model} -m {shlex.quote(_PROMPT)}"]
