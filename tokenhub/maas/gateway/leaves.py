"""The request path's work on bytes where `leaves.c` was compiled; without it these say nothing, and their twins decide.

Each function answers for the usual case alone, with what its twin in Python would say (tests/gateway/test_leaves.py).
"""

from collections.abc import Callable

from tokenhub.kernel import native

PlainChat = tuple[str, int, int, bytes, bytes]
"""Model, output limit (0: none), choices, and the body as an upstream gets it before and after the model's name."""


def _no_chat(data: bytes, start: int) -> PlainChat | None:
    return None


def _nothing(data: bytes) -> None:
    return None


def _nowhere(data: bytes) -> int:
    return -1


_module = native.load("leaves", __file__)
compiled = _module is not None
chat: Callable[[bytes, int], PlainChat | None] = getattr(_module, "chat", _no_chat)
"""Twin: `validation.read_plain_chat`, of the body that begins at `start`; it is UTF-8."""
answer: Callable[[bytes], tuple[int, int, int, str] | None] = getattr(_module, "answer", _nothing)
"""Twin: `answer.read_plain_answer`."""
known: Callable[[bytes], tuple[bytes, int, int] | None] = getattr(_module, "known", _nothing)
"""Twin: `fast_path.known_head`."""
whole: Callable[[bytes], int] = getattr(_module, "whole", _nowhere)
"""Twin: `upstream.whole_answer`; -1 where it says nothing."""
events: Callable[[bytes], int] = getattr(_module, "events", _nowhere)
"""Twin: `raw_relay.plain_events`; -1 where it says nothing, 0 is its answer."""
