"""Every declared command by name."""

from collections.abc import Iterator
from difflib import get_close_matches
from types import ModuleType

from tokenhub.commands.declare import Command
from tokenhub.kernel.errors import NotFound


class Registry:
    """The commands of one hub, collected from the `verbs` modules of its packages."""

    def __init__(self, *modules: ModuleType) -> None:
        self._commands: dict[str, Command] = {}
        for module in modules:
            for declared in vars(module).get("VERBS", ()):
                self.add(declared)

    def add(self, declared: Command) -> None:
        """Register one command. Raises: ValueError for a name that is taken."""
        if declared.name in self._commands:
            raise ValueError(f"command {declared.name!r} is declared twice")
        self._commands[declared.name] = declared

    def get(self, name: str) -> Command:
        """The command of this name. Raises: NotFound, naming the nearest."""
        found = self._commands.get(name)
        if found is not None:
            return found
        near = get_close_matches(name, self._commands, n=1)
        hint = f"Did you mean `{near[0]}`?" if near else "List all with `hub --help`."
        raise NotFound(f"No command {name!r}.", code="unknown_command", param="command", hint=hint)

    def __iter__(self) -> Iterator[Command]:
        return iter(sorted(self._commands.values(), key=lambda declared: declared.name))

    def __contains__(self, name: object) -> bool:
        return name in self._commands

    def __len__(self) -> int:
        return len(self._commands)
