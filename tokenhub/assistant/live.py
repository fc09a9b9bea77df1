"""The log of one run while it is being written: in memory for those who follow, in the database for those who come later.

Text is gathered for at least `BATCH_S` before it becomes an entry, and an entry is stored before anyone sees it, so what
a page has shown survives any death of this process.
"""

import asyncio
import json
from collections.abc import AsyncIterator

from tokenhub.assistant.completions import Piece
from tokenhub.assistant.types import EventKind, Outcome, Run, RunEvent, Status

BATCH_S = 0.05


class LiveRun:
    """One run of this process: its texts so far, its entries, and a bell for its followers."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.request_id = ""
        self.finish_reason = ""
        self.deltas = 0
        self.reader: asyncio.Task[None] | None = None
        self.halted_as: Status | None = None
        """Why the reader was cancelled, if it was."""
        self.dirty = asyncio.Event()
        self.reading = True
        self.ended = asyncio.Event()
        """Set when the outcome is stored (the ledger's line may still follow)."""
        self._texts: list[str] = []
        self._reasonings: list[str] = []
        self._pending: list[tuple[EventKind, str]] = []
        self._seq = 0
        self._events: list[RunEvent] = []
        self._closed = False
        self._bell = asyncio.Event()

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._texts)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasonings)

    def begin(self, request_id: str) -> None:
        """The gateway has answered: under this id the ledger books the run."""
        self.request_id = request_id
        self._pending.append(("start", request_id))
        self.dirty.set()

    def add(self, piece: Piece) -> None:
        """Take one piece from the gateway."""
        if piece.finish_reason:
            self.finish_reason = piece.finish_reason
        if piece.reasoning:
            self._reasonings.append(piece.reasoning)
            self._pending.append(("reasoning", piece.reasoning))
        if piece.text:
            self._texts.append(piece.text)
            self._pending.append(("text", piece.text))
        if piece.text or piece.reasoning:
            self.deltas += 1
            self.dirty.set()

    def take(self) -> list[RunEvent]:
        """What was gathered since the last call, as entries; neighbours of one kind become one."""
        self.dirty.clear()
        pending, self._pending = self._pending, []
        merged: list[tuple[EventKind, list[str]]] = []
        for kind, text in pending:
            if merged and merged[-1][0] == kind:
                merged[-1][1].append(text)
            else:
                merged.append((kind, [text]))
        return [self._gathered(kind, texts) for kind, texts in merged]

    def entry(self, kind: EventKind, data: object) -> RunEvent:
        """A new entry with the next number."""
        self._seq += 1
        return _event(self._seq, kind, data)

    def _gathered(self, kind: EventKind, texts: list[str]) -> RunEvent:
        if kind == "start":
            return self.entry(kind, {"request_id": texts[0], "model": self.run.model})
        return self.entry(kind, {"t": "".join(texts), "n": len(texts)})

    def publish(self, events: list[RunEvent]) -> None:
        """Show entries (already stored) to everyone who follows."""
        self._events += events
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    def close(self) -> None:
        """No entry will follow."""
        self._closed = True
        self.publish([])

    async def follow(self, *, after: int) -> AsyncIterator[RunEvent]:
        """Entries with a number above `after`: those that are there, then each new one until the run is closed."""
        position = max(after, 0)  # entry n is at index n - 1
        while True:
            bell = self._bell
            while position < len(self._events):
                yield self._events[position]
                position += 1
            if self._closed:
                return
            await bell.wait()


def end_data(outcome: Outcome) -> dict[str, str]:
    """What the last text entry of a log is followed by: how the run ended."""
    return {
        "status": outcome.status,
        "finish_reason": outcome.finish_reason,
        "error_code": outcome.error_code,
        "error_message": outcome.error_message,
    }


def replay(run: Run, events: list[RunEvent]) -> Outcome:
    """What a run had written when its process died."""
    texts: dict[str, list[str]] = {"text": [], "reasoning": []}
    deltas = 0
    for event in events:
        if event.kind in texts:
            data = json.loads(event.data)
            texts[event.kind].append(str(data["t"]))
            deltas += int(data["n"])
    return Outcome(
        status="interrupted",
        text="".join(texts["text"]),
        reasoning="".join(texts["reasoning"]),
        request_id=run.request_id,
        deltas=deltas,
    )


def snapshot(outcome: Outcome, *, after: int) -> list[RunEvent]:
    """A finished run whose log is gone: its whole text at once (replacing whatever a follower has), then its end."""
    texts = {"text": outcome.text, "reasoning": outcome.reasoning}
    return [_event(after + 1, "snapshot", texts), _event(after + 2, "end", end_data(outcome))]


def _event(seq: int, kind: EventKind, data: object) -> RunEvent:
    return RunEvent(seq=seq, kind=kind, data=json.dumps(data, ensure_ascii=False, separators=(",", ":")))
