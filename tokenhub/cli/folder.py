"""A folder, or a zip, of this machine as what a command takes: a zip in base64."""

import base64
import io
import os
import zipfile
from pathlib import Path

import click

BYTES_MAX = 32 * 1024 * 1024
FILES_MAX = 2000
_LEFT_OUT = frozenset({".git", "__pycache__", ".DS_Store", ".venv", "node_modules"})
_ZIP = "UEsDB"
"""How every zip in base64 begins."""
_INSTANT = (1980, 1, 1, 0, 0, 0)
"""The same folder is the same zip."""


def packed(flag: str, value: str) -> str:
    """The zip at this path, or of this folder; what is one in base64 already stays. Raises: click.UsageError."""
    path = Path(value).expanduser()
    if value.startswith(_ZIP) and not os.path.exists(path):  # what a program sends in the place of a path
        return value
    try:
        if path.is_dir():
            return base64.b64encode(_zip(flag, path)).decode()
        if path.is_file():
            if path.name.lower() == "skill.md":
                raise click.UsageError(f"{flag}: name the folder of {path.name}, {path.resolve().parent}.")
            if path.stat().st_size > BYTES_MAX:
                raise click.UsageError(f"{flag}: {value} has more than {BYTES_MAX} bytes.")
            return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise click.UsageError(
            f"{flag}: cannot read {str(error.filename or value)[:200]}: {error.strerror}."
        ) from error
    except ValueError as error:  # a NUL in the path
        raise click.UsageError(f"{flag}: {value!r} is no path.") from error
    raise click.UsageError(f"{flag}: there is no folder and no zip at {value[:200]}.")


def _zip(flag: str, folder: Path) -> bytes:
    packed = io.BytesIO()
    count = size = 0
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for where, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
            for name in sorted([*names, *(name for name in folders if (Path(where) / name).is_symlink())]):
                path = Path(where) / name
                if name in _LEFT_OUT:
                    continue
                if path.is_symlink() or not path.is_file():
                    raise click.UsageError(
                        f"{flag}: {path} is a link or no plain file; put a copy in its place."
                    )
                count, size = count + 1, size + path.stat().st_size
                if count > FILES_MAX or size > BYTES_MAX:
                    raise click.UsageError(
                        f"{flag}: {folder} has more than {FILES_MAX} files or {BYTES_MAX} bytes."
                    )
                shown = path.relative_to(folder).as_posix()
                try:
                    shown.encode()
                except UnicodeEncodeError as error:
                    raise click.UsageError(f"{flag}: the name of {shown!r} is no UTF-8 text.") from error
                archive.writestr(zipfile.ZipInfo(shown, _INSTANT), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()
