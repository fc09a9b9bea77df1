"""Add a GGUF file of this machine to the catalogue: header read, hash computed, file linked (or copied) into the store."""

import errno
import os
import re
import shutil
from pathlib import Path

from tokenhub.config import Settings
from tokenhub.kernel.errors import InvalidRequest
from tokenhub.maas.catalog.fetch import DiskFull, sha256_of
from tokenhub.maas.catalog.gguf import GgufHeader, read_header
from tokenhub.maas.catalog.types import Kind, ModelEntry, Report, SourceRef

FALLBACK_TEMPLATE = "chatml"
_NAME = re.compile(r"[^a-z0-9._-]+")


def is_path(model: str) -> bool:
    """True if `model` names a file rather than a catalogue entry."""
    return "/" in model or model.endswith(".gguf")


def model_name(path: Path) -> str:
    """The public name of a file that was given none: its stem in lower case."""
    return _NAME.sub("-", path.stem.lower()).strip("-") or "model"


def check_file(path: Path) -> GgufHeader:
    """The header of a model file. Raises: InvalidRequest (no such file, not readable), NotGguf."""
    try:
        if not path.is_file():
            raise InvalidRequest(f"There is no file {path}.", code="file_not_found", param="path")
        return read_header(path)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read ({error.strerror}).", param="path") from error


def add_file(path: Path, settings: Settings, *, name: str, report: Report) -> ModelEntry:
    """Put the file at `path` into the store and describe it. Raises: InvalidRequest, NotGguf, DiskFull."""
    header = check_file(path)
    digest = sha256_of(path, report=report)
    target = settings.models_dir / f"{digest}.gguf"
    if not target.exists():
        _place(path, target)
    return describe(header, path, name=name or model_name(path), sha256=digest)


def describe(header: GgufHeader, path: Path, *, name: str, sha256: str) -> ModelEntry:
    """The entry for a file with this header. One without a chat template gets the fallback and says so."""
    kinds: frozenset[Kind] = frozenset({"embedding"} if header.embedding_only else {"chat", "completion"})
    needs_template = not header.embedding_only and not header.has_template
    note = ""
    if needs_template:
        note = (
            f"The file brings no chat template; conversations are written as ChatML ({FALLBACK_TEMPLATE}), "
            "which the model may not have been trained for. Text completions are not affected."
        )
    return ModelEntry(
        name=name,
        title=header.name or path.name,
        licence=header.licence or "unknown",
        size_bytes=path.stat().st_size,
        sha256=sha256,
        kinds=kinds,
        context_tokens=header.context_tokens,
        sources=(SourceRef("path", str(path.absolute())),),
        template=FALLBACK_TEMPLATE if needs_template else "",
        pooling="mean" if header.embedding_only and not header.pooled else "",
        note=note,
    )


def _place(path: Path, target: Path) -> None:
    """Link the file into the store, or copy it where the store is on another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path.resolve(), target)
        return
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES):
            raise
    partial = target.with_suffix(".partial")
    try:
        shutil.copyfile(path, partial)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise DiskFull(
                f"{path.name} does not fit the disk of {target.parent}; free some space."
            ) from error
        raise
