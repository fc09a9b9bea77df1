"""7: the hub's price in speed: the same engine through the hub and direct, taking turns in one run."""

import asyncio
import statistics
import time
from dataclasses import dataclass
from hashlib import blake2b

from tests.acceptance.client import complete
from tests.acceptance.harness import Measured, Run, check
from tests.acceptance.hub import ADMIN_KEY, TINY, Hub

STREAMS = 8
TOKENS = 64
RATIO_MIN = 0.98
ADDED_MS_MAX = 3.0


@dataclass(frozen=True)
class Way:
    """One way to the engine."""

    url: str
    key: str
    model: str


@check(
    7,
    "pass-through",
    bar="8 streams at >= 0.98 of the engine direct; <= 3 ms added to the first token (median)",
)
def pass_through(run: Run) -> Measured:
    """Rounds in the order direct, hub, hub, direct, …; the figure is the median of the paired ratios.

    No prompt is used twice, so that neither way finds the other's prompt in the engine's cache.
    """
    rounds = 3 if run.quick else 30
    pairs = 20 if run.quick else 60
    options = {"TOKENHUB_ENGINE_SLOTS": str(STREAMS), "TOKENHUB_ENGINE_CONTEXT": "1024"}
    with Hub(model=TINY, options=options) as hub:
        engine = hub.engine(TINY)
        direct = Way(engine["base_url"], engine["api_key"], engine["upstream_model"])
        through = Way(f"{hub.url}/v1", ADMIN_KEY, TINY)
        asyncio.run(_burst(direct, 0))
        asyncio.run(_burst(through, 0))
        ratios: list[float] = []
        speeds: list[tuple[float, float]] = []
        for number in range(rounds):
            first, second = (direct, through) if number % 2 == 0 else (through, direct)
            a, b = asyncio.run(_burst(first, number + 1)), asyncio.run(_burst(second, number + 1))
            plain, hubbed = (a, b) if number % 2 == 0 else (b, a)
            ratios.append(hubbed / plain)
            speeds.append((plain, hubbed))
            run.note(
                f"round {number + 1}: direct {plain:.1f}, hub {hubbed:.1f} tokens/s, ratio {ratios[-1]:.3f}"
            )
        added = asyncio.run(_added_ms(direct, through, pairs))
    ratio = statistics.median(ratios)
    extra = statistics.median(added)
    return Measured(
        ratio >= RATIO_MIN and extra <= ADDED_MS_MAX,
        f"ratio {ratio:.3f} (median of {rounds} pairs, {min(ratios):.3f} to {max(ratios):.3f}); first token +{extra:.2f} ms "
        f"(median of {pairs} pairs)",
        {"ratios": ratios, "tokens_per_s": speeds, "added_ms": added},
    )


async def _burst(way: Way, number: int) -> float:
    """Generated tokens per second of `STREAMS` concurrent streams."""
    started = time.monotonic()
    prompts = [f"{way.url} {number}-{index}" for index in range(STREAMS)]
    answers = await asyncio.gather(
        *[_stream(way, blake2b(prompt.encode(), digest_size=8).hexdigest(), TOKENS) for prompt in prompts]
    )
    tokens = sum(answer.usage["completion_tokens"] if answer.usage else 0 for answer in answers)
    assert tokens == STREAMS * TOKENS, [(answer.status, answer.usage, answer.error) for answer in answers]
    return tokens / (time.monotonic() - started)


async def _added_ms(direct: Way, through: Way, pairs: int) -> list[float]:
    """Difference of the time to the first token, request by request, in milliseconds."""
    found: list[float] = []
    for number in range(pairs + 3):
        ways = (direct, through) if number % 2 == 0 else (through, direct)
        times = {way.url: (await _stream(way, "ttft", 2)).first_event_s for way in ways}
        if number >= 3:
            found.append((times[through.url] - times[direct.url]) * 1000)
    return found


async def _stream(way: Way, tag: str, tokens: int):
    body = {
        "model": way.model,
        "messages": [{"role": "user", "content": f"({tag}) Count from one to one hundred in words."}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "ignore_eos": True,
        "stream_options": {"include_usage": True},
    }
    return await complete(way.url, way.key, body, timeout_s=300)
