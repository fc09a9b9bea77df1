"""The request path's work on bytes where `leaves.c` was compiled; elsewhere these say nothing and their twins decide.

Each answers for the usual case alone, with what its twin in Python would say (tests/gateway/test_leaves.py).
"""

from collections.abc import Callable

from tokenhub import native

PlainChat = tuple[str, int, int, bytes, bytes]
"""Model, output limit (0: none), choices, and the body as an upstream gets it before and after the model's name."""
PlainAnswer = tuple[int, int, int, str]
"""Uncached input, cached input, output, finish reason."""


def _no_chat(_data: bytes, _start: int) -> PlainChat | None:
    return None


def _nothing(_data: bytes) -> None:
    return None


def _no_identifier(_at_ms: int, _middle: str, _count: int) -> None:
    return None


def _no_message(
    _first: bytes, _second: bytes | str, _third: bytes | str, _fourth: bytes, _fifth: bytes
) -> None:
    return None


def _nowhere(_data: bytes) -> int:
    return -1


_module = native.load("leaves")
compiled = _module is not None
chat: Callable[[bytes, int], PlainChat | None] = getattr(_module, "chat", _no_chat)
"""Of the body that begins at an index and is UTF-8. Twin: `validation.read_plain_chat`."""
answer: Callable[[bytes], PlainAnswer | None] = getattr(_module, "answer", _nothing)
"""Twin: `answer.read_plain_answer`."""
known: Callable[[bytes], tuple[bytes, int, int] | None] = getattr(_module, "known", _nothing)
"""Twin: `fast_path.known_head`."""
whole: Callable[[bytes], int] = getattr(_module, "whole", _nowhere)
"""Where the body of a whole plain answer begins; -1 where it says nothing. Twin: `whole_answer.is_whole`."""
identifier: Callable[[int, str, int], str | None] = getattr(_module, "identifier", _no_identifier)
"""Twin: `request_ids.make_identifier`."""
asked: Callable[[bytes, str, bytes, bytes, bytes], bytes | None] = getattr(_module, "asked", _no_message)
"""Twin: `fast_path.write_request`."""
answered: Callable[[bytes, bytes, str, bytes, bytes], bytes | None] = getattr(
    _module, "answered", _no_message
)
"""Twin: `fast_path.write_answer`."""
