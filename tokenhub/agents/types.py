"""Words of agent runs."""

from dataclasses import dataclass
from typing import Any, Literal, cast

RunState = Literal["queued", "running", "waiting", "stopped", "done", "failed"]
StepState = Literal["open", "waiting", "done", "unknown"]
Mind = Literal["tools", "exact"]
ENDED: tuple[RunState, ...] = ("done", "failed")


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its row stands."""

    id: str
    org_id: str
    user_id: str
    agent_id: str
    parent_id: str | None
    root_id: str
    key_id: str
    origin: str
    request: str
    rules: tuple[str, ...]
    tools: tuple[str, ...]
    model: str
    mind: Mind
    state: RunState
    waits_for: str
    wake_at_ms: int | None
    segment: int
    failures: int
    tokens_max: int
    steps_max: int
    work_ms_max: int
    worked_ms: int
    since_ms: int
    code: str
    answer: str
    created_at_ms: int
    ended_at_ms: int | None

    @property
    def ended(self) -> bool:
        """True once nothing of it will run any more."""
        return self.state in ENDED

    def work_left_ms(self, at_ms: int) -> int:
        """What is left of its time, in a running stretch."""
        return self.work_ms_max - self.worked_ms - (at_ms - self.since_ms)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a run's journal."""

    run_id: str
    seq: int
    kind: Literal["model", "command"]
    state: StepState
    name: str
    arguments: str
    """JSON text, as the model gave it."""
    same: str
    call_id: str
    answer: dict[str, Any] | None
    """A model's message, or a command's envelope; None while it is open."""
    body: str
    attempts: int
    request_id: str
    tokens: int
    held_tokens: int
    audit_id: str
    gate_id: str
    started_at_ms: int
    ended_at_ms: int | None

    @property
    def error(self) -> dict[str, Any]:
        """The error of its envelope, or of a call that failed; empty if it has none."""
        found: object = (self.answer or {}).get("error")
        return cast(dict[str, Any], found) if isinstance(found, dict) else {}

    @property
    def data(self) -> dict[str, Any]:
        """The data of its envelope; empty if it has none."""
        found: object = (self.answer or {}).get("data")
        return cast(dict[str, Any], found) if isinstance(found, dict) else {}

    @property
    def goes_on(self) -> bool:
        """True for a look at something that has not ended: its answer names the same look as what comes next."""
        asked = " ".join(["hub", *self.name.split(".")])
        return str((self.answer or {}).get("next", "")).startswith(f"{asked} ")

    @property
    def key(self) -> str:
        """What makes it happen once: run and number."""
        return f"{self.run_id}:{self.seq}"


@dataclass(frozen=True, slots=True)
class Action:
    """A command that a model wants to run."""

    call_id: str
    name: str
    arguments: str
    """JSON text, as the model gave it."""
    problem: str = ""
    """Why it cannot be tried at all; told to the model instead of running it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a run may use at most."""

    tokens: int = 200_000
    """Of every model call together, its children's too."""
    steps: int = 60
    """Model calls and commands."""
    work_ms: int = 3_600_000
    """Time at work; waiting does not count."""
