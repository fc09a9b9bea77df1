"""Cedar, as far as decisions need it: parsed sets of policies and entities, and one question put to them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import cedarpy
from cedarpy import Entities, PolicySet

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
    return cedarpy.Entities.from_json_str(json.dumps(entities))  # pyright: ignore[reportUnknownMemberType]


def evaluate(
    request: Mapping[str, Any], policies: PolicySet, entities: Entities
) -> tuple[bool, tuple[str, ...]]:
    """Whether it is allowed, and the ids of the policies that decided.

    A policy that fails to evaluate would simply not count, which for a forbid is the wrong way: it denies instead, and
    its error stands last.
    """
    result = cast(Any, cedarpy.is_authorized)(request, policies, entities)
    diagnostics: Any = result.diagnostics
    names = cast(dict[str, str], diagnostics.id_annotations_by_reason)
    reasons = tuple(sorted(names.get(reason) or reason for reason in cast(list[str], diagnostics.reasons)))
    errors = cast(list[str], diagnostics.errors)
    if errors:
        return False, (*reasons, f"error: {errors[0]}")
    return bool(result.allowed), reasons
