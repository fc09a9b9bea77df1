"""Every declared command by name."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Protocol

from sqlalchemy import Connection

from tokenhub.commands.declare import Command
from tokenhub.db.engine import Database
from tokenhub.kernel.errors import NotFound


class Source(Protocol):
    """Commands that an organisation has besides the declared ones, as its database says at this moment."""

    def find(self, connection: Connection, org_id: str, name: str) -> Command | None:
        """The command of this name."""
        ...

    def every(self, connection: Connection, org_id: str) -> Iterable[Command]:
        """All of them."""
        ...


class Registry:
    """The commands of one hub, collected from the `verbs` modules of its packages."""

    def __init__(self, *modules: ModuleType, sources: Sequence[Source] = ()) -> None:
        self._sources = tuple(sources)
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

    def find(self, connection: Connection, org_id: str, name: str) -> Command:
        """The command of this name, declared or of a source. Raises: NotFound, naming the nearest."""
        if name not in self._commands:
            for source in self._sources:
                found = source.find(connection, org_id, name)
                if found is not None:
                    return found
        return self.get(name)

    def find_in(self, database: Database, org_id: str, name: str) -> Command:
        """The same, in a transaction of its own where one is needed."""
        if name in self._commands or not self._sources:
            return self.get(name)
        with database.read("hub") as connection:
            return self.find(connection, org_id, name)

    def every(self, connection: Connection, org_id: str) -> list[Command]:
        """Every declared command, then those of the sources."""
        return [*self, *self.besides(connection, org_id)]

    def besides(self, connection: Connection, org_id: str) -> list[Command]:
        """Those of the sources."""
        return [found for source in self._sources for found in source.every(connection, org_id)]

    def __iter__(self) -> Iterator[Command]:
        return iter(sorted(self._commands.values(), key=lambda declared: declared.name))

    def __contains__(self, name: object) -> bool:
        return name in self._commands

    def __len__(self) -> int:
        return len(self._commands)
