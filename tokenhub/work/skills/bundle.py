"""A skill as it comes: a zip of a folder. Unpacked in memory, within bounds, and given its digest; nothing is run.

The digest is sha256 over one line for each file, by path: `<sha256 of the content> <size> <path>`.
"""

import hashlib
import io
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from tokenhub.work.skills.document import Document, parse
from tokenhub.work.skills.errors import BadSkill
from tokenhub.work.skills.hidden import is_hidden

ARCHIVE_MAX = 8 * 1024 * 1024
CONTENT_MAX = 16 * 1024 * 1024
FILE_MAX = 4 * 1024 * 1024
FILES_MAX = 300
PATH_MAX, DEPTH_MAX = 200, 10
_PIECE = 65536
_LEFT_OUT = frozenset({"__MACOSX", ".git", "__pycache__", ".DS_Store", ".clawhub", ".clawdhub"})
"""Folders and files of tools; never part of a skill."""
_DOCUMENTS = ("SKILL.md", "skill.md")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A skill's files and what its SKILL.md says."""

    document: Document
    files: Mapping[str, bytes]
    """Path -> content; SKILL.md among them under this name."""
    digest: str

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(map(len, self.files.values()))


def read(archive: bytes) -> Bundle:
    """The bundle in a zip. Raises: BadSkill naming what is wrong; nothing was written anywhere."""
    if len(archive) > ARCHIVE_MAX:
        raise BadSkill(f"The archive has {len(archive)} bytes; it may have {ARCHIVE_MAX}.")
    return of(_rooted(_unzipped(archive)))


def of(files: Mapping[str, bytes]) -> Bundle:
    """The bundle of these files. Raises: BadSkill."""
    return Bundle(parse(files["SKILL.md"]), files, digest_of(_lines(files)))


def digest_of(lines: Mapping[str, tuple[str, int]]) -> str:
    """The digest, of path -> (sha256, size in bytes)."""
    text = "".join(f"{sha256} {size} {path}\n" for path, (sha256, size) in sorted(lines.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(files: Mapping[str, bytes]) -> dict[str, tuple[str, int]]:
    return {path: (hashlib.sha256(data).hexdigest(), len(data)) for path, data in files.items()}


def _unzipped(archive: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    taken: set[str] = set()
    left = CONTENT_MAX
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            entries = packed.infolist()
            if len(entries) > FILES_MAX * 2:
                raise BadSkill(f"The archive has {len(entries)} entries; a skill may have {FILES_MAX} files.")
            for entry in entries:
                path = _path(entry)
                if path is None:
                    continue
                folded = unicodedata.normalize("NFC", path).casefold()
                if folded in taken:
                    raise BadSkill(f"The archive has {path!r} twice.")
                taken.add(folded)
                files[path] = _content(packed, entry, most=min(left, FILE_MAX))
                left -= len(files[path])
                if len(files) > FILES_MAX:
                    raise BadSkill(f"A skill may have {FILES_MAX} files.")
            for path in files:
                above = {
                    str(one).casefold() for one in PurePosixPath(unicodedata.normalize("NFC", path)).parents
                }
                if above & taken:
                    raise BadSkill(f"{path!r} in the archive lies below a file.")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, OverflowError) as error:
        raise BadSkill("This is no zip archive, or a damaged one.") from error
    except (RuntimeError, NotImplementedError) as error:
        raise BadSkill("The archive is encrypted or packed in a way that is not read here.") from error
    return files


def _content(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, *, most: int) -> bytes:
    """What is really in it, whatever its header says of its size."""
    if entry.flag_bits & 0x1:
        raise BadSkill(f"{entry.filename[:PATH_MAX]!r} in the archive is encrypted.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadSkill(f"{entry.filename[:PATH_MAX]!r} is packed in a way that is not read here.")
    data = bytearray()
    with packed.open(entry) as handle:
        while piece := handle.read(_PIECE):
            data += piece
            if len(data) > most:
                raise BadSkill(
                    f"The archive unpacks to too much: one file may have {FILE_MAX} bytes, all {CONTENT_MAX}."
                )
    return bytes(data)


def _path(entry: zipfile.ZipInfo) -> str | None:
    """A plain file's path, None for a folder or what is left out. Raises: BadSkill for anything else."""
    name = entry.orig_filename
    parts = PurePosixPath(name).parts
    shown = repr(name[:PATH_MAX])
    if not name or "\x00" in name or any(is_hidden(one) or one in "\n\r\t" for one in name):
        raise BadSkill(f"The archive has a file whose name holds characters that do not show ({shown}).")
    if name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0]:
        raise BadSkill(f"{shown} in the archive points outside of the skill.")
    if len(name) > PATH_MAX or len(parts) > DEPTH_MAX:
        raise BadSkill(f"{shown} in the archive has too long a path.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise BadSkill(f"{shown} in the archive is a link; put the file itself in its place.")
    if entry.is_dir() or kind == stat.S_IFDIR or _LEFT_OUT & set(parts):
        return None
    if kind not in (0, stat.S_IFREG):
        raise BadSkill(f"{shown} in the archive is no plain file.")
    return "/".join(parts)


def _rooted(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files from the folder of SKILL.md on. Raises: BadSkill if there is none, or more than one."""
    tops = {path.split("/", 1)[0] for path in files}
    if not any(name in files for name in _DOCUMENTS) and len(tops) == 1:
        top = next(iter(tops)) + "/"
        files = {path.removeprefix(top): data for path, data in files.items()}
    found = [name for name in _DOCUMENTS if name in files]
    if not found:
        raise BadSkill("There is no SKILL.md at the top of this folder or archive.")
    return {("SKILL.md" if path == found[0] else path): data for path, data in files.items()}
