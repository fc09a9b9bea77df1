"""The journal of one gateway boot: what was used is written here before the bytes leave the process.

Files `<owner>.<n>.jsonl`; each line is an event (captured; an array of its fields), a plain use (captured; an array that
begins with the number of its kind, which stands in a line before: `["k", [number, kind]]`), `["d", draft]` (a
checkpoint) or `["v", request_id]` (void). Older versions wrote `["c", event]`, and events as objects.
`<owner>.lock` is flocked for the life of the process: a journal whose lock is free
belongs to a dead one. A line without its newline, or with zero bytes in it, was never acknowledged and is ignored.
"""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple, fields

from tokenhub.clearing.pages import Pages, keeps_room
from tokenhub.kernel.errors import Unavailable
from tokenhub.metering.plain import Kinds, PlainUse, event_of
from tokenhub.metering.types import EVENT_FIELDS, Kind, UsageEvent
from tokenhub.metering.uses import lines_of

ROTATE_BYTES = 32 * 2**20
_PROBE_S = 0.25
_NUL = b"\\u0000"
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_decode_array = msgspec.json.Decoder(UsageEvent).decode
_decode_object = msgspec.json.Decoder(
    msgspec.defstruct(
        "EventObject",
        [
            (field.name, field.type) if field.required else (field.name, field.type, field.default)
            for field in fields(UsageEvent)
        ],
        kw_only=True,
    )
).decode
_decode_line = msgspec.json.Decoder(tuple[str, msgspec.Raw]).decode
_decode_plain = msgspec.json.Decoder(PlainUse).decode
_decode_kind = msgspec.json.Decoder(tuple[int, Kind]).decode
_has_kind = re.compile(rb'\["[cdkv]",[\[{"]').match
"""An event's line goes on with a number after the request id."""
_is_plain = re.compile(rb"\[\d").match


class Replay(NamedTuple):
    """What a journal says was used."""

    events: list[UsageEvent]
    bad_lines: int
    """Lines that could not be read: what a write or a store left that was not acknowledged."""


