"""Get a model's bytes from the first source that answers, verify them, and only then put them in the store.

    models/<sha256>.gguf        verified, complete
    models/<sha256>.partial     on its way; kept after a break, continued by the next try

A wrong hash deletes the file. Nothing else ever appears under the final name.
"""

import errno
import fcntl
import hashlib
import shutil
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import structlog

from tokenhub.config import Settings
from tokenhub.kernel.errors import Conflict, HubError
from tokenhub.maas.catalog.types import ModelEntry, ModelSource, Report, SourceRef, SourceUnavailable

log = structlog.get_logger()
Sources = Mapping[str, ModelSource]
_DISK_RESERVE_BYTES = 64 * 2**20


class FetchFailed(HubError):
    """No source delivered the model."""

    status = 502
    code = "model_fetch_failed"


class WrongHash(HubError):
    """What a source delivered is not the model; it was deleted."""

    status = 502
    code = "model_hash_mismatch"


class DiskFull(HubError):
    """The model does not fit the disk."""

    status = 507
    code = "disk_full"


def fetch(entry: ModelEntry, settings: Settings, *, sources: Sources, report: Report) -> Path:
    """Make sure the entry's verified file is here; returns its path.

    Raises: FetchFailed (no source delivers), WrongHash, DiskFull, Conflict (another process fetches it now);
    whatever `report` raises. What came so far stays for the next try, unless its hash is wrong.
    """
    target = entry.path(settings)
    if target.exists():
        report(entry.size_bytes, entry.size_bytes)
        return target
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    with _exclusive(target.with_suffix(".lock"), entry):
        if not target.exists():
            _check_space(entry, partial)
            _deliver(entry, partial, sources=sources, report=report)
            partial.replace(target)
    return target


def sha256_of(path: Path, *, report: Report | None = None) -> str:
    """sha256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    size, done = path.stat().st_size, 0
    with path.open("rb") as handle:
        while block := handle.read(4 * 2**20):
            digest.update(block)
            done += len(block)
            if report is not None:
                report(done, size)
    return digest.hexdigest()


def _deliver(entry: ModelEntry, partial: Path, *, sources: Sources, report: Report) -> None:
    reasons: list[str] = []
    for ref in _in_order(entry.sources, sources):
        try:
            log.info("model_source_chosen", model=entry.name, source=ref.kind, resumed_bytes=_size(partial))
            sources[ref.kind].fetch(ref.address, partial, size_bytes=entry.size_bytes, report=report)
            _verify(entry, partial, ref)
        except (SourceUnavailable, WrongHash) as error:
            reasons.append(f"{ref.kind}: {error.message}")
            log.warning("model_source_failed", model=entry.name, source=ref.kind, reason=error.message)
            wrong = error if isinstance(error, WrongHash) else None
            if wrong is not None and len(entry.sources) == 1:
                raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise FetchFailed(f"{entry.name} could not be stored ({error.strerror}).") from error
            partial.unlink(missing_ok=True)
            raise _disk_full(entry, partial) from error
        else:
            return
    detail = "; ".join(reasons) or "no source answered"
    raise FetchFailed(
        f"{entry.name} could not be fetched ({detail}). Check the network and run `hub model pull {entry.name}` "
        "again, or add a file you have with `hub model add PATH`."
    )


def _in_order(refs: tuple[SourceRef, ...], sources: Sources) -> list[SourceRef]:
    """Sources that answer, in the entry's order; the others after them, in case the look was wrong."""
    known = [ref for ref in refs if ref.kind in sources]
    if len(known) < 2:
        return known
    with ThreadPoolExecutor(len(known)) as pool:
        asked = [pool.submit(sources[ref.kind].answers, ref.address) for ref in known]
        answers = [answer.result() for answer in asked]
    ready = [ref for ref, yes in zip(known, answers, strict=True) if yes]
    return ready + [ref for ref in known if ref not in ready]


def _verify(entry: ModelEntry, partial: Path, ref: SourceRef) -> None:
    size = _size(partial)
    found = sha256_of(partial) if size == entry.size_bytes else ""
    if found == entry.sha256:
        return
    partial.unlink(missing_ok=True)
    what = f"sha256 {found[:12]}…" if found else f"{size:,} bytes"
    want = f"{entry.sha256[:12]}…" if found else f"{entry.size_bytes:,}"
    raise WrongHash(
        f"What came from {ref.kind} for {entry.name} is not this model ({what} instead of {want}); it was deleted."
    )


def _check_space(entry: ModelEntry, partial: Path) -> None:
    missing = entry.size_bytes - _size(partial) + _DISK_RESERVE_BYTES
    if shutil.disk_usage(partial.parent).free < missing:
        raise _disk_full(entry, partial)


def _disk_full(entry: ModelEntry, partial: Path) -> DiskFull:
    free = shutil.disk_usage(partial.parent).free
    return DiskFull(
        f"{entry.name} needs {entry.size_bytes / 1e6:,.0f} MB, but {partial.parent} has {free / 1e6:,.0f} MB free. "
        "Free some space or set TOKENHUB_HOME to a larger disk, then try again."
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _exclusive(path: Path, entry: ModelEntry) -> Generator[None, None, None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"{entry.name} is being fetched by another process; follow it with `hub model list`.",
                code="model_being_fetched",
            ) from error
        yield  # the lock file stays: removing it would let two processes hold two locks
