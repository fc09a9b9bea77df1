"""Background work of skills: a script runs here, outside of every transaction; what came of it is then written down."""

import json

from sqlalchemy import Connection

from tokenhub.agents.sandbox import Limits, Outcome, Sandbox, Script
from tokenhub.db.engine import Database
from tokenhub.identity import grants
from tokenhub.jobs.types import Arguments, Handler, Progress, Reporter, personal
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import Conflict, HubError, PermissionDenied
from tokenhub.work.skills import run_store, store

RUN = personal("skill.run")


def run_handler(database: Database, sandbox: Sandbox) -> Handler:
    """Run one script. Safe to run again after a crash: the sandbox touches nothing that stays."""

    def handle(arguments: Arguments, reporter: Reporter) -> Arguments:
        run_id = arguments["run"]
        try:
            outcome = _run(database, sandbox, run_id, reporter)
        except HubError as error:
            with database.write("hub") as connection:
                run_store.end(connection, run_id, "failed", why=error.message, at_ms=now_ms())
            raise
        if outcome is None:
            return {"run": run_id}
        with database.write("hub") as connection:
            run_store.finish(connection, run_id, outcome, at_ms=now_ms())
        return {"run": run_id, "exit_code": str(outcome.exit_code)}

    return handle


def _run(database: Database, sandbox: Sandbox, run_id: str, reporter: Reporter) -> Outcome | None:
    """What came of it, None if it has ended already. Raises: HubError if it may not, or cannot, run."""
    with database.read("hub") as connection:
        row = run_store.take(connection, run_id)
        if row is None:
            return None
        if row.skill_state != "allowed" or row.decided_digest != row.digest or row.removed_at_ms is not None:
            raise PermissionDenied(
                f"The skill {row.name!r} is not allowed any more as it was when this was asked."
            )
        if row.grant_id is not None:
            _check_grant(connection, row.grant_id)
        bundle = store.bundle_of(connection, row.org_id, row.digest)
        script = Script(
            skill=bundle.files,
            path=row.script,
            arguments=tuple(json.loads(row.arguments)),
            stdin=bytes(row.stdin),
            inputs=run_store.inputs(connection, run_id),
        )
    return sandbox.run(
        script, Limits(seconds=row.seconds), tick=lambda: reporter.report(Progress(step="script"))
    )


def _check_grant(connection: Connection, grant_id: str) -> None:
    """An agent that was stopped since it asked starts nothing. Raises: Conflict."""
    lent = grants.chain(connection, grant_id)
    live = bool(lent) and all(grant.live(now_ms()) for grant in lent)
    if not live or grants.stopped_by(connection, lent) is not None:
        raise Conflict("The agent that asked for this was stopped, or its grant has ended.")
