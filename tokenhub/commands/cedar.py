"""Cedar, as far as decisions need it: parsed sets of policies and entities, and one question put to them.

A question goes to cedarpy's compiled part itself: the Python around it costs half as much again as Cedar does.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from cedarpy import PolicySet, _internal  # pyright: ignore[reportPrivateUsage]

Entities = _internal.Entities

__all__ = ["Entities", "PolicySet", "entities_of", "evaluate", "policies_of"]

Json = dict[str, Any]


def policies_of(*texts: str) -> PolicySet:
    """Policy texts, one after the other, parsed once. Raises: ValueError with Cedar's words."""
    parsed = PolicySet.from_str(texts[0])
    for text in texts[1:]:
        parsed = parsed.with_added_str(text)
    return parsed


def entities_of(entities: Sequence[Json]) -> Entities:
    """Entities in Cedar's JSON form, parsed once."""
    return Entities.from_json_str(json.dumps(entities))


def evaluate(
    request: Mapping[str, Any], policies: PolicySet, entities: Entities
) -> tuple[bool, tuple[str, ...]]:
    """Whether it is allowed, and the ids of the policies that decided.

    A policy that fails to evaluate would simply not count, which for a forbid is the wrong way: it denies instead, and
    its error stands last.
    """
    asked = {**request, "context": _text(request["context"])}
    [told] = _IS_AUTHORIZED([asked], policies, entities, None, False)  # no schema, no words on stderr
    answer = _ANSWER.decode(told)
    why = answer.diagnostics
    reasons = tuple(sorted([why.id_annotations_by_reason.get(reason) or reason for reason in why.reason]))
    if why.errors:
        return False, (*reasons, f"error: {why.errors[0]}")
    return answer.decision == "Allow", reasons


def _text(context: object) -> str:
    try:
        return msgspec.json.encode(context).decode()
    except UnicodeEncodeError:  # half a character: Cedar cannot read it, and says so
        return json.dumps(context)


class _Diagnostics(msgspec.Struct):
    """Of a question that Cedar cannot read it tells the errors alone."""

    reason: list[str] = []
    errors: list[str] = []
    id_annotations_by_reason: dict[str, str] = {}


class _Answer(msgspec.Struct):
    decision: str
    diagnostics: _Diagnostics


_ANSWER = msgspec.json.Decoder(_Answer)
_IS_AUTHORIZED = cast(Any, _internal).is_authorized_batch
