"""The door in process on SQLite: durable commands a second, and how long a decision takes.

    python -m bench.commands.door [--seconds 5] [--postgres URL]

A durable command is `team.create` with an idempotency key: admission, effect, row diff, chained audit row, commit.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from tokenhub.bootstrap.commands import registry
from tokenhub.commands.authority import Ask, authority_of
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.resources import Found
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.identity.first_run import ensure_first_run, local_operator
from tokenhub.identity.types import Principal


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--postgres", default="")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url=asked.postgres)
        database = Database(settings)
        migrate(database, settings)
        with database.write("hub") as connection:
            ensure_first_run(connection, settings)
            operator = local_operator(connection)
        found = {
            "decision_us": decisions(database, operator, asked.seconds / 2),
            "write": commands(database, settings, operator, "team.create", asked.seconds),
            "read": commands(database, settings, operator, "org.show", asked.seconds / 2),
        }
        database.close()
    print(json.dumps(found, indent=1))


def decisions(database: Database, operator: Principal, seconds: float) -> dict[str, float]:
    """Counters read and Cedar asked, as the door does it for a person."""
    declared, times = registry().get("user.disable"), []
    authority = authority_of(database, registry())
    with database.read("hub") as connection:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            started = time.perf_counter()
            ask = Ask(declared, operator, {"user": "ana"}, Found("user_1", "user_1"), vouched=True)
            authority.view(connection).decide(connection, ask)
            times.append((time.perf_counter() - started) * 1e6)
    return _shape(times)


def commands(
    database: Database, settings: Settings, operator: Principal, name: str, seconds: float
) -> dict[str, float]:
    runtime, times = Runtime(database, settings), []
    cpu, started_all = time.process_time(), time.perf_counter()
    while time.perf_counter() - started_all < seconds:
        raw = {"name": f"t{len(times)}"} if name == "team.create" else {}
        started = time.perf_counter()
        answer = execute(registry(), runtime, operator, name, raw, idempotency_key=f"{name}{len(times)}")
        times.append((time.perf_counter() - started) * 1e6)
        assert answer.ok, answer
    wall, cpu = time.perf_counter() - started_all, time.process_time() - cpu
    return {
        "per_s": round(len(times) / wall, 1),
        "per_cpu_s": round(len(times) / cpu, 1),  # what a core of its own would give, disk aside
        **_shape(times),
    }


def _shape(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100)
    return {"n": len(times), "p50_us": round(cuts[49], 1), "p99_us": round(cuts[98], 1)}


if __name__ == "__main__":
    main()
