"""The mind for models that are too small to call tools: each reply is one whole, valid command (decision 0019).

A request is taken sentence by sentence (`then`, a full stop, a new line); each sentence becomes the options that it may mean,
and the model writes one of them. When every sentence has had its command, the model is asked for a closing sentence.
It invents no value and chains no results: what one command answers is told, but the next one is read from the person's words.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from tokenhub.agents.intent.choice import request_for
from tokenhub.agents.intent.options import options_of
from tokenhub.agents.types import Action, Run, Step
from tokenhub.commands.registry import Registry
from tokenhub.db.engine import Database
from tokenhub.identity.directory import people_named_in

Json = dict[str, Any]
ANSWER_MAX = 2000
_NEXT = re.compile(
    r"(?:(?<=[^\d\s][.!?])\s+|[。！？；;\n]+|[,，.]?\s*\b(?:and )?[Tt]hen\b,?\s*|[，,]?\s*(?:然后|接着|之后再)\s*)"
)


class ExactMind:
    """One command at a time, from the person's own words."""

    def body(self, registry: Registry, run: Run, messages: Sequence[Json], *, people: Sequence[str]) -> Json:
        """The request to the model: one of the options of the sentence whose turn it is, or a closing sentence."""
        parts = sentences(run.request)
        turn = sum(message.get("role") == "assistant" for message in messages)
        if turn >= len(parts):
            return {"messages": list(messages), "temperature": 0}
        now = datetime.fromtimestamp(run.created_at_ms / 1000, UTC).replace(tzinfo=None)
        options = options_of(registry, parts[turn], people=people, now=now)
        asked = request_for(parts[turn], options)
        rules = [message for message in messages if message.get("role") == "system"][:1]
        return {
            **{name: asked[name] for name in ("response_format", "temperature")},
            "messages": [*rules, *asked["messages"]],
        }

    def messages(self, step: Step, answers: Sequence[Step]) -> list[Json]:
        """What was written, and what came of it."""
        said: Json = {"role": "assistant", "content": str((step.answer or {}).get("content") or "")}
        came = [json.dumps(one.answer or {}, ensure_ascii=False)[:ANSWER_MAX] for one in answers]
        return [said, {"role": "user", "content": "Result: " + ("\n".join(came) or "not run")}]

    def actions(self, registry: Registry, message: Mapping[str, Any]) -> list[Action]:
        """The command that was written; none where it is a sentence."""
        try:
            written: object = json.loads(str(message.get("content") or ""))
        except (ValueError, RecursionError):
            return []
        if not isinstance(written, dict):
            return []
        given = cast(Json, written)
        if set(given) != {"command", "arguments"}:
            return []
        return [Action("", str(given["command"]), json.dumps(given["arguments"], ensure_ascii=False))]


def people_of(database: Database, run: Run) -> list[str]:
    """Whom the request names, for a mind that reads arguments from it; nobody for the others."""
    if run.mind != "exact":
        return []
    with database.read("hub") as connection:
        return people_named_in(connection, run.org_id, run.request)


def sentences(request: str) -> list[str]:
    """The parts of a request that each ask for one thing; quotations stay whole. At least one."""
    quoted: list[str] = []

    def keep(match: re.Match[str]) -> str:
        quoted.append(match[0])
        return f"\x02{len(quoted) - 1}\x02"

    bare = re.sub(r"\"[^\"]*\"|“[^”]*”|「[^」]*」|《[^》]*》", keep, request)
    parts = [part.strip(" \t,，.。") for part in _NEXT.split(bare)]
    whole = [re.sub(r"\x02(\d+)\x02", lambda match: quoted[int(match[1])], part) for part in parts if part]
    return whole or [request]
