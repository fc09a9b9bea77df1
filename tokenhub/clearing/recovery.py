"""What a dead gateway left behind: its journal is posted, then its leases are released.

Safe to run at any time, in any process, as often as one likes: the request id is the key of every posting, and
an owner's lock is held while it is recovered. Gateways run it when they start, the worker as a sweep.
"""

import socket
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from tokenhub.clearing import journal
from tokenhub.clearing.settle import load_paths, settle
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.kernel.clock import now_ms
from tokenhub.ledger import buckets, owners
from tokenhub.metering.plain import Kinds
from tokenhub.metering.store import known_requests
from tokenhub.metering.uses import Uses

_BATCH = 1000
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What a sweep found and did."""

    owners: int = 0
    posted: int = 0
    """Requests that were journaled and not in the books yet."""
    leases: int = 0
    bad_lines: int = 0


def journal_place(settings: Settings) -> str:
    """How the owner table names this machine's journal folder: `<host>:<folder>`."""
    return f"{socket.gethostname()}:{settings.journal_dir}"


def recover_dead_owners(database: Database, settings: Settings) -> RecoveryReport:
    """Post and release everything of owners that died on this machine. Raises: database errors."""
    report = RecoveryReport()
    folder = settings.journal_dir
    if folder.is_dir():
        for owner_id in journal.dead_owners(folder):
            report = _recover(database, folder, owner_id, report)
    return _release_without_journal(database, settings, report)


def _recover(database: Database, folder: Path, owner_id: str, report: RecoveryReport) -> RecoveryReport:
    found = journal.replay(folder, owner_id)
    posted = 0
    for start in range(0, len(found.events), _BATCH):
        events = found.events[start : start + _BATCH]
        with database.write("ledger") as connection:
            owners.lock(connection, owner_id)  # a settlement whose commit its process did not live to see
            known = known_requests(connection, {event.request_id for event in events})
            paths = load_paths(connection, {event.path_id for event in events})
            settle(
                connection,
                owner_id,
                Uses(events),
                kinds=Kinds(),  # the journal's plain uses were read as events
                paths=paths,
                returns={},
                now_ms=now_ms(),
                again=True,
            )
            posted += len(events) - len(known)
    leases = _close(database, owner_id)
    journal.remove(folder, owner_id)
    if posted or leases:
        _log.info(
            "owner_recovered", owner_id=owner_id, posted=posted, leases=leases, bad_lines=found.bad_lines
        )
    return replace(
        report,
        owners=report.owners + 1,
        posted=report.posted + posted,
        leases=report.leases + leases,
        bad_lines=report.bad_lines + found.bad_lines,
    )


def _release_without_journal(
    database: Database, settings: Settings, report: RecoveryReport
) -> RecoveryReport:
    """Owners of this folder that have no lock file any more: settled, but not closed in the database."""
    with database.read("ledger") as connection:
        open_ids = owners.open_owners(connection, journal=journal_place(settings))
    for owner_id in open_ids:
        if not (settings.journal_dir / f"{owner_id}.lock").exists():
            leases = _close(database, owner_id)
            report = replace(report, owners=report.owners + 1, leases=report.leases + leases)
    return report


def _close(database: Database, owner_id: str) -> int:
    with database.write("ledger") as connection:
        owners.lock(connection, owner_id)
        leases = buckets.release_owner(connection, owner_id)
        owners.close_owner(connection, owner_id, now_ms=now_ms())
    return leases
