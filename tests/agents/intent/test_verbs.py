"""`hub commands offer`: the caller's people and the caller's commands, nobody else's."""

from tests.commands.conftest import admin, first, runtime
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.door import Runtime, execute
from tokenhub.identity.types import Principal

__all__ = ["admin", "first", "runtime"]


def test_an_offer_is_ready_to_run(runtime: Runtime, admin: Principal) -> None:
    def call(verb: str, /, **arguments: object) -> dict[str, object]:
        envelope = execute(registry(), runtime, admin, verb, arguments)
        assert envelope.ok and envelope.data is not None, envelope
        return envelope.data

    for name in ("Zoë Kern", "zo", "王芳", "100%", "a_b"):
        call("user.create", name=name)
    offered = call(
        "commands.offer",
        text="make a task for zoë: sweep, by friday, and not for zoo or 100 times",
        now="2026-11-23T09:00",
    )
    items = offered["items"]
    assert isinstance(items, list)
    best = items[0]
    assert best["command"] == "task.create" and best["effect"] == "write" and best["complete"]
    assert best["arguments"]["assignee"] == "Zoë Kern" and best["arguments"]["due"] == "2026-11-27"
    assert call(best["command"], **best["arguments"])


def test_bad_input_is_refused(runtime: Runtime, admin: Principal) -> None:
    for arguments in ({"text": ""}, {"text": "x" * 2001}, {"text": "x", "now": "soon"}, {}):
        envelope = execute(registry(), runtime, admin, "commands.offer", arguments)
        assert envelope.error is not None and envelope.error.status == 400, arguments
