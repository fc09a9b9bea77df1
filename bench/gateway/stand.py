"""Our gateway as the benchmark runs it: a fresh hub with one key, limits at four levels, a price, and a provider.

    python -m bench.gateway.stand PORT UPSTREAM_PORT [--free]

Full path on: key look-up, limits, leases, journal, settlement into SQLite. `--free` leaves the books out (nothing is
held, journaled or settled), which shows what they cost. Models `alias-<chunks>-<delay_ms>` go to
the mock's `m-<chunks>-<delay_ms>`.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tokenhub.clearing.cells import Hold
from tokenhub.clearing.cells import Path as ClerkPath
from tokenhub.clearing.clerk import Clerk
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.ledger.types import Need
from tokenhub.maas.gateway import server
from tokenhub.metering.types import UsageDraft, UsageEvent


class FreeClerk(Clerk):
    """Grants everything and writes nothing down."""

    async def start(self) -> None:
        """Nothing to recover, nothing to register."""

    async def close(self) -> None:
        """Nothing to settle."""

    def try_authorize(self, path: ClerkPath, need: Need, request_id: str, now_ms: int) -> Hold:
        """Always."""
        return Hold(request_id, path, need)

    def checkpoint(self, hold: Hold, draft: UsageDraft) -> None:
        """Not written."""

    def capture_all(self, charges: Sequence[tuple[Hold, UsageEvent, int]]) -> None:
        """Not written, not charged."""
        for hold, _, _ in charges:
            hold.closed = True


async def run(port: int, home: Path) -> None:
    """Serve until SIGTERM."""
    settings = Settings(home=home, port=port)
    database = Database(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.serve(settings, database, index=0, adapters={}, prompt_counter=None, stop=stop)
    database.close()


def main(port: int, upstream_port: int) -> None:
    """Seed in a process of its own, so that the measured one holds only what a gateway needs."""
    folder = Path(tempfile.mkdtemp(prefix="th-bench-"))
    try:
        command = [
            sys.executable,
            "-c",
            f"from bench.gateway.seed import seed; seed({str(folder)!r}, {upstream_port})",
        ]
        subprocess.run(command, check=True)
        uvloop.run(run(port, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if "--free" in sys.argv:
        server.Clerk = FreeClerk
    main(int(sys.argv[1]), int(sys.argv[2]))
