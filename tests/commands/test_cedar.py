"""One question to Cedar: what it says, and what becomes of a question that it cannot read."""

from typing import Any

import pytest

from tokenhub.commands.cedar import entities_of, evaluate, policies_of

FLOOR = '@id("floor") forbid (principal, action, resource) unless { context.scoped };'
OWN = '@id("people") permit (principal, action, resource);'


def _ask(context: dict[str, Any], *texts: str) -> tuple[bool, tuple[str, ...]]:
    request = {
        "principal": {"type": "User", "id": "user_1"},
        "action": {"type": "Action", "id": "team.create"},
        "resource": {"type": "Org", "id": "org_1"},
        "context": context,
    }
    return evaluate(request, policies_of(*texts), entities_of([]))


def test_it_names_the_policies_that_decided() -> None:
    assert _ask({"scoped": True}, FLOOR, OWN) == (True, ("people",))
    assert _ask({"scoped": False}, FLOOR, OWN) == (False, ("floor",))
    assert _ask({"scoped": True}, FLOOR) == (False, ())


def test_a_policy_that_breaks_denies() -> None:
    allowed, reasons = _ask({}, FLOOR, OWN)
    assert not allowed and reasons[0] == "people" and reasons[1].startswith("error: ")


@pytest.mark.parametrize("unread", [2**63, -(2**70), "\ud800"])
def test_a_question_that_cannot_be_read_is_denied(unread: object) -> None:
    allowed, reasons = _ask({"scoped": True, "args": {"value": unread}}, FLOOR, OWN)
    assert not allowed and len(reasons) == 1 and reasons[0].startswith("error: ")
