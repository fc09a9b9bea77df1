"""Plain requests to exact commands, through a running hub: how often valid, how often exactly right, at what cost.

    python -m bench.commands.intent --url http://127.0.0.1:8080 --key sk-… MODEL [MODEL …] [--set requests-dev] [--limit 20]

The people of the requests are added where they are missing. Every model is asked about every request, also where only one
command is left to write (`--decided-only`: not then). `now` is fixed, so that days have one answer. Judged is what the model wrote: valid = JSON
that the command's own parser takes; exact = the expected command with equal arguments after parsing (defaults equal what is
left out; letters' case and the spaces around a text do not count). `words alone` is the first option without any model.
Writes bench/results/intent-DATE.json.
"""

import argparse
import json
import re
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tokenhub.agents.intent.choice import request_for
from tokenhub.agents.intent.options import CANDIDATES, Option
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.parsing import parse
from tokenhub.commands.retrieval import index_of
from tokenhub.kernel.errors import HubError

HERE = Path(__file__).resolve().parent
NOW = "2026-11-23T09:00"
PEOPLE = (
    *("Lena", "Tomas", "Ingrid", "Yusuf", "Priya", "Hugo", "Sofia", "Marek", "Noor", "Felix", "Dara"),
    *("王芳", "李强", "陈静", "张伟", "Otto", "Mira", "Kofi", "Jana", "刘洋", "赵敏"),
)
Json = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A running hub and a key that may do everything."""

    url: str
    key: str

    def post(self, path: str, body: Json, *, timeout_s: float = 300.0) -> tuple[int, Json]:
        """One JSON request: status, body."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        asked = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(asked, timeout=timeout_s) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@dataclass
class Judged:
    """One request and one model."""

    id: str
    language: str
    expected: str
    wrote: str
    status: int
    valid: bool
    command_right: bool
    exact: bool
    offered: bool
    """The exact command was among the options."""
    words_command: bool
    words_exact: bool
    options: int
    asked: bool
    """False where one option was left and the model was not asked (`--decided-only`)."""
    prompt_tokens: int
    completion_tokens: int
    offer_ms: float
    model_ms: float


def rows_of(name: str) -> list[Json]:
    """The requests of a set: `id`, `text`, `command`, `arguments`."""
    return [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text().splitlines()]


def add_people(target: Target) -> None:
    """The people whom the requests name; those that are there stay."""
    for name in PEOPLE:
        status, answer = target.post("/api/commands/user.create", {"name": name})
        assert status == 200 or answer["error"]["code"] == "name_taken", answer


def judge(
    target: Target, model: str, row: Json, *, temperature: float = 0.0, seed: int = 0, always: bool = True
) -> Judged:
    """Ask for one request and compare. always: also where one option is left, which the schema then forces."""
    started = time.monotonic()
    _, offered = target.post("/api/commands/commands.offer", {"text": row["text"], "now": NOW})
    options = [Option(**item) for item in offered["data"]["items"]]
    asked = time.monotonic()
    body = {"model": model, **request_for(row["text"], options), "temperature": temperature, "seed": seed}
    status, answer = (
        target.post("/v1/chat/completions", body)
        if always or len(options) > 1
        else (200, {"choices": [{"message": {"content": options[0].line()}}]})
    )
    ended = time.monotonic()
    wrote = str(answer["choices"][0]["message"]["content"]) if status == 200 else json.dumps(answer)
    usage = answer.get("usage") or {}
    expected = _parsed(row)
    written = _written(wrote)
    first = _parsed(options[0].to_dict())
    return Judged(
        id=row["id"],
        language="zh" if re.search("[一-鿿]", row["text"]) else "en",
        expected=json.dumps({"command": row["command"], "arguments": row["arguments"]}, ensure_ascii=False),
        wrote=wrote,
        status=status,
        valid=written is not None,
        command_right=written is not None and written[0] == row["command"],
        exact=_same(written, expected),
        offered=any(_same(_parsed(option.to_dict()), expected) for option in options),
        words_command=options[0].command == row["command"],
        words_exact=_same(first, expected),
        options=len(options),
        asked=always or len(options) > 1,
        prompt_tokens=int(usage.get("prompt_tokens", 0)),
        completion_tokens=int(usage.get("completion_tokens", 0)),
        offer_ms=round((asked - started) * 1000, 1),
        model_ms=round((ended - asked) * 1000, 1),
    )


