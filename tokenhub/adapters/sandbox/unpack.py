"""The work folder of a script, out of the archive that the sandbox packed; every byte of it is the script's word."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

FILES_MAX = 100
PATH_MAX = 200


def unpack(
    archive: Path, inputs: Mapping[str, bytes], *, most: int
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """New and changed files, path -> content, and notes on what was left out; plain files only, `most` bytes in all."""
    files: dict[str, bytes] = {}
    notes: list[str] = []
    data = archive.read_bytes()
    if not data:
        return {}, ("Its work folder could not be packed: too much lies in it.",)
    left = most
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as packed:
            for entry in packed:
                path = _path(entry.name)
                if entry.isdir():
                    continue
                if path is None or not entry.isreg() or entry.issparse():
                    notes.append(f"{entry.name[:PATH_MAX]!r} is no plain file of the work folder; left out.")
                elif len(files) >= FILES_MAX or entry.size > left:
                    notes.append(f"{path!r} is too much; left out.")
                else:
                    handle = packed.extractfile(entry)
                    content = b"" if handle is None else handle.read(entry.size)
                    left -= len(content)
                    if inputs.get(path) != content:
                        files[path] = content
                if len(notes) >= FILES_MAX:
                    break
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError, UnicodeError):
        notes.append("What it left in its work folder could not be read to the end.")
    return files, tuple(notes)


def _path(name: str) -> str | None:
    """The path within the work folder, or None for one that is odd."""
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    path = "/".join(parts)
    odd = not path or name.startswith("/") or ".." in parts or len(path) > PATH_MAX
    return None if odd or not path.isprintable() else path
