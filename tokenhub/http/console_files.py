"""The console's files: `index.html` for every page, hashed assets for ever, under a strict content security policy.

Serves what `hatch_build.py` put into `tokenhub/static/console`; where nothing was built, one page that says so. Files are
read once; a file `x.js.gz` beside `x.js` is sent to whoever accepts gzip.
"""

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from tokenhub.kernel.errors import NotFound

CONSOLE_DIR = Path(__file__).parent.parent / "static" / "console"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "vary": "accept-encoding",
}
_IMMUTABLE = "public, max-age=31536000, immutable"
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json"}
_NOT_BUILT = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>Token Hub</title>'
    b"<h1>The console is not built</h1><p>The hub and its API work. To build the console, run "
    b"<code>python hatch_build.py</code> in the source folder (it needs the npm registry), then reload.</p></html>"
)


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    gzipped: bytes | None
    media_type: str
    etag: str
    cache_control: str


class ConsoleFiles:
    """The built console in memory; read again when its `index.html` changes."""

    def __init__(self, folder: Path = CONSOLE_DIR) -> None:
        self._folder = folder
        self._stamp = -1.0
        self._files: dict[str, _File] = {}

    def find(self, path: str) -> _File:
        """The file at `path`; the console's one page where there is none. Raises: NotFound for a missing asset."""
        self._refresh()
        found = self._files.get(path)
        if found is not None:
            return found
        if path.startswith("assets/") or path.startswith(("api/", "v1/")):
            raise NotFound(f"There is nothing at /{path}.")
        return self._files["index.html"]

    def _refresh(self) -> None:
        index = self._folder / "index.html"
        stamp = index.stat().st_mtime if index.is_file() else 0.0
        if stamp == self._stamp:
            return
        self._stamp = stamp
        files = {
            str(path.relative_to(self._folder)): _read(path, immutable=path.parent != self._folder)
            for path in sorted(self._folder.rglob("*"))
            if path.is_file() and path.suffix != ".gz" and not path.name.startswith(".")
        }
        if "index.html" not in files:
            files["index.html"] = _file(_NOT_BUILT, None, "text/html", immutable=False)
        self._files = files


def console_router(files: ConsoleFiles | None = None) -> APIRouter:
    """The catch-all route; include it after every other router."""
    served = files or ConsoleFiles()
    router = APIRouter(include_in_schema=False)

    @router.get("/{path:path}")
    @router.head("/{path:path}")
    def console_file(path: str, request: Request) -> Response:
        return _respond(served.find(path), request)

    return router


def _respond(file: _File, request: Request) -> Response:
    headers = {**_HEADERS, "etag": file.etag, "cache-control": file.cache_control}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    body = file.body
    if file.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        body = file.gzipped
        headers["content-encoding"] = "gzip"
    return Response(body, media_type=file.media_type, headers=headers)


def _read(path: Path, *, immutable: bool) -> _File:
    zipped = path.with_name(f"{path.name}.gz")
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _file(
        path.read_bytes(), zipped.read_bytes() if zipped.is_file() else None, media_type, immutable=immutable
    )


def _file(body: bytes, gzipped: bytes | None, media_type: str, *, immutable: bool) -> _File:
    return _File(
        body=body,
        gzipped=gzipped,
        media_type=media_type,
        etag=f'"{hashlib.sha256(body).hexdigest()[:20]}"',
        cache_control=_IMMUTABLE if immutable else "no-cache",
    )
