"""Words of outside MCP servers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tokenhub.kernel.errors import UpstreamError

Json = dict[str, Any]
State = Literal["queued", "sent", "done", "failed", "unknown", "withdrawn"]
DECLARABLE = ("read", "write", "irreversible")
"""Effects that an admin may declare of a tool; `write` = a person can put it back on the other side, the hub cannot."""


@dataclass(frozen=True, slots=True)
class Server:
    """One outside server of an organisation."""

    id: str
    org_id: str
    name: str
    url: str
    """Empty = it is started by a command."""
    command: tuple[str, ...]
    token: str
    """Sent as `Authorization: Bearer`; empty = none."""
    timeout_ms: int
    digest: str
    problem: str
    seen_at_ms: int | None
    created_at_ms: int

    @property
    def address(self) -> str:
        """URL or command, as it was added."""
        return self.url or " ".join(self.command)


@dataclass(frozen=True, slots=True)
class Seen:
    """A tool as a server lists it; nothing of it is trusted."""

    name: str
    description: str
    schema: Mapping[str, Any]
    hints: Mapping[str, Any]
    """The server's annotations."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the hub keeps it: as last seen, and as an admin allowed it."""

    id: str
    server_id: str
    server: str
    """The server's name."""
    name: str
    description: str
    schema: Json
    hints: Json
    problem: str
    digest: str
    allowed_digest: str
    effect: Literal["read", "write", "irreversible"]
    sinks: tuple[str, ...]
    """Arguments that choose who or what is affected; `*` = all."""
    present: bool

    @property
    def command(self) -> str:
        """`mcp.lab.read_file`."""
        return f"mcp.{self.server}.{self.name}"

    @property
    def state(self) -> Literal["allowed", "new", "changed", "gone", "unusable"]:
        """Whether it is a command; only `allowed` is."""
        if self.problem:
            return "unusable"
        if not self.present:
            return "gone"
        if not self.allowed_digest:
            return "new"
        return "allowed" if self.allowed_digest == self.digest else "changed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered to a call; untrusted."""

    text: str
    structured: Json | None
    failed: bool
    """The tool said that it failed."""
    notes: Sequence[str] = ()
    """What was left out: pictures, what was too long."""


class NotReached(UpstreamError):
    """The server could not be reached or spoke nonsense before anything was asked of it: nothing happened."""

    code = "mcp_not_reached"


class NoAnswer(UpstreamError):
    """The call was sent and no answer came that can be read: nobody knows whether it was done."""

    code = "mcp_no_answer"
    retryable = False
