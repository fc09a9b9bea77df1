"""`assistant.ports.Books` on paper: lines made up from what the scripted upstream sent, for tests without a ledger."""

import time

from tests.assistant.scripted_upstream import Script, count_tokens
from tokenhub.assistant.ports import Envelope
from tokenhub.assistant.types import BooksLine
from tokenhub.identity.types import Principal
from tokenhub.kernel.clock import now_ms

DAY_MS = 86_400_000


class PaperBooks:
    """A line exists as soon as the upstream's stream has ended."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.applied: dict[str, tuple[int, int]] = {}

    def line(self, request_id: str) -> BooksLine | None:
        number = int(request_id.rsplit("_", 1)[1])
        output = self._script.ended.get(number)
        if output is None:
            return None
        body = self._script.requests[number - 1]
        given = sum(count_tokens(str(message["content"])) for message in body["messages"])
        cached = given // 3
        return BooksLine(
            request_id=request_id,
            transfer_id=f"tr_{number}",
            at_ms=now_ms(),
            key_id="key_paper",
            model=str(body["model"]),
            input_tokens=given - cached,
            cached_tokens=cached,
            output_tokens=output,
            reasoning_tokens=0,
            total_tokens=given + output,
            amount_nano=given * 150 + output * 600,
            currency="USD",
            price_version_id="price_paper",
            finish="stop",
            source="engine",
            details={"hash": "9f2c1be07a5d44d1" * 4},
        )

    def mark_applied(self, request_id: str, *, applied_tokens: int, discarded_tokens: int) -> None:
        self.applied.setdefault(request_id, (applied_tokens, discarded_tokens))

    def envelopes(self, principal: Principal) -> list[Envelope]:
        used = 412_345 + self._script.sent
        at = int(time.time() * 1000)
        return [
            Envelope("lim_1", "Ada 2026", "user", "tokens", "calendar year", 3_000_000, used, 8_192, True, at + 120 * DAY_MS, at + 60 * DAY_MS),
            Envelope("lim_2", "Team money", "team", "money", "calendar month", 50_000_000_000, 12_345_678_900, 0, False, at + 9 * DAY_MS, None),
        ]  # fmt: skip
