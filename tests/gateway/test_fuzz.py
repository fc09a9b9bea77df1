"""A few seconds of the protocol fuzzer in every run; ten minutes by `python -m tests.gateway.fuzz_protocol`."""

from dataclasses import replace

from tests.gateway.conftest import running
from tests.gateway.fuzz_protocol import fuzz
from tokenhub.config import Settings


async def test_fuzz(sqlite_settings: Settings) -> None:
    short = replace(
        sqlite_settings, header_timeout_s=1, body_timeout_s=1, idle_timeout_s=2, write_timeout_s=2
    )
    async with running(short, first=500, idle=500) as hub:
        assert await fuzz(hub, seconds=5, seed=20) > 100
