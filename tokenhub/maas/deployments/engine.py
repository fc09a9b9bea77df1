"""The port by which engines of our own are started. `adapters/engines` implement it; the supervisor calls it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tokenhub.kernel.errors import Unavailable


class EngineFailed(Unavailable):
    """An engine did not start; the message says why."""

    code = "engine_failed"


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What to serve."""

    model_path: Path
    alias: str
    """Name of the model in the engine's answers."""
    slots: int
    """Parallel sequences."""
    context_tokens: int
    """Of each sequence."""
    threads: int
    """0 = one per core."""
    template: str
    """"" = the model's own chat template, else the name of one the engine has."""
    embedding: bool
    pooling: str


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """The engine's own counters since its start."""

    prompt_tokens: int
    """Processed; found in the prompt cache excluded."""
    output_tokens: int


class Engine(Protocol):
    """One running engine process."""

    boot: str
    """Id of this process life."""
    pid: int
    base_url: str
    api_key: str
    context_tokens: int
    """What one sequence really has."""

    async def wait(self) -> int:
        """Until it has ended; its exit code."""
        ...

    async def counts(self) -> EngineCounts | None:
        """Its counters now; None if it does not answer in time."""
        ...

    async def stop(self) -> None:
        """End it, gently first; returns when the process is gone."""
        ...


class EngineLauncher(Protocol):
    """Starts engines of one kind."""

    async def start(self, spec: EngineSpec) -> Engine:
        """Start one and return when it serves. Raises: EngineFailed."""
        ...
