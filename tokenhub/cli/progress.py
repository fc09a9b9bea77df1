"""Progress of long work on standard error: one line that is rewritten on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

_MIB = 2**20


class Progress:
    """Shows what is going on; use as a context manager, so that the line is ended properly."""

    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()
        self._dirty = False
        self._last_s = 0.0
        self._started: dict[str, float] = {}

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dirty:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def bytes(self, what: str, done: int, total: int) -> None:
        """`done` of `total` bytes of `what` (total 0 = unknown)."""
        now = time.monotonic()
        started = self._started.setdefault(what, now)
        speed = done / max(now - started, 0.5) / _MIB
        share = f" {100 * done // total:3d} %" if total else ""
        size = f"{done // _MIB} of {total // _MIB} MiB" if total else f"{done // _MIB} MiB"
        self._show(f"{what}:{share} ({size}, {speed:.0f} MiB/s)", finished=bool(total) and done >= total)

    def waiting(self, what: str, seconds: float) -> None:
        """Still busy with `what` after `seconds`."""
        if seconds > 1:
            self._show(f"{what} … {seconds:.0f} s")

    def _show(self, line: str, *, finished: bool = False) -> None:
        now = time.monotonic()
        if self._tty:
            if now - self._last_s < 0.1 and not finished:
                return
            sys.stderr.write(f"\r\x1b[K  {line}")
            self._dirty = True
        else:
            if now - self._last_s < 5.0 and not finished:
                return
            sys.stderr.write(f"  {line}\n")
        self._last_s = now
        sys.stderr.flush()