def summarise(judged: Sequence[Judged]) -> Json:
    """Shares in per cent, medians of cost."""
    said: Json = {"requests": len(judged)}
    for name in ("valid", "command_right", "exact", "offered", "words_command", "words_exact"):
        said[f"{name}_pct"] = _share(judged, name)
        for language in ("en", "zh"):
            part = [one for one in judged if one.language == language]
            said[f"{name}_pct_{language}"] = _share(part, name)
    several = [one for one in judged if one.options > 1]
    said["decided_by_model"] = len(several)
    said["asked"] = sum(one.asked for one in judged)
    said["exact_pct_where_decided"] = _share(several, "exact")
    said["words_exact_pct_where_decided"] = _share(several, "words_exact")
    for name in ("prompt_tokens", "completion_tokens", "offer_ms", "model_ms"):
        values = sorted(float(getattr(one, name)) for one in judged if one.asked) or [0.0]
        said[f"{name}_p50"] = statistics.median(values)
        said[f"{name}_p95"] = values[int(len(values) * 0.95) - 1]
    return said


def recall(rows: Sequence[Json]) -> Json:
    """Share of requests whose command is among the first k that the retrieval finds, in per cent."""
    index = index_of(registry())
    found = [[hit.command.name for hit in index.search(row["text"])] for row in rows]
    return {
        f"at_{k}": round(
            100
            * sum(row["command"] in names[:k] for row, names in zip(rows, found, strict=True))
            / len(rows),
            1,
        )
        for k in (1, 3, 5, CANDIDATES)
    }


def _share(judged: Sequence[Judged], name: str) -> float:
    return round(100 * sum(bool(getattr(one, name)) for one in judged) / len(judged), 1) if judged else 0.0


def _written(text: str) -> tuple[str, Json] | None:
    try:
        value = json.loads(text)
        return _parsed(value)
    except (ValueError, KeyError, TypeError, HubError):
        return None


def _parsed(value: Json) -> tuple[str, Json]:
    """Command and arguments as the door would take them. Raises: HubError, KeyError, TypeError."""
    parsed: BaseModel = parse(registry().get(value["command"]), value["arguments"])
    return value["command"], _even(parsed.model_dump())


def _even(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip().casefold()
    if isinstance(value, dict):
        return {name: _even(item) for name, item in value.items()}
    return [_even(item) for item in value] if isinstance(value, list) else value


def _same(one: tuple[str, Json] | None, other: tuple[str, Json]) -> bool:
    return one == other


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--set", dest="which", default="requests")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument(
        "--decided-only", action="store_true", help="ask only where more than one option is left"
    )
    parser.add_argument("--out", default="")
    asked = parser.parse_args()
    target, rows = Target(asked.url, asked.key), rows_of(asked.which)[: asked.limit]
    add_people(target)
    document: Json = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "set": asked.which,
        "commands_in_catalogue": len(registry()),
        "recall_pct": recall(rows),
        "models": {},
    }
    print("recall", document["recall_pct"], flush=True)
    for model in asked.models:
        judged: list[Judged] = []
        for row in rows:
            judged.append(judge(target, model, row, always=not asked.decided_only))
            if len(judged) % 20 == 0:
                print(model, len(judged), _share(judged, "valid"), _share(judged, "exact"), flush=True)
        document["models"][model] = {
            **summarise(judged),
            "missed": [asdict(one) for one in judged if not one.exact],
        }
        print(
            json.dumps(
                {name: value for name, value in document["models"][model].items() if name != "missed"},
                indent=1,
            )
        )
    out = Path(asked.out) if asked.out else HERE.parent / "results" / f"intent-{document['date']}.json"
    out.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
