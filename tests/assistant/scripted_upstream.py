"""A scripted OpenAI-compatible upstream: streams a text at a set rate, one token a frame, and counts what it sent.

Which text is chosen by the first word of the last message: `long`, `xss`, `slow`, anything else is a short answer.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, StreamingResponse

MODELS = ("paper-7b", "scripted-large")

SHORT = """Double entry keeps every movement **twice**: once where it leaves, once where it arrives. The sum is always zero.

| Account | Debit | Credit |
|---|---:|---:|
| Tokens held | 214 | |
| Tokens of Ada | | 214 |

```python
def balance(entries: list[tuple[str, int]]) -> dict[str, int]:
    \"\"\"Sum of each account; all of them together are 0.\"\"\"
    totals: dict[str, int] = {}
    for account, amount in entries:
        totals[account] = totals.get(account, 0) + amount
    assert sum(totals.values()) == 0  # or a row is missing
    return totals
```

1. A **hold** reserves what an answer may need.
2. The *settlement* books what it used — 用多少，记多少。
3. What is left goes back, see [double entry](https://example.com/double-entry).

> Rows are never changed; a mistake is another row.
"""

XSS = """Here are some things that must stay text.

<script>window.__xss = 'script'</script>

<img src=x onerror="window.__xss='img'">

<svg onload="window.__xss='svg'"><script>window.__xss='svgscript'</script></svg>

Inline <b onmouseover="window.__xss='b'">bold</b> and <a href="javascript:window.__xss='a'">link</a>.

[click me](javascript:window.__xss='md') and [again](JaVaScRiPt:window.__xss='case') and [tab](java\tscript:window.__xss='tab')

[data](data:text/html,<script>window.__xss='data'</script>) [vb](vbscript:x) [ent](&#106;avascript:window.__xss='ent')

![image](https://evil.example/pixel.png "onerror=window.__xss='t'") ![x](javascript:window.__xss='imgjs')

<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=window.__xss='mxss'&gt;">

<form><math><mtext></form><form><mglyph><style></math><img src onerror=window.__xss='mxss2'>

<!-- <img src=x onerror="window.__xss='comment'"> --!> <img src=x onerror="window.__xss='comment2'"> -->

<iframe srcdoc="<script>parent.__xss='iframe'</script>"></iframe> <object data="data:text/html,x"></object> <embed src="//evil.example/e">

<style>body{background:url(https://evil.example/css)}</style><link rel=stylesheet href=//evil.example/s.css><base href=//evil.example/>

<details open ontoggle="window.__xss='toggle'"><summary>s</summary></details> <input autofocus onfocus="window.__xss='focus'">

<a id=x name=defaultView href="data:text/html;base64,PHNjcmlwdD4=">clobber</a> <form id=document><input name=cookie></form>

```html" onmouseover="window.__xss='info'
<script>window.__xss='code'</script>
```

[ref]: javascript:window.__xss='ref'
A [reference][ref] link, an autolink <javascript:window.__xss='auto'> and a title [t](https://example.com "x\\" onmouseover=\\"window.__xss='title'").

| a | <img src=x onerror="window.__xss='cell'"> |
|---|---|
| `<script>` | <script>window.__xss='cell2'</script> |

End of the corpus.
"""


def long_text(tokens: int = 10_000) -> str:
    """A markdown answer of about `tokens` pieces: headings, lists, tables, code, Chinese."""
    parts: list[str] = []
    section = 0
    while count_tokens("".join(parts)) < tokens:
        section += 1
        parts.append(
            f"## Section {section}\n\nA paragraph with **bold** words, `inline code` and a [link](https://example.com/{section}). "
            + "Sentences follow one another so that the paragraph is as long as such paragraphs are in real answers. "
            * 2
            + "\n\n"
            + "".join(f"- item {n} of section {section}, with some words behind it\n" for n in range(6))
            + "\n| name | value | 说明 |\n|---|---:|---|\n"
            + "".join(f"| row {n} | {n * section} | 第 {n} 行 |\n" for n in range(5))
            + f"\n```python\ndef section_{section}(values: list[int]) -> int:\n"
            + "".join(f"    total_{n} = sum(value * {n} for value in values)  # step {n}\n" for n in range(8))
            + "    return total_0\n```\n\n这一段是中文，用来检查中西文混排与换行是否流畅。每个回答都有一行账。\n\n"
        )
    return "".join(split("".join(parts))[:tokens])


def split(text: str) -> list[str]:
    """Pieces of a few characters, as tokens are; joined they are the text again."""
    return re.findall(r"[\u4e00-\u9fff]{1,2}|\s?\w{1,6}|\s|[^\w\s]", text)


def count_tokens(text: str) -> int:
    """Pieces in the text."""
    return len(split(text))


@dataclass
class Script:
    """What the upstream does, and what it did."""

    sent: int = 0
    """Tokens sent over all answers."""
    open_streams: int = 0
    ended: dict[int, int] = field(default_factory=dict)
    """Number of the request -> tokens sent for it."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    rates: dict[str, float] = field(
        default_factory=lambda: {"long": 200.0, "slow": 20.0, "xss": 400.0, "": 120.0}
    )
    texts: dict[str, str] = field(
        default_factory=lambda: {"long": long_text(), "slow": long_text(3000), "xss": XSS, "": SHORT}
    )


def create_upstream(script: Script) -> FastAPI:
    """The upstream as an ASGI app; `/script` tells what it did."""
    app = FastAPI()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in MODELS],
        }

    @app.get("/script")
    def tell() -> dict[str, int]:
        return {"sent": script.sent, "open": script.open_streams, "requests": len(script.requests)}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: Request) -> StreamingResponse | JSONResponse:
        body = await request.json()
        script.requests.append(body)
        words = str(body["messages"][-1]["content"]).split()
        word = words[0].lower() if words else ""
        if word == "fail":
            return JSONResponse(
                {
                    "error": {
                        "message": "The engine is out of paper.",
                        "code": "out_of_paper",
                        "type": "server_error",
                    }
                },
                status_code=503,
            )
        kind = word if word in script.texts else ""
        number = len(script.requests)
        prompt = sum(count_tokens(str(message["content"])) for message in body["messages"])
        return StreamingResponse(
            _stream(script, kind, number, prompt, str(body["model"])),
            media_type="text/event-stream",
            headers={"x-request-id": f"req_script_{number:06d}"},
        )

    return app


async def _stream(script: Script, kind: str, number: int, prompt: int, model: str) -> AsyncIterator[bytes]:
    pieces = split(script.texts[kind])
    rate = script.rates[kind]
    loop = asyncio.get_running_loop()
    start = loop.time()
    script.open_streams += 1
    base = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
    }

    def frame(choices: list[dict[str, Any]], **more: Any) -> bytes:
        return f"data: {json.dumps({**base, 'choices': choices, **more}, ensure_ascii=False)}\n\n".encode()

    def choice(delta: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}]

    sent = 0
    try:
        yield frame(choice({"role": "assistant", "content": ""}))
        for index, piece in enumerate(pieces):
            ahead = start + index / rate - loop.time()
            if ahead > 0.004:
                await asyncio.sleep(ahead)
            script.sent += 1
            sent += 1
            yield frame(choice({"content": piece}))
        yield frame(choice({}, "stop"))
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": len(pieces),
            "total_tokens": prompt + len(pieces),
        }
        yield frame([], usage=usage)
        yield b"data: [DONE]\n\n"
    finally:
        script.open_streams -= 1
        script.ended[number] = sent
