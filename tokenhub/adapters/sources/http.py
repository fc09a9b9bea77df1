"""http(s): one file, resumed with Range. Hugging Face and ModelScope are addresses of the same transport."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tokenhub.maas.catalog.types import Report, SourceUnavailable

CONNECT_S = 4.0
"""A source that does not answer within this is passed over."""
STALL_S = 30.0
"""A download without a byte for this long is broken off (and resumed at the next try)."""
_BLOCK = 1 << 20


class HttpSource:
    """Files behind a URL. `to_url` turns an address of the source into one."""

    def __init__(self, to_url: Callable[[str], str] = str) -> None:
        self._to_url = to_url

    def answers(self, address: str) -> bool:
        """The first byte comes within a few seconds."""
        try:
            with _open(self._to_url(address), start=0, end=0, timeout_s=CONNECT_S) as response:
                return response.status in (200, 206)
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def fetch(self, address: str, partial: Path, *, size_bytes: int, report: Report) -> None:
        """Append the missing bytes; starts over where the server knows no ranges."""
        start = partial.stat().st_size if partial.exists() else 0
        if start > size_bytes:
            partial.unlink()
            start = 0
        if start == size_bytes:
            return
        url = self._to_url(address)
        try:
            with _open(url, start=start, end=None, timeout_s=STALL_S) as response:
                if response.status != 206:
                    start = 0
                _append(response, partial, start, size_bytes, report)
        except urllib.error.HTTPError as error:
            raise SourceUnavailable(f"{_host(url)} answered {error.code}") from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise SourceUnavailable(f"{_host(url)} broke off ({_reason(error)})") from error
        if partial.stat().st_size < size_bytes:
            raise SourceUnavailable(f"{_host(url)} broke off before the end")


def huggingface() -> HttpSource:
    """`<owner>/<repository>/<file>` on the Hugging Face hub."""
    return HttpSource(lambda address: "https://huggingface.co/{}/{}/resolve/main/{}".format(*_parts(address)))


def modelscope() -> HttpSource:
    """`<owner>/<repository>/<file>` on ModelScope."""
    return HttpSource(
        lambda address: "https://modelscope.cn/models/{}/{}/resolve/master/{}".format(*_parts(address))
    )


def _parts(address: str) -> tuple[str, str, str]:
    owner, repository, file = address.split("/", 2)
    return owner, repository, urllib.parse.quote(file)


def _open(url: str, *, start: int, end: int | None, timeout_s: float) -> http.client.HTTPResponse:
    if not url.startswith(("http://", "https://")):
        raise ValueError("a model URL starts with http:// or https://")
    request = urllib.request.Request(url, headers={"User-Agent": "tokenhub", "Accept-Encoding": "identity"})
    if start or end is not None:
        request.add_header("Range", f"bytes={start}-{'' if end is None else end}")
    return urllib.request.urlopen(request, timeout=timeout_s)


def _append(
    response: http.client.HTTPResponse, partial: Path, start: int, size_bytes: int, report: Report
) -> None:
    with partial.open("r+b" if start else "wb") as handle:
        handle.seek(start)
        handle.truncate()
        done = start
        while block := response.read(_BLOCK):
            handle.write(block)
            done += len(block)
            if done > size_bytes:
                break  # longer than the model: the hash check says so
            report(done, size_bytes)


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(inner) or type(inner).__name__
