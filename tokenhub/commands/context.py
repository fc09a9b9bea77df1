"""What a verb gets besides its arguments: who calls, the time, and the databases of the running command.

A command writes one database (`writes=` of its declaration) and may read the other. Each is opened on
first use; the one it writes also holds the audit row and the idempotency key, is one transaction, and
commits last. Verbs never commit, never sleep and never call out: long work is a row in `jobs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from tokenhub.commands.envelope import Status
from tokenhub.config import Settings
from tokenhub.db.engine import Database, Name
from tokenhub.identity.types import Principal

if TYPE_CHECKING:
    from tokenhub.commands.authority import Authority, View
    from tokenhub.commands.declare import Command
    from tokenhub.commands.registry import Registry


@dataclass(slots=True)
class Context:
    """One running command."""

    principal: Principal
    settings: Settings
    now_ms: int
    """The instant of the command; use it for every `*_at_ms` it writes."""
    dry_run: bool
    """True if everything will be rolled back; a verb needs it only to leave out what has no rollback."""
    database: Database
    writes: Name | None
    """The database that is open for writing; None for a read."""
    stack: ExitStack
    registry: Registry
    """Every command of the hub."""
    authority: Authority
    status: Status = "success"
    next: str = ""
    undo: dict[str, Any] | None = None
    """The inverse, if the verb named one: `{"command": …, "arguments": {…}}`."""
    undoes: str | None = None
    """The audit row that this command takes back."""
    narrows: tuple[str, tuple[str, ...]] | None = None
    """By what, and to which commands, the caller's grant is narrowed once this answer is told."""
    relayed: tuple[Command, Mapping[str, Any], Any] | None = None
    _view: View | None = None
    _open: dict[Name, Connection] = field(default_factory=dict[Name, Connection])

    @property
    def hub(self) -> Connection:
        """The transaction on the hub's objects."""
        return self._connection("hub")

    @property
    def view(self) -> View:
        """Who may do what, as it stood when this command was admitted."""
        if self._view is None:
            self._view = self.authority.view(self.hub)
        return self._view

    @property
    def ledger(self) -> Connection:
        """The transaction on the books."""
        return self._connection("ledger")

    def command(self, name: str) -> Command:
        """A command that the caller's organisation has. Raises: NotFound."""
        return self.registry.find(self.hub, self.principal.org_id, name)

    def pending(self, *, next: str) -> None:
        """Answer `pending`: the work goes on after the command; `next` is the command that follows it."""
        self.status = "pending"
        self.next = next

    def partial(self, *, next: str = "") -> None:
        """Answer `partial_failure`: some of several effects happened; the data tells which."""
        self.status = "partial_failure"
        self.next = next

    def inverse(self, command: str, **arguments: Any) -> None:
        """Name the command that takes this one back; it must be the `undo` of the declaration."""
        self.undo = {"command": command, "arguments": arguments}

    def narrow(self, by: str, commands: Sequence[str]) -> None:
        """From this answer on, an agent's grant covers no command outside these (names, patterns)."""
        self.narrows = (by, tuple(commands))

    def relay(self, command: Command, arguments: Mapping[str, Any], answer: Any) -> None:
        """This answer tells what another command answered, in its own time: it counts as that one's."""
        self.relayed = (command, arguments, answer)

    def adopt(self, name: Name, connection: Connection) -> None:
        """Use the transaction that the door has opened for the command's effect."""
        self._open[name] = connection

    def _connection(self, name: Name) -> Connection:
        if name not in self._open:
            opened = self.database.write(name) if name == self.writes else self.database.read(name)
            self._open[name] = self.stack.enter_context(opened)
        return self._open[name]
