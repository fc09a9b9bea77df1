"""Logs of a role: one JSON object a line on standard error."""

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog

from tokenhub.config import Settings


def configure_logs(settings: Settings, *, to: TextIO | None = None) -> None:
    """Route structlog to standard error, or to `to`, at the settings' level."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Patient(to or sys.stderr))),
        cache_logger_on_first_use=True,
    )


class _Patient:
    """A log that cannot be written (a full disk, a closed pipe) loses lines; it stops nothing that is logged."""

    __slots__ = ("__weakref__", "_file")

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()
