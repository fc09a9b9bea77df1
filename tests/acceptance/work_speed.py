"""Row 5 of the action door: how fast it decides, answers and writes, and how little an MCP client reads first."""

from typing import Any

from bench.commands.speed import measure, save
from tests.acceptance.harness import Measured, Run, check

RATE = 200.0
BARS = {"authorisation_us": 500.0, "command_ms": 20.0, "durable_per_s": 1500.0, "discovery_tokens": 2000}


@check(
    5,
    "speed",
    bar="authorisation p99 < 0.5 ms; command p99 < 20 ms at 200/s on SQLite and PostgreSQL; >= 1,500 durable commands/s"
    " in process on SQLite; MCP discovery < 2,000 tokens",
)
def speed(run: Run) -> Measured:
    """Commands at a fixed rate are judged by HTTP, through gateway and app; in process they stand beside it.

    A decision is judged by the clock; the first one after a change of who may do what by its CPU time too.
    """
    found = measure(seconds=3 if run.quick else 10, rate=RATE, note=run.note)
    decided, first, first_cpu, admitted = (
        max(
            found[name]["authorisation"][who][part]["p99_us"]
            for name in ("sqlite", "postgresql")
            for who in ("person", "agent")
        )
        for part in ("decision", "first", "first_cpu", "admission")
    )
    paced = {(name, one["face"]): one for name in ("sqlite", "postgresql") for one in found[name]["paced"]}
    durable, told = found["sqlite"]["durable"]["per_s"], found["discovery"]
    holds = {
        "authorisation": max(decided, first_cpu) < BARS["authorisation_us"],
        "sqlite": _fast(paced["sqlite", "http"]),
        "postgresql": _fast(paced["postgresql", "http"]),
        "durable": durable >= BARS["durable_per_s"],
        "discovery": told["tokens"] < BARS["discovery_tokens"] and told["commands_named"] == told["commands"],
    }
    if not run.quick:
        run.note(f"written to {save(found).name}")
    words = (
        f"authorisation p99 {decided / 1000:.2f} ms, first time {first_cpu / 1000:.2f} of CPU, {first / 1000:.2f} by the clock (with look-ups {admitted / 1000:.2f}); commands p99 at {RATE:.0f}/s by HTTP:"
        f" SQLite {_words(paced['sqlite', 'http'])}, PostgreSQL {_words(paced['postgresql', 'http'])}"
        f" (in process {_words(paced['sqlite', 'in process'])}, {_words(paced['postgresql', 'in process'])});"
        f" {durable:.0f} durable/s; discovery {told['tokens']} tokens of {told['tokenizer']} for {told['commands']} commands;"
        f" machine load {found['load_before']:.1f}"
    )
    short = [name for name, held in holds.items() if not held]
    return Measured(not short, words + (f"; short: {', '.join(short)}" if short else ""), found)


def _fast(one: dict[str, Any]) -> bool:
    return one["p99_ms"] < BARS["command_ms"] and not one.get("failed")


def _words(one: dict[str, Any]) -> str:
    return f"{one['p99_ms']:.1f} ms" + (f" ({one['failed']} failed)" if one.get("failed") else "")