class Journal:
    """Appends for one owner. Not thread-safe: the event loop's thread writes."""

    def __init__(self, folder: Path, owner_id: str, *, fsync: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._owner_id = owner_id
        self._fsync = fsync
        self._lock_fd = _take_new_lock(folder / f"{owner_id}.lock")
        self._number = 0
        self._fd = -1
        self._pages: Pages | None = None
        self._size = 0
        self.told: set[int] = set()
        """Kinds that stand in this file."""
        self._torn = False  # behind `_size` may stand what a write left that failed
        self._mapped = not fsync and keeps_room(folder)
        self._probed_at = 0.0
        self.broken = False
        """The last write failed: new work must be refused until one succeeds."""
        self._open_next()

    @property
    def path(self) -> Path:
        """The file that is written now."""
        return self._folder / f"{self._owner_id}.{self._number}.jsonl"

    @property
    def full(self) -> bool:
        """True if it is time to rotate."""
        return self._size >= ROTATE_BYTES

    def capture(self, events: Sequence[UsageEvent]) -> None:
        """A line for each. Raises: Unavailable if they are not safely written; the bytes must then not be sent."""
        lines = _encode_lines(events)
        if _NUL in lines:
            for event in events:
                event.clean()
            lines = _encode_lines(events)
        self.append(lines)

    def capture_plain(self, uses: Sequence[PlainUse], kinds: Kinds) -> bytes:
        """`capture` of plain uses, after the kinds that this file does not know yet; returns their lines. Raises: as `capture`."""
        lines = lines_of(uses)
        new = {use[0] for use in uses} - self.told
        told = [b'["k",%b]\n' % _encode((number, kinds[number])) for number in sorted(new)]
        self.append(b"".join((*told, lines)))
        self.told |= new
        return lines

    def checkpoint(self, draft: UsageEvent) -> bytes:
        """Write a draft; returns the line. Raises: Unavailable as `capture`."""
        line = b'["d",' + _written(draft) + b"]\n"
        self.append(line)
        return line

    def void(self, request_id: str) -> None:
        """Say that a checkpointed request used nothing after all."""
        self.append(b'["v",' + _encode(request_id) + b"]\n")

    def append(self, line: bytes) -> None:
        """Put whole lines there before returning (and fsync them where durability asks for that), or none."""
        if self._pages is not None and not self._torn and self._pages.put(line, self._size):
            self._size += len(line)
            self.broken = False
        else:
            self._write_out(line)

    def _write_out(self, line: bytes) -> None:
        if self._pages is not None:
            self._pages.close()  # the file may be made shorter
        try:
            if self._torn:
                self._cut()
            written = os.pwrite(self._fd, line, self._size)
            if written != len(line):
                raise OSError(f"only {written} bytes were written")
            if self._fsync:
                os.fdatasync(self._fd)
        except OSError as error:
            self.broken = self._torn = True
            with contextlib.suppress(OSError):
                self._cut()
            raise Unavailable(
                f"the journal cannot be written ({error.strerror or error}); no work is accepted until there is room"
            ) from error
        self._size += written
        self.broken = False

    def _cut(self) -> None:
        os.ftruncate(self._fd, self._size)
        self._torn = False

    def probe(self) -> bool:
        """Try to write again after a failure, at most four times a second; True if the journal works."""
        if self.broken and time.monotonic() - self._probed_at >= _PROBE_S:
            self._probed_at = time.monotonic()
            try:
                self.append(b"\n" * 4096)
            except Unavailable:
                return False
        return not self.broken

    def rotate(self, drafts: Iterable[bytes]) -> Path:
        """Go on in a new file that starts with the drafts of open holds; returns the finished file."""
        finished, old = self.path, (self._fd, self._size, self._pages)
        self._open_next()
        for line in drafts:
            self.append(line)
        _close(*old)
        return finished

    def close(self, *, delete: bool) -> None:
        """Let go of the lock; `delete` the files if everything in them is settled."""
        _close(self._fd, self._size, self._pages)
        if delete:
            remove(self._folder, self._owner_id)
        os.close(self._lock_fd)

    def _open_next(self) -> None:
        self._number += 1
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._pages = Pages(self._fd) if self._mapped else None
        self._size = 0
        self._torn = False
        self.told = set()


def _close(fd: int, size: int, pages: Pages | None) -> None:
    """Close a file at its end: what was allocated behind it goes back."""
    if pages is not None:
        pages.close()
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
    os.close(fd)


def _written(event: UsageEvent) -> bytes:
    """The event as JSON, cleaned first if a database would refuse it."""
    text = _encode(event)
    if _NUL in text:
        event.clean()
        text = _encode(event)
    return text


def _decode_event(raw: msgspec.Raw) -> UsageEvent:
    if bytes(raw)[:1] == b"{":
        values = zip(EVENT_FIELDS, astuple(_decode_object(raw)), strict=True)
        return UsageEvent(**dict(values))
    return _decode_array(raw)


def draft_of(line: bytes) -> UsageEvent:
    """The draft in a line that `checkpoint` returned."""
    return _decode_event(_decode_line(line)[1])


def dead_owners(folder: Path) -> Iterator[str]:
    """Owners in `folder` whose process is gone; each one's lock is held while the caller works on it."""
    for lock in sorted(folder.glob("*.lock")):
        fd = _take_free_lock(lock)
        if fd is None:
            continue
        try:
            yield lock.stem
        finally:
            os.close(fd)


def replay(folder: Path, owner_id: str) -> Replay:
    """Read an owner's files in order: captures, and drafts that were neither captured nor voided."""
    captured: dict[str, UsageEvent] = {}
    drafts: dict[str, UsageEvent] = {}
    voided: set[str] = set()
    kinds: dict[int, Kind] = {}
    bad = 0
    for path in _files(folder, owner_id):
        text, _, torn = path.read_bytes().rstrip(b"\0").rpartition(b"\n")
        bad += bool(torn)
        for line in text.split(b"\n"):
            if not line:
                continue
            try:
                if _is_plain(line):
                    use = _decode_plain(line)
                    captured[use[1]] = event_of(use, kinds[use[0]])
                    continue
                kind, raw = _decode_line(line) if _has_kind(line) else ("c", msgspec.Raw(line))
                if kind == "v":
                    voided.add(msgspec.json.decode(raw, type=str))
                    continue
                if kind == "k":
                    number, words = _decode_kind(raw)
                    kinds[number] = words
                    continue
                event = _decode_event(raw)
                event.clean()
            except (msgspec.DecodeError, KeyError):
                bad += 1
                continue
            (captured if kind == "c" else drafts)[event.request_id] = event
    open_drafts = [draft for key, draft in drafts.items() if key not in captured and key not in voided]
    return Replay([*captured.values(), *open_drafts], bad)


def remove(folder: Path, owner_id: str) -> None:
    """Delete an owner's files, the lock last."""
    for path in _files(folder, owner_id):
        path.unlink(missing_ok=True)
    (folder / f"{owner_id}.lock").unlink(missing_ok=True)


def _files(folder: Path, owner_id: str) -> list[Path]:
    return sorted(folder.glob(f"{owner_id}.*.jsonl"), key=lambda path: int(path.suffixes[-2][1:]))


def _take_new_lock(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if _is_still(path, fd):
            return fd
        os.close(fd)  # a sweep took it between open and lock, and removed it


def _take_free_lock(path: Path) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    if not _is_still(path, fd):
        os.close(fd)
        return None
    return fd


def _is_still(path: Path, fd: int) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev)
