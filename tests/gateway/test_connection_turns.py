"""A pooled upstream connection serves one request after another; who held it before must leave it alone."""

import asyncio

import pytest

from tokenhub.kernel.errors import HubError
from tokenhub.maas.gateway import turn as turns
from tokenhub.maas.gateway.turn import Turn
from tokenhub.maas.gateway.upstream import UpstreamConnection


class Consumer:
    """Takes anything."""

    def on_head(self, head: object) -> None: ...
    def on_data(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_lost(self, error: HubError, *, untouched: bool) -> None: ...


class Timers:
    """Accepts deadlines."""

    now = 0.0


class Pool:
    """As much of a pool as a connection asks for."""

    timers = Timers()


class Origin:
    """As much of an origin as a connection asks for."""

    pool = Pool()


class Transport:
    """Records what is done to the socket."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def abort(self) -> None:
        self.done.append("abort")

    def pause_reading(self) -> None:
        self.done.append("pause")

    def resume_reading(self) -> None:
        self.done.append("resume")


def test_a_consumer_whose_answer_ended_cannot_stop_the_next_one() -> None:
    connection = UpstreamConnection(Origin())  # type: ignore[arg-type]
    transport = Transport()
    connection.transport = transport  # type: ignore[assignment]
    first, second = Consumer(), Consumer()
    connection.move_to(second)  # type: ignore[arg-type]
    connection.abort(of=first)  # type: ignore[arg-type]
    connection.pause(of=first)  # type: ignore[arg-type]
    connection.resume(of=first)  # type: ignore[arg-type]
    assert transport.done == []
    assert not connection.closed
    connection.abort(of=second)  # type: ignore[arg-type]
    assert transport.done == ["abort"]
    assert connection.closed


async def test_a_turn_makes_every_call_though_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    failed: list[str] = []
    loop.set_exception_handler(lambda _, context: failed.append(str(context["exception"])))
    turn, made = Turn(loop), list[str]()
    turn.after = lambda: made.append("after")

    def fail() -> None:
        turn.soon(lambda: made.append("later"))
        raise RuntimeError("no")

    turn.soon(lambda: made.append("alone"))
    assert made == ["alone", "after"]
    monkeypatch.setattr(turns, "APART_S", 1e9)
    turn.soon(lambda: made.append("first"))
    turn.soon(fail)
    turn.soon(lambda: made.append("last"))
    assert made == ["alone", "after"]
    for _ in range(5):
        await asyncio.sleep(0)
    assert made[2:] == ["first", "after", "last", "later", "after"]
    assert failed == ["no"] and not turn.running


async def test_what_comes_with_others_waits_for_its_turn_until_one_comes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "APART_S", 0.0)
    turn, made = Turn(asyncio.get_running_loop()), list[int]()
    await asyncio.sleep(0.001)

    def nested() -> None:
        turn.soon(lambda: made.append(2))
        made.append(1)

    turn.soon(nested)  # alone: at once, and what it asks for in the next turn
    assert made == [1]
    await asyncio.sleep(0.001)
    assert made == [1, 2]
    monkeypatch.setattr(turns, "APART_S", 1e9)
    for number in (3, 4, 5):
        turn.soon(lambda number=number: made.append(number))
    await asyncio.sleep(0.001)
    monkeypatch.setattr(turns, "APART_S", 0.0)
    turn.soon(lambda: made.append(6))  # the last turn had several
    assert made[-1] != 6
    await asyncio.sleep(0.001)
    turn.soon(lambda: made.append(7))
    assert made[-2:] == [6, 7]
