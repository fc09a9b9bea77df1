"""A world of people, a scripted model behind a real HTTP server, and runs advanced in the test's own thread.

Where the gateway's own work matters, a real gateway runs (`tests/acceptance`); here the server answers as a gateway
does: same dialect, request ids, idempotency keys.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.acceptance.scripted_agent import Server
from tests.work.copies import world_in
from tests.work.world import World
from tokenhub.agents import journal, runs, schedules
from tokenhub.agents.dispatch import Dispatcher
from tokenhub.agents.loop import Loop
from tokenhub.agents.model import Gateway, Secrets
from tokenhub.agents.types import Run, Step
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.door import Runtime
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.identity.types import Principal


@dataclass
class Inline:
    """An engine that carries a stretch at once, in the thread that dispatches."""

    loop: Loop
    carried: list[tuple[str, int]] = field(default_factory=list)

    def start(self, run_id: str, segment: int) -> None:
        self.carried.append((run_id, segment))
        self.loop.advance(run_id, segment)

    def running(self) -> int:
        return 0

    def busy(self, run_id: str) -> bool:
        return False

    def close(self) -> None:
        pass


@dataclass
class Office:
    """What a test holds."""

    world: World
    database: Database
    loop: Loop
    dispatcher: Dispatcher
    model: Server

    def start(self, request: str, *, by: str | Principal = "ana", **options: Any) -> str:
        """Begin a run; its id."""
        options = {"model": "scripted/agent", **options}
        answer = self.world.call(by, "agent.run", request=request, **options)
        assert answer.status == "pending" and answer.data is not None, answer
        return str(answer.data["id"])

    def work(self, *, times: int = 12) -> None:
        """Let the dispatcher look, so often that nothing is left that need not wait."""
        for _ in range(times):
            self.dispatcher.tick()

    def run(self, request: str, **options: Any) -> Run:
        """Begin a run and let it work; as it then stands."""
        run_id = self.start(request, **options)
        self.work()
        return self.look(run_id)

    def look(self, run_id: str) -> Run:
        with self.database.read("hub") as connection:
            found = runs.load_run(connection, run_id)
        assert found is not None
        return found

    def steps(self, run_id: str) -> list[Step]:
        with self.database.read("hub") as connection:
            return journal.steps_of(connection, run_id)

    def titles(self, by: str = "ana") -> list[str]:
        """Titles of the tasks that somebody sees."""
        return [item["title"] for item in self.world.do(by, "task.list", state="", limit=100)["items"]]

    def pass_time(self, ms: int) -> None:
        """Let everything that waits for an instant within `ms` be due."""
        with self.database.write("hub") as connection:
            runs.wake_due(connection, at_ms=self.loop.runtime.clock.now_ms() + ms)
            schedules.fire_due(connection, at_ms=self.loop.runtime.clock.now_ms() + ms)


@pytest.fixture
def model() -> Iterator[tuple[Server, Callable[[], str]]]:
    """The scripted model on an event loop of its own."""
    server, loop, url = Server(), asyncio.new_event_loop(), ""
    listening, made = loop.run_until_complete(server.start())
    url = made
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield server, lambda: url

    async def end() -> None:
        listening.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(end(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


@pytest.fixture
def office(database: Database, settings: Settings, model: tuple[Server, Callable[[], str]]) -> Office:
    world = world_in(database, settings)
    server, url = model
    loop = Loop(
        registry(), Runtime(database, settings), Gateway(url, Secrets(database)), "test", threading.Event()
    )
    for run_id in (world.ids["asking"], world.ids["ended"]):
        assert run_id  # the world's own runs stand still
    return Office(world, database, loop, Dispatcher(database, lambda: Inline(loop)), server)
