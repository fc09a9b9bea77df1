"""What every command answers, on every face.

success            it is done
pending            it goes on, or waits for a person's yes; `next` tells how to follow it
partial_failure    some of several effects happened; `data` tells which
failure            nothing was changed, except with the code `outcome_unknown`, which says that nobody knows

`ok` is true exactly when `status` is success; a script that reads the exit code or `ok` is never told a lie.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["success", "pending", "partial_failure", "failure"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a command failed, in the caller's words."""

    code: str
    message: str
    hint: str = ""
    """What to do next, mostly a command."""
    param: str | None = None
    type: str = "server_error"
    status: int = 500
    """HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """HTTP headers that go with it (`x-should-retry`, `retry-after`)."""

    def to_dict(self) -> dict[str, Any]:
        """The wire form; a superset of the OpenAI error object."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "param": self.param,
            "type": self.type,
            "status": self.status,
        }


@dataclass(frozen=True, slots=True)
class Envelope:
    """The answer to one command."""

    status: Status
    data: dict[str, Any] | None = None
    error: Fault | None = None
    audit_id: str | None = None
    """The audit row of the effect; None for reads, dry runs and refusals before the transaction."""
    dry_run: bool = False
    next: str = ""
    """For `pending` and failures: the command that tells or does what comes next."""
    changes: list[dict[str, Any]] | None = None
    """Of a dry run: every row that would change, before and after."""
    replayed: bool = False
    """True if this answers a repeated idempotency key; secrets of the first answer are left out."""

    @property
    def ok(self) -> bool:
        """True exactly for success."""
        return self.status == "success"

    def to_dict(self) -> dict[str, Any]:
        """The wire form."""
        return {
            "ok": self.ok,
            "status": self.status,
            "data": self.data,
            "error": self.error.to_dict() if self.error else None,
            "audit_id": self.audit_id,
            "dry_run": self.dry_run,
            "next": self.next,
            "changes": self.changes,
            "replayed": self.replayed,
        }
