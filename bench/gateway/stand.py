"""Our gateway as the benchmark runs it: a fresh hub with one key, limits at four levels, a price, and a provider.

    python -m bench.gateway.stand PORT UPSTREAM_PORT [--free]

Full path on: key look-up, limits, leases, journal, settlement into SQLite. `--free` leaves the books out (nothing is
held, journaled or settled), which shows what they cost. The folder is made in `BENCH_WORK`; whoever gives it removes it. Models `alias-<chunks>-<delay_ms>` go to
the mock's `m-<chunks>-<delay_ms>`.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tokenhub.adapters.engines import gateway_adapters
from tokenhub.clearing.cells import Hold
from tokenhub.clearing.cells import Path as ClerkPath
from tokenhub.clearing.clerk import Clerk
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.ledger.types import Amounts
from tokenhub.maas.gateway import server
from tokenhub.metering.plain import PlainUse
from tokenhub.metering.types import UsageDraft, UsageEvent


class FreeClerk(Clerk):
    """Grants everything and writes nothing down."""

    async def start(self) -> None:
        """Nothing to recover, nothing to register."""

    async def close(self) -> None:
        """Nothing to settle."""

    def try_authorize(self, path: ClerkPath, need: Amounts, request_id: str, now_ms: int) -> Hold:
        """Always."""
        return Hold(request_id, path, need)

    def checkpoint(self, hold: Hold, draft: UsageDraft) -> None:
        """Not written."""

    def capture_all(self, charges: Sequence[tuple[Hold, UsageEvent, int]]) -> None:
        """Not written, not charged."""
        for hold, _, _ in charges:
            hold.closed = True

    def journal_plain(self, charges: Sequence[tuple[Hold, PlainUse, int]]) -> bytes:
        """Not written."""
        return b""

    def close_plain(self, charges: Sequence[tuple[Hold, PlainUse, int]], lines: bytes) -> None:
        """Not charged."""
        for hold, _, _ in charges:
            hold.closed = True


async def run_free(port: int, home: Path) -> None:
    """Serve until SIGTERM."""
    settings = Settings(home=home, port=port)
    database = Database(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.serve(
        settings, database, index=0, adapters=gateway_adapters(), prompt_counter=None, stop=stop
    )
    database.close()


def main(port: int, upstream_port: int, *, free: bool) -> None:
    """Seed in a process of its own, then become the gateway: `hub serve gateway`, as everybody runs it."""
    folder = Path(tempfile.mkdtemp(prefix="th-bench-", dir=os.environ.get("BENCH_WORK")))
    command = [
        sys.executable,
        "-c",
        f"from bench.gateway.seed import seed; seed({str(folder)!r}, {upstream_port})",
    ]
    subprocess.run(command, check=True)
    if free:
        server.Clerk = FreeClerk
        uvloop.run(run_free(port, folder))
        return
    os.environ.update(TOKENHUB_HOME=str(folder), TOKENHUB_PORT=str(port))
    os.execv(sys.executable, [sys.executable, "-m", "tokenhub.cli.main", "serve", "gateway"])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), free="--free" in sys.argv)
