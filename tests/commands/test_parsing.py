"""Hostile arguments: always an answer in the caller's form, never a crash, nothing half-written."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.commands.conftest import Call
from tests.work.world import SAMPLES
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.parsing import parse
from tokenhub.kernel.errors import InvalidRequest

BAD: tuple[Any, ...] = (
    "\x00",
    "\ud800",
    2**63,
    -(2**70),
    float("nan"),
    float("inf"),
    {"a": ["\x00"]},
    [],
    None,
    True,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_every_identity_command_refuses_what_cannot_be(call: Call, bad: Any) -> None:
    for name in ("key.create", "user.create", "team.create", "key.show", "team.add", "key.list"):
        for field in ("name", "key", "user", "team", "limit", "scopes", "cursor"):
            answer = call(name, {field: bad})
            assert answer.ok or answer.error.status < 500, (name, field, answer)


@pytest.mark.parametrize("text", ["9" * 20, "-" + "9" * 20, "9" * 200])
def test_digits_that_become_too_large_a_number_are_named(text: str) -> None:
    """As a form or a command line sends them."""
    for declared in registry():
        for name, field in declared.arguments.model_fields.items():
            if field.annotation in (int, int | None) and declared.name in SAMPLES:
                with pytest.raises(InvalidRequest) as refused:
                    parse(declared, {**SAMPLES[declared.name], name: text})
                assert refused.value.param == name, declared.name


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_json_gets_an_answer(call: Call, data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from([declared for declared in registry() if declared.name.split(".")[0] in _NOUNS])
    )
    fields = list(name.arguments.model_fields)
    values = json_values | st.sampled_from(["admin", "default", "", "key_1", "*"])
    raw = data.draw(st.dictionaries(st.sampled_from([*fields, "unknown"]), values, max_size=5))
    answer = call(name.name, raw, dry_run=data.draw(st.booleans()))
    assert answer.ok or answer.error.status < 500, answer


_NOUNS = ("key", "user", "team", "project", "service-account", "login-link", "org")
