"""The generated reference pages: commands, settings, errors, routes."""

from tokenhub.commands.registry import Registry


def pages(registry: Registry) -> dict[str, str]:
    """File name -> Markdown."""
    return {"commands.md": _commands(registry)}


def _commands(registry: Registry) -> str:
    return "# Commands\n\n" + "\n".join(f"- {c.name}: {c.summary}" for c in registry) + "\n"
