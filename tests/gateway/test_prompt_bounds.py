"""Bounds of prompts at upstreams without a tokenizer of ours: close after the first answer, never passed."""

import asyncio
import re
import unicodedata
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.client import chat
from tests.gateway.conftest import Hub
from tests.gateway.upstream import STREAM_HEAD, Call, chunk, framed, json_answer, sse, usage_chunk
from tokenhub.ledger.types import Unit
from tokenhub.maas.gateway.prompt_bounds import TEMPLATE_TOKENS, PromptBounds, plain_text
from tokenhub.maas.gateway.sizing import _prompt_bound
from tokenhub.maas.gateway.validation import parse_request

_PIECES = re.compile(r" ?[a-z]+| ?\d{1,3}| ?[^\s\da-z]+|\s+")


def counted(messages: list[dict[str, Any]]) -> int:
    """As a byte-pair tokenizer counts: pieces of words, rare text byte by byte, a template around it."""
    template = 40 if messages[0]["role"] != "system" else 2
    return template + sum(4 + _tokens(f"{one['role']} {one['content']}") for one in messages)


def _tokens(text: str) -> int:
    """Four letters a token, whatever is no plain letter a byte a token."""
    return sum(
        -(-len(piece) // 4) if piece.isascii() else len(piece.encode()) for piece in _PIECES.findall(text)
    )


def text_of(messages: list[dict[str, Any]], **fields: Any) -> bytes | None:
    body = msgspec.json.encode(chat(messages=messages, **fields))
    return plain_text(parse_request("chat.completions", body, request_id="req_1"))


def most(known: PromptBounds, text: bytes | None, deployment_id: str = "d") -> int:
    assert text is not None
    bound = known.bound(deployment_id, text)
    assert bound is not None
    return bound


def asked(content: str, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": content}]


_words = st.lists(
    st.sampled_from(["alpha", "be", "42", "\n", "  ", "漢字", "🙂", "x" * 30, "don't"]), max_size=12
)
_message = st.builds(
    lambda role, words: {"role": role, "content": " ".join(words)},
    st.sampled_from(["system", "user", "assistant"]),
    _words,
)


@given(st.lists(st.lists(_message, min_size=1, max_size=4), min_size=1, max_size=8))
def test_no_prompt_passes_its_bound(prompts: list[list[dict[str, Any]]]) -> None:
    known = PromptBounds()
    for messages in prompts:
        text = text_of(messages)
        assert text is not None
        bound, count = most(known, text), counted(messages)
        assert count <= bound
        known.learn("d", text, tokens=count, bound=bound)


def test_a_prompt_like_an_earlier_one_has_a_close_bound() -> None:
    known = PromptBounds()
    first, second = asked("word " * 500 + "number 1 please"), asked("word " * 500 + "number 27 please")
    one, two = text_of(first), text_of(second)
    assert one is not None and two is not None
    assert most(known, two) > 2500
    known.learn("d", one, tokens=counted(first), bound=3000)
    assert counted(second) <= known.bound("d", two) < counted(second) + 60
    longer = [*first, *asked("ok", "assistant"), *asked("go on")]
    text = text_of(longer)
    assert text is not None
    assert counted(longer) <= most(known, text) < counted(longer) + 100, "a conversation that goes on"
    assert most(known, two, "elsewhere") > 2500


def test_what_begins_with_another_role_is_another_template() -> None:
    known = PromptBounds()
    system = text_of([*asked("brief", "system"), *asked("hi")])
    user = text_of(asked("hi"))
    assert system is not None and user is not None
    known.learn("d", system, tokens=9, bound=600)
    assert most(known, user) > TEMPLATE_TOKENS


def test_more_than_plain_text_is_not_looked_at() -> None:
    image = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert text_of([{"role": "user", "content": parts}]) == b"\0user\na\nb\n"
    assert text_of([{"role": "user", "content": image}]) is None
    assert text_of(asked("<think>long</think> short", "assistant")) is None


def test_what_else_shapes_a_prompt_must_be_the_same() -> None:
    known, json = PromptBounds(), {"response_format": {"type": "json_object"}}
    plain, shaped, other = text_of(asked("hi")), text_of(asked("hi"), **json), text_of(asked("hi"), n=2)
    assert plain is not None and shaped is not None and other is not None
    assert known.bound("d", shaped) is None, "a schema may be written into the prompt, nobody knows how"
    known.learn("d", shaped, tokens=300, bound=900)
    assert most(known, shaped) < 320 and known.bound("d", other) is None
    assert most(known, plain) > TEMPLATE_TOKENS


def test_an_upstream_that_passes_its_bound_is_not_trusted_again() -> None:
    known = PromptBounds()
    text = text_of(asked("hello there"))
    assert text is not None
    loose = most(known, text)
    known.learn("d", text, tokens=12, bound=loose)
    close = most(known, text)
    assert close < 40
    known.learn("d", text, tokens=close + 1, bound=close)
    known.learn("d", text, tokens=12, bound=loose)
    assert most(known, text) == loose


async def test_a_small_budget_is_usable_at_a_provider_without_tokenizer(hub: Hub) -> None:
    """64 clients, answers of 40 tokens, a budget for half of them: 3 % of it are less than two prompts."""
    answer, prompt, clients = 40, 12, 64

    async def forty(call: Call) -> None:
        most = min(call.fields.get("max_tokens") or answer, answer)
        if not call.fields.get("stream"):
            usage = {"prompt_tokens": prompt, "completion_tokens": most, "total_tokens": prompt + most}
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": "t" * most},
                "finish_reason": "stop",
            }
            body = {"id": "c", "object": "chat.completion", "created": 1, "model": "up", "choices": [choice]}
            call.writer.write(json_answer({**body, "usage": usage}))
            return
        call.writer.write(STREAM_HEAD)
        for number in range(most):
            call.writer.write(framed(sse(chunk("t"))))
            if number % 10 == 0:
                await asyncio.sleep(0)
        call.writer.write(framed(sse(chunk(finish="stop"))) + framed(sse(usage_chunk(prompt, most))))
        call.writer.write(framed(sse("[DONE]")) + b"0\r\n\r\n")

    hub.upstream.script = forty
    cap = (answer + prompt) * 2 * clients
    await hub.limit(cap)
    bodies = [
        chat(
            messages=asked("word " * 30 + f"number {index}"),
            **({"stream": True} if index % 2 else {}),
            **({"max_tokens": answer} if index % 4 < 2 else {}),
        )
        for index in range(4 * clients)
    ]
    for start in range(0, len(bodies), clients):
        answers = await asyncio.gather(*[hub.ask(body=body) for body in bodies[start : start + clients]])
        assert all(one.status in (200, 402) for one in answers)
    [bucket] = [one for one in await hub.buckets() if one["unit"] == int(Unit.TOKENS)]
    assert 0.97 * cap <= bucket["used"] <= cap and bucket["overage"] == 0


def test_a_tokenizer_that_composes_first_does_not_pass_the_bound() -> None:
    """Qwen's tokenizer puts text into the normal form NFC, which makes some of it longer: 3 bytes, 6 tokens."""
    text = "\u0fb9" * 1000
    tokens = len(unicodedata.normalize("NFC", text).encode())  # each byte of it is a token: rare enough
    assert tokens == 6000
    body = msgspec.json.encode(chat(messages=asked(text)))
    parsed = parse_request("chat.completions", body, request_id="req_1")
    assert most(PromptBounds(), text_of(asked(text))) >= tokens
    assert _prompt_bound(parsed) >= tokens
