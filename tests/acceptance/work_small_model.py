"""Row 6: a small model's commands are valid, always; how often they are right is reported."""

from dataclasses import asdict
from typing import Any

from bench.commands.intent import Judged, Target, add_people, judge, recall, rows_of, summarise
from tests.acceptance.harness import Measured, Run, check
from tests.acceptance.hub import ADMIN_KEY, TINY, Hub, wait_for

MODELS = (TINY, "qwen2.5-coder-0.5b-instruct")
HOT = 10
"""Requests asked again at temperature 2: validity must not hang on how the model samples."""


@check(
    6,
    "small-model",
    bar="200 held-out requests: 100 % valid commands from SmolLM2-135M and Qwen 0.5B; exact match reported",
)
def small_model(run: Run) -> Measured:
    """Through a running hub, the gateway and the engine; quick: only where more than one command is left to choose."""
    rows = rows_of("requests")
    judged: dict[str, list[Judged]] = {}
    hot: list[Judged] = []
    with Hub(model=TINY) as hub:
        target = Target(hub.url, ADMIN_KEY)
        add_people(target)
        for model in MODELS:
            if model != TINY:
                hub.command("deploy.create", model=model)
                assert wait_for(lambda: hub.ready(MODELS[-1]), timeout_s=600, every_s=1)
            judged[model] = []
            for row in rows:
                judged[model].append(judge(target, model, row, always=not run.quick))
                if len(judged[model]) % 50 == 0:
                    run.note(f"{model}: {len(judged[model])} of {len(rows)}")
            several = [one.id for one in judged[model] if one.options > 1][:HOT]
            hot += [
                judge(target, model, row, temperature=2.0, seed=run.seed + place)
                for place, row in enumerate(row for row in rows if row["id"] in several)
            ]
    found: dict[str, Any] = {model: summarise(each) for model, each in judged.items()}
    words = "; ".join(
        f"{model}: {said['valid_pct']} % valid, {said['exact_pct']} % exact"
        f" ({said['words_exact_pct']} % without a model), {said['asked']} asked"
        for model, said in found.items()
    )
    valid = all(one.valid and one.status == 200 for each in (*judged.values(), hot) for one in each)
    named = len({row["command"] for row in rows})
    return Measured(
        valid and len(rows) == 200,
        f"{len(rows)} requests, {named} commands; {words}; {sum(one.valid for one in hot)} of {len(hot)} valid at temperature 2;"
        f" recall at 5 {recall(rows)['at_5']} %",
        {
            "models": {
                model: {**found[model], "each": [asdict(one) for one in judged[model]]} for model in MODELS
            },
            "temperature_2": [asdict(one) for one in hot],
            "recall_pct": recall(rows),
        },
    )
