"""The request under which a model writes one of the options, and what it chose.

The answer's schema is an `enum` of whole commands, so that every answer that ends is one of them, with any model
and any temperature; strings of the schema are constants, which bounds the answer, and `max_tokens` is above that bound.
The request is an ordinary chat completion: it goes through the gateway and is metered like any other.
"""

import json
from collections.abc import Sequence
from typing import Any, cast

from tokenhub.agents.intent.options import Option

Json = dict[str, Any]
INSTRUCTION = "You turn a person's request into one command. Choose the command that does what is asked, and answer with it as JSON."


def request_for(text: str, options: Sequence[Option]) -> Json:
    """Body of a chat completion, without `model`: `messages`, `response_format`, `max_tokens`, `temperature`."""
    commands = list(dict.fromkeys((option.command, option.summary) for option in options))
    told = "\n".join(f"{name}: {summary}" for name, summary in commands)
    return {
        "messages": [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": f"Commands:\n{told}\n\nRequest: {text}"},
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "command", "schema": {"enum": [option.to_dict() for option in options]}},
        },
        "max_tokens": max(len(option.line().encode()) for option in options) + 16,
        "temperature": 0,
    }


def chosen_from(content: str | None, options: Sequence[Option]) -> Option | None:
    """The option that an answer names; None if it names none: an engine that holds to no schema, an answer cut."""
    try:
        answer: object = json.loads(content or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    given = cast(Json, answer)
    return next((option for option in options if option.to_dict() == given), None)
