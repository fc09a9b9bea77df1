"""Words of the durable queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Arguments = Mapping[str, str]
LIVE: tuple[State, ...] = ("queued", "running")


PERSONAL: set[str] = set()
"""Kinds whose jobs are one person's: shown and cancelled by verbs of their owner, never among the hub's own."""


def personal(kind: str) -> str:
    """Declare a kind to be personal; returns it."""
    PERSONAL.add(kind)
    return kind


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    step: str = ""
    """What it does now, in a few words."""
    done: int = 0
    total: int = 0
    """In the job's own unit (bytes for downloads); 0 = unknown."""


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the queue."""

    id: str
    kind: str
    subject: str
    arguments: Arguments
    state: State
    progress: Progress
    result: Arguments
    error: str
    attempts: int
    created_at_ms: int
    finished_at_ms: int | None

    @property
    def live(self) -> bool:
        """Queued or running."""
        return self.state in LIVE


class JobCancelled(Exception):
    """Raised inside a job by `Reporter.report` once somebody cancelled it."""


class Reporter(Protocol):
    """How a handler tells how far it is."""

    def report(self, progress: Progress) -> None:
        """Cheap to call often. Raises: JobCancelled."""
        ...


class Handler(Protocol):
    """Work of one kind. Runs in a thread; must be safe to run again after a crash."""

    def __call__(self, arguments: Arguments, reporter: Reporter) -> Arguments:
        """Do the work and return its result. Raises: HubError with the sentence a person should read."""
        ...
