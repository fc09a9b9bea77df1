"""The door: a body becomes a `ParsedRequest`, or is refused with the field's name. Nothing malformed goes on.

Checked on the bytes: UTF-8, JSON (escapes and surrogates included), nesting, repeated names. Checked on the
envelope: `schema`. What an engine then gets is written anew from the parsed top level, each field once.
"""

import json
import re
import unicodedata
from typing import Any

import msgspec

from tokenhub.kernel.errors import HubError, InvalidRequest
from tokenhub.maas.gateway import leaves
from tokenhub.maas.gateway.leaves import PlainChat
from tokenhub.maas.gateway.request import Endpoint, ParsedRequest
from tokenhub.maas.gateway.schema import COMMON_CHAT, ChatCompletion, CommonChat, Completion, Embedding

DEPTH_MAX = 128
_BRACKETS_FREE = DEPTH_MAX
PLAIN_BYTES_MAX = 32 * 1024
"""Larger bodies are not searched for repeated names; the last value counts, in our check and upstream alike."""

_encode = msgspec.json.Encoder().encode
_MODEL = msgspec.Raw(b"null")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_common_chat = msgspec.json.Decoder(CommonChat).decode
_chat = msgspec.json.Decoder(ChatCompletion).decode
_completion = msgspec.json.Decoder(Completion).decode
_embedding = msgspec.json.Decoder(Embedding).decode
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_ESCAPED_NAME = re.compile(rb"\\u00[57][0-9a-fA-F]|\\u006[0-9a-fA-F]")
"""A letter or underscore written as an escape, as no usual client does: names must be decoded to be found."""
_QUOTED = re.compile(rb'"[^"]*"')
_QUOTED_NAMES = {name: b'"%b"' % name.encode() for name in COMMON_CHAT}
_AT = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def parse_request(endpoint: Endpoint, body: bytes, *, request_id: str) -> ParsedRequest:
    """Raises: InvalidRequest, with `param` where a field is at fault."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise InvalidRequest("The request body is not valid UTF-8.", code="invalid_json") from None
        if body.startswith(b"\xef\xbb\xbf"):
            raise InvalidRequest(
                "The request body starts with a byte order mark; send plain UTF-8.", code="invalid_json"
            )
    if body.count(b"[") + body.count(b"{") > _BRACKETS_FREE and _too_deep(body):
        raise InvalidRequest(
            f"The request body is nested deeper than {DEPTH_MAX} levels.", code="invalid_json"
        )
    try:
        request = _read(endpoint, body, request_id)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from None
    request.body_bytes = len(body)
    request.prompt_bytes = normal_bytes(body)
    if endpoint == "chat.completions":
        request.images = body.count(b'"image_url"')
        if _ESCAPED_NAME.search(body):
            request.images += msgspec.json.encode(msgspec.json.decode(body)).count(b'"image_url"')
    return request


def normal_bytes(text: bytes) -> int:
    """The most bytes of a text (UTF-8 or JSON) after the normal forms that tokenizers put it into: some of it grows.

    Never less than its own bytes. Text that is in its normal form already, as nearly all is, costs one look.
    """
    size = len(text)
    if text.isascii():
        if b"\\u" not in text:
            return size
        try:
            text = msgspec.json.encode(msgspec.json.decode(text))
        except msgspec.MsgspecError:
            return size
    plain = text.decode(errors="replace")
    for form in ("NFC", "NFKC"):
        if not unicodedata.is_normalized(form, plain):
            size = max(size, len(unicodedata.normalize(form, plain).encode(errors="replace")))
    return size


def plain_chat(data: bytes, start: int) -> PlainChat | None:
    """The body that begins at `start`, if it is a plain chat request, checked as `parse_request` checks it: no stream,
    no tools, no images, nothing odd.

    None: it is something else, or malformed; `parse_request` says what.
    """
    if len(data) - start > PLAIN_BYTES_MAX:
        return None
    if not data.isascii():
        body = data[start:]
        try:
            body.decode()
        except UnicodeDecodeError:
            return None
        if normal_bytes(body) > len(body):
            return None
    return leaves.chat(data, start) or read_plain_chat(data[start:])


def read_plain_chat(body: bytes) -> PlainChat | None:
    """`plain_chat` of UTF-8 that no normal form lengthens. What `leaves.chat` says is a part of this."""
    if body.count(b"[") + body.count(b"{") > _BRACKETS_FREE or b'"image_url"' in body or b"\\u" in body:
        return None
    if b'"stream":true' in body or b'"stream": true' in body or b'"tools"' in body:
        return None  # told before anything is decoded: the long way decodes it anyway
    try:
        fields, asked = _fields(body), _common_chat(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    if asked.stream or asked.stream_options is not None or asked.tools is not None:
        return None
    if asked.tool_choice is not None or (
        asked.max_tokens is not None and asked.max_completion_tokens is not None
    ):
        return None
    quoted_names, count = _QUOTED_NAMES, body.count
    for name in fields:
        quoted = quoted_names.get(name)
        if quoted is None or count(quoted) > 1:
            return None
    fields["model"] = _MODEL
    before, _, after = _encode(fields).partition(b'"model":null')
    limit = asked.max_tokens or asked.max_completion_tokens or 0
    return asked.model, limit, asked.n or 1, before + b'"model":', after


def _read(endpoint: Endpoint, body: bytes, request_id: str) -> ParsedRequest:
    fields = _fields(body)
    if len(body) <= PLAIN_BYTES_MAX:
        _refuse_repeats(body, fields)
    match endpoint:
        case "chat.completions":
            decode = _common_chat if fields.keys() <= COMMON_CHAT else _chat
            return _from_chat(decode(body), fields, request_id)
        case "completions":
            return _from_completion(_completion(body), fields, request_id)
        case "embeddings":
            asked = _embedding(body)
            if isinstance(asked.input, list) and len({type(item) for item in asked.input}) > 1:
                raise InvalidRequest("`input` mixes strings and tokens.", code="invalid_type", param="input")
            return ParsedRequest("embeddings", request_id, asked.model, False, False, fields)


def _from_chat(
    asked: ChatCompletion | CommonChat, fields: dict[str, msgspec.Raw], request_id: str
) -> ParsedRequest:
    if isinstance(asked, ChatCompletion) and asked.top_logprobs is not None and not asked.logprobs:
        raise InvalidRequest(
            "`top_logprobs` needs `logprobs` set to true.", code="invalid_value", param="top_logprobs"
        )
    if asked.tool_choice is not None and asked.tools is None and asked.tool_choice not in ("none", "auto"):
        raise InvalidRequest("`tool_choice` needs `tools`.", code="invalid_value", param="tool_choice")
    stream, include_usage = _stream(asked.stream, asked.stream_options)
    given = [limit for limit in (asked.max_tokens, asked.max_completion_tokens) if limit is not None]
    return ParsedRequest(
        "chat.completions",
        request_id,
        asked.model,
        stream,
        include_usage,
        fields,
        asked.n or 1,
        min(given) if given else None,
    )


def _from_completion(asked: Completion, fields: dict[str, msgspec.Raw], request_id: str) -> ParsedRequest:
    choices = max(asked.n or 1, asked.best_of or 1)
    prompt = asked.prompt
    if isinstance(prompt, list):
        if not prompt:
            raise InvalidRequest("`prompt` must not be an empty list.", code="invalid_value", param="prompt")
        kinds = {type(item) for item in prompt}
        if len(kinds) > 1:
            raise InvalidRequest("`prompt` mixes strings and tokens.", code="invalid_type", param="prompt")
        choices *= 1 if kinds == {int} else len(prompt)
    stream, include_usage = _stream(asked.stream, asked.stream_options)
    limit = asked.max_tokens
    return ParsedRequest(
        "completions", request_id, asked.model, stream, include_usage, fields, choices, limit
    )


def _stream(stream: bool | None, options: Any) -> tuple[bool, bool]:
    if options is not None and not stream:
        raise InvalidRequest(
            "`stream_options` is only allowed with `stream` set to true.",
            code="invalid_value",
            param="stream_options",
        )
    return bool(stream), options is not None and bool(options.include_usage)


def _too_deep(body: bytes) -> bool:
    """True if arrays and objects nest deeper than `DEPTH_MAX`. Works on any bytes, at C speed."""
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE)
    bare = _QUOTED.sub(b"", bare).replace(b'"', b"")
    for _ in range(DEPTH_MAX):
        shorter = bare.replace(b"[]", b"").replace(b"{}", b"")
        if not shorter:
            return False
        if len(shorter) == len(bare):
            return False  # unbalanced: the JSON parser will say so
        bare = shorter
    return True


def _refuse_repeats(body: bytes, fields: dict[str, msgspec.Raw]) -> None:
    for name in fields:
        quoted = _QUOTED_NAMES.get(name)
        if body.count(quoted if quoted is not None else b'"%b"' % name.encode()) > 1:
            json.loads(body, object_pairs_hook=_unique, parse_int=_shrug, parse_float=_shrug)
            return


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidRequest(f"The field `{name}` appears twice.", code="invalid_json", param=name)
        seen.add(name)


def _shrug(_text: str) -> int:
    return 0


def _explain(text: str) -> HubError:
    """msgspec's words as an OpenAI error."""
    at = _AT.search(text)
    path = at.group(1) if at else ""
    words = text[: at.start()] if at else text
    unknown = _UNKNOWN.fullmatch(words)
    if unknown:
        name = f"{path}.{unknown.group(1)}" if path else unknown.group(1)
        return InvalidRequest(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
    missing = _MISSING.fullmatch(words)
    if missing:
        name = f"{path}.{missing.group(1)}" if path else missing.group(1)
        return InvalidRequest(
            f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
        )
    code = "invalid_type" if ", got `" in words else "invalid_value"
    where = f" for '{path}'" if path else ""
    return InvalidRequest(
        f"Invalid value{where}: {words.replace('`', chr(39))}.", code=code, param=path or None
    )
