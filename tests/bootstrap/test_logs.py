"""Logs of a role."""

import pytest
import structlog

from tokenhub.bootstrap.logs import configure_logs
from tokenhub.config import Settings


def test_a_log_on_a_full_disk_stops_nothing(sqlite_settings: Settings) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        with pytest.raises(OSError):
            print("words", file=full, flush=True)
        configure_logs(sqlite_settings, to=full)
        try:
            structlog.get_logger().error("disk_full", error="x" * 100_000)
        finally:
            structlog.reset_defaults()
            with pytest.raises(OSError):
                full.close()
