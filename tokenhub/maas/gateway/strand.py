"""A request's coroutine, driven by callbacks: linear code at the price of a function call.

The conductor is an ordinary `async def`, but no asyncio task runs it. It awaits `Signal`s only; whoever has the
answer (a socket callback) sets the signal and the coroutine runs on inside that very call. That saves a task, a
future and a loop turn for each step of each request. What needs a real task (a database top-up, a proxied upload)
runs in one and is awaited through `Strand.wait`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Signal(Generic[T]):
    """A one-shot result. The first `set` or `fail` counts, later ones are ignored."""

    __slots__ = ("_error", "_resume", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: BaseException | None = None
        self._resume: Callable[[], None] | None = None

    def set(self, value: T) -> None:
        """Deliver the result and run the waiter."""
        if not self.done:
            self.done = True
            self._value = value
            self._wake()

    def fail(self, error: BaseException) -> None:
        """Deliver a failure and run the waiter."""
        if not self.done:
            self.done = True
            self._error = error
            self._wake()

    def attach(self, resume: Callable[[], None]) -> None:
        """Call `resume` once there is a result. For the strand alone."""
        self._resume = resume

    def detach(self) -> None:
        """Forget the waiter: it was woken by something else."""
        self._resume = None

    def _wake(self) -> None:
        resume, self._resume = self._resume, None
        if resume is not None:
            resume()

    def __await__(self) -> Generator["Signal[T]", None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return cast(T, self._value)


class Strand:
    """Runs one coroutine. `cancel` raises inside it at the signal it waits for."""

    __slots__ = ("_coroutine", "_pending", "_running", "_waiting", "finished")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._waiting: Signal[Any] | None = None
        self._running = False
        self._pending: BaseException | None = None
        self.finished = False

    def start(self) -> None:
        """Run to the first signal that has no result yet."""
        self._step(None)

    def cancel(self, error: BaseException) -> None:
        """Raise `error` where the coroutine waits, or at its next wait when it is running right now."""
        if self.finished:
            return
        if self._running:
            self._pending = error
            return
        if self._waiting is not None:
            self._waiting.detach()
        self._step(error)

    def _resume(self) -> None:
        self._step(None)

    def _step(self, error: BaseException | None) -> None:
        coroutine = self._coroutine
        self._running = True
        try:
            while True:
                signal = coroutine.send(None) if error is None else coroutine.throw(error)
                error, self._pending = self._pending, None
                if error is None and not signal.done:
                    self._waiting = signal
                    signal.attach(self._resume)
                    return
        except StopIteration:
            self.finished = True
        except BaseException:
            self.finished = True
            raise
        finally:
            self._running = False

    @staticmethod
    async def wait(coroutine: Coroutine[Any, Any, T], give_back: Callable[[T], None] | None = None) -> T:
        """Run `coroutine` in a task and await it from a strand. Cancelling the strand cancels the task.

        give_back: takes the result where the strand is cancelled just after the task has ended.
        """
        task = asyncio.get_running_loop().create_task(coroutine)
        signal: Signal[None] = Signal()

        def finished(_task: asyncio.Task[T]) -> None:
            signal.set(None)

        task.add_done_callback(finished)
        try:
            await signal
        except BaseException:
            taken = not task.cancel() and not task.cancelled() and task.exception() is None
            if taken and give_back is not None:
                give_back(task.result())
            raise
        return task.result()
