"""Processes of a running hub die in every way, and whoever asks meanwhile waits a moment and is answered."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.client import complete
from tests.acceptance.hub import ADMIN_KEY, Hub, descendants, wait_for
from tests.acceptance.upstream import MODEL, ROUTED, Upstream, prompt
from tokenhub.cli.supervisor import SETTLED_S, STABLE_S, Child
from tokenhub.cli.zygote import Start

AGAIN_S = 15.0
"""3 s on a machine of its own."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Upstream(delay_ms=10) as upstream, Hub(model="none") as made:
        made.command("provider.add", name="scripted", url=f"{upstream.url}/v1", model=[MODEL])
        assert wait_for(lambda: made.ready(ROUTED), timeout_s=20)
        yield made


def _kill(hub: Hub, role: str, number: int = signal.SIGKILL) -> int:
    (pid,) = hub.pids(role)
    os.kill(pid, number)
    return pid


def _zygotes(hub: Hub) -> list[int]:
    assert hub.process is not None
    return [pid for pid in descendants(hub.process.pid) if b"zygote" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [("gateway", "GET", "/v1/models"), ("app", "POST", "/api/commands/model.list")],
)
def test_what_arrives_while_a_process_is_dead_waits_and_is_answered(
    hub: Hub, role: str, method: str, path: str
) -> None:
    for _ in range(3):  # the third life as well as the first
        old = _kill(hub, role)
        assert wait_for(lambda pid=old: not _command(pid), timeout_s=5, every_s=0.001)
        with ThreadPoolExecutor(8) as pool:
            body = None if method == "GET" else {}
            asked = [pool.submit(hub.request, method, path, body, timeout_s=AGAIN_S) for _ in range(8)]
            assert [one.result()[0] for one in asked] == [200] * 8
        assert wait_for(lambda pid=old: hub.pids(role) not in ([], [pid]), timeout_s=AGAIN_S)
        time.sleep(SETTLED_S)


async def test_a_gateway_that_drains_is_replaced_at_once(hub: Hub) -> None:
    url = f"{hub.url}/v1"
    asked = {"model": ROUTED, "messages": prompt("drained", 300), "stream": True}
    stream = asyncio.create_task(complete(url, ADMIN_KEY, asked))
    await asyncio.sleep(0.5)
    old = _kill(hub, "gateway", signal.SIGTERM)
    brief = {"model": ROUTED, "messages": prompt("after", 3)}
    answer = await complete(url, ADMIN_KEY, brief, timeout_s=AGAIN_S)
    assert answer.status == 200 and not stream.done() and len(hub.pids("gateway")) == 2
    drained = await stream
    assert drained.complete and drained.tokens == 300
    assert wait_for(lambda: len(hub.pids("gateway")) == 1, timeout_s=10) and hub.pids("gateway") != [old]
    assert hub.event(drained.request_id)["output_tokens"] == 300


def test_zygotes_come_back_and_take_nothing_with_them(hub: Hub) -> None:
    before = [hub.pids(role) for role in ("gateway", "app", "worker")]
    old = _zygotes(hub)
    assert len(old) == 2
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    assert hub.serves() and [hub.pids(role) for role in ("gateway", "app", "worker")] == before
    dead = [_kill(hub, role) for role in ("gateway", "app", "worker")]
    assert wait_for(
        lambda: all(hub.pids(role) for role in ("gateway", "app", "worker")) and hub.serves(),
        timeout_s=2 * AGAIN_S,
    )
    assert not set(dead) & {pid for role in ("gateway", "app", "worker") for pid in hub.pids(role)}
    assert len(_zygotes(hub)) == 2 and not set(old) & set(_zygotes(hub))


def test_nothing_outlives_a_supervisor_that_is_killed(hub: Hub) -> None:
    assert hub.process is not None
    family = descendants(hub.process.pid)
    assert len(family) >= 5
    hub.process.kill()
    assert wait_for(lambda: not any(_command(pid) for pid in family), timeout_s=15)


def test_a_death_is_early_only_before_or_just_after_the_process_was_ready() -> None:
    child = Child(Start("gateway", "gateway"), 1.0, Path("log"), started_s=100.0)
    assert child.died_early(100.5) and child.died_early(100.0 + STABLE_S - 1)
    assert not child.died_early(
        100.0 + STABLE_S
    )  # of a system where processes do not say that they are ready
    child.ready_s = 100.5
    assert child.died_early(100.5 + SETTLED_S / 2) and not child.died_early(100.5 + SETTLED_S)
