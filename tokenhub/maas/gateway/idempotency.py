"""`Idempotency-Key`: the same key with the same body gets the same answer, and is billed once.

Claims and answers are rows in the ledger database, so they hold across gateways and restarts. Requests without the
header never come here. A refused, failed or cut request frees its key: repeating it runs it again.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tokenhub.db.engine import Database
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms
from tokenhub.kernel.errors import Conflict, InvalidRequest, Unavailable
from tokenhub.maas.gateway import answer_store
from tokenhub.maas.gateway.answer_store import KeptAnswer
from tokenhub.maas.gateway.exchange import Exchange, header_block
from tokenhub.maas.gateway.strand import Strand

KEY_CHARACTERS_MAX = 255
ANSWER_BYTES_MAX = 4 * 2**20
"""A longer answer is not kept; repeating its request is then refused, not run again."""
ALIVE_EVERY_S = 5.0
SETTLE_PAUSES_S = (0.02, 0.05, 0.1, 0.2)
"""An answer is kept just after it was sent: a repetition that comes that soon waits for it."""
_log = structlog.get_logger()


class InProgress(Conflict):
    """409: the first request with this key is still running; SDKs wait and repeat by themselves."""

    code = "idempotency_request_in_progress"
    retryable = True


class Recorder:
    """Keeps a copy of an answer's body while it is sent."""

    __slots__ = ("_parts", "_size", "content_type")

    def __init__(self) -> None:
        self.content_type = "application/json"
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Body bytes, unframed."""
        self._size += len(part)
        if self._size <= ANSWER_BYTES_MAX:
            self._parts.append(part)
        else:
            self._parts.clear()

    def body(self) -> bytes | None:
        """The whole body; None if it was too large to keep."""
        return b"".join(self._parts) if self._size <= ANSWER_BYTES_MAX else None


class Idempotency:
    """One per process. `owner` tells this boot's claims from others'."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Keep this process's claims alive."""
        self._spawn(self._stay_alive())

    async def close(self) -> None:
        """Finish what is being written."""
        for task in list(self._tasks):
            if task.get_name() == "alive":
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def enter(self, exchange: Exchange, principal: Principal, body: bytes) -> bool:
        """True if the answer was replayed. Raises: Conflict, InProgress, InvalidRequest, Unavailable."""
        key = exchange.headers[b"idempotency-key"].decode("latin-1").strip()
        if not key or len(key) > KEY_CHARACTERS_MAX:
            raise InvalidRequest(
                f"An Idempotency-Key has 1 to {KEY_CHARACTERS_MAX} characters.",
                code="invalid_idempotency_key",
            )
        digest = hashlib.sha256(exchange.path + b"\n" + body).hexdigest()

        def claim() -> Coroutine[Any, Any, KeptAnswer | None]:
            return self._claim(principal.key_id, key, digest, exchange.request_id)

        def given_up(known: KeptAnswer | None) -> None:
            if known is None:
                self._spawn(self._release(exchange.request_id))

        known = await Strand.wait(claim(), given_up)
        for pause_s in SETTLE_PAUSES_S:
            if known is None or known.state != "running":
                break
            await Strand.wait(asyncio.sleep(pause_s))
            known = await Strand.wait(claim(), given_up)
        if known is None:
            self._running += 1
            exchange.recorder = Recorder()
            return False
        _replay(exchange, known, digest)
        return True

    def leave(self, exchange: Exchange) -> None:
        """The request is over: keep its answer, or free the key."""
        recorder, exchange.recorder = exchange.recorder, None
        if recorder is None:
            return
        self._running -= 1
        if exchange.responded and exchange.status == 200 and exchange.whole:
            self._spawn(self._keep(exchange.request_id, recorder))
        else:
            self._spawn(self._release(exchange.request_id))

    async def _claim(self, key_id: str, key: str, digest: str, request_id: str) -> KeptAnswer | None:
        def claim() -> KeptAnswer | None:
            with self._database.write("ledger") as connection:
                return answer_store.claim(
                    connection,
                    key_id=key_id,
                    idempotency_key=key,
                    body_hash=digest,
                    owner=self._owner,
                    request_id=request_id,
                    now_ms=now_ms(),
                )

        work = asyncio.ensure_future(asyncio.to_thread(claim))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:  # the client left; its claim may be written all the same
            self._spawn(self._forget(work, request_id))
            raise
        except SQLAlchemyError as error:
            _log.warning("idempotency_claim_failed", error=str(error))
            raise Unavailable("The idempotency key cannot be checked now; try again in a moment.") from None

    async def _keep(self, request_id: str, recorder: Recorder) -> None:
        body = recorder.body()

        def write(connection: Connection) -> None:
            answer_store.keep(
                connection,
                request_id,
                state="too_large" if body is None else "kept",
                content_type=recorder.content_type,
                body=body or b"",
                now_ms=now_ms(),
            )

        await self._write(write)

    async def _forget(self, claim: "asyncio.Future[KeptAnswer | None]", request_id: str) -> None:
        await asyncio.wait([claim])
        if claim.exception() is None and claim.result() is None:
            await self._release(request_id)

    async def _release(self, request_id: str) -> None:
        await self._write(lambda connection: answer_store.release(connection, request_id))

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_EVERY_S)
            if self._running:
                await self._write(
                    lambda connection: answer_store.say_alive(connection, self._owner, now_ms=now_ms())
                )

    async def _write(self, statement: Callable[[Connection], None]) -> None:
        def work() -> None:
            with self._database.write("ledger") as connection:
                statement(connection)

        try:
            await asyncio.to_thread(work)
        except SQLAlchemyError as error:
            _log.warning("idempotency_not_written", error=str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        name = "alive" if work.__name__ == "_stay_alive" else "write"
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _replay(exchange: Exchange, known: KeptAnswer, digest: str) -> None:
    if known.body_hash != digest:
        raise Conflict(
            "This Idempotency-Key was used with another request body; use a new key.",
            code="idempotency_key_conflict",
        )
    if known.state == "running":
        raise InProgress(
            "The first request with this Idempotency-Key is still running; repeat in a moment.",
            headers={"retry-after": "1"},
        )
    if known.state == "too_large":
        raise Conflict(
            "The request with this Idempotency-Key is done, but its answer was too large to keep.",
            code="idempotency_key_conflict",
        )
    exchange.request_id = known.request_id
    headers = [(b"content-type", known.content_type.encode()), (b"idempotency-replayed", b"true")]
    exchange.respond(200, header_block(headers), known.body)
