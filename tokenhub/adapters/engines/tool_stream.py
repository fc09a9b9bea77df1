"""Read, character by character, the JSON that a model writes under the tool grammar; tell what it means.

The grammar (see `tool_prompt`) allows exactly two shapes, keys in this order:

    {"content": <string, or the JSON of response_format>}
    {"tool_calls": [{"name": <string>, "arguments": <object>}, ...]}

`feed` takes the text as it comes, cut anywhere, and returns what it adds: `Text` (unescaped), `CallStart`,
`CallArguments` (raw JSON, to be joined). A text that ends early leaves what came so far.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """The model calls a function; its arguments follow."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the arguments' JSON."""

    index: int
    json: str


Piece = Text | CallStart | CallArguments
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PLAIN = re.compile(r'[^"\\]+')
_SPACE = " \t\r\n"


class StringReader:
    """Unescapes one JSON string whose opening quote has been read."""

    def __init__(self) -> None:
        self.done = False
        self._escape = ""
        self._high = ""

    def feed(self, text: str, at: int) -> tuple[str, int]:
        """(unescaped text, position behind what was read) of `text[at:]`."""
        out: list[str] = []
        while at < len(text) and not self.done:
            if self._escape:
                at = self._read_escape(text, at, out)
                continue
            plain = _PLAIN.match(text, at)
            if plain:
                self._flush_high(out)
                out.append(plain.group())
                at = plain.end()
            elif text[at] == '"':
                self._flush_high(out)
                self.done, at = True, at + 1
            else:
                self._escape, at = "\\", at + 1
        return "".join(out), at

    def _read_escape(self, text: str, at: int, out: list[str]) -> int:
        self._escape += text[at]
        kind = self._escape[1]
        if kind != "u":
            self._flush_high(out)
            out.append(_ESCAPES.get(kind, kind))
            self._escape = ""
        elif len(self._escape) == 6:
            self._add_unit(self._escape[2:], out)
            self._escape = ""
        return at + 1

    def _add_unit(self, digits: str, out: list[str]) -> None:
        try:
            code = int(digits, 16)
        except ValueError:
            code = 0xFFFD
        if 0xD800 <= code < 0xDC00:
            self._flush_high(out)
            self._high = chr(code)
        elif 0xDC00 <= code < 0xE000:
            pair = (self._high + chr(code)).encode("utf-16", "surrogatepass")
            out.append(pair.decode("utf-16", "replace") if self._high else "\ufffd")
            self._high = ""
        else:
            self._flush_high(out)
            out.append(chr(code))

    def _flush_high(self, out: list[str]) -> None:
        if self._high:
            out.append("\ufffd")  # a high surrogate alone is no character
            self._high = ""


class ValueReader:
    """Follows one JSON value to its end and keeps its text as written."""

    def __init__(self) -> None:
        self.done = False
        self._depth = 0
        self._in_string = self._escaped = self._begun = False

    def feed(self, text: str, at: int) -> tuple[str, int]:
        """(raw JSON, position behind what was read) of `text[at:]`."""
        start = at
        while at < len(text) and not self.done:
            char = text[at]
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif char == "\\":
                    self._escaped = True
                elif char == '"':
                    self._in_string = False
                    self.done = self._depth == 0
            elif char == '"':
                self._in_string = self._begun = True
            elif char in "{[":
                self._depth += 1
                self._begun = True
            elif char in "}]":
                if self._depth == 0:  # a bare number or word ended at the bracket around it
                    self.done = True
                    break
                self._depth -= 1
                self.done = self._depth == 0
            elif self._depth == 0 and self._begun and (char == "," or char in _SPACE):
                self.done = True
                break
            elif char not in _SPACE:
                self._begun = True
            at += 1
        return text[start:at], at


class ToolStream:
    """The whole answer of one choice."""

    def __init__(self, *, content_is_json: bool = False) -> None:
        self.calls = 0
        """Function calls begun."""
        self.complete = False
        """The JSON was closed."""
        self._content_is_json = content_is_json
        self._string: StringReader | None = None
        self._value: ValueReader | None = None
        self._field = ""
        self._name = ""
        self._depth = 0
        self._expect = "key"

    def feed(self, text: str) -> list[Piece]:
        """What `text` adds."""
        pieces: list[Piece] = []
        at = 0
        while at < len(text) and not self.complete:
            if self._string is not None:
                at = self._in_string(self._string, text, at, pieces)
            elif self._value is not None:
                at = self._in_value(self._value, text, at, pieces)
            else:
                self._between(text[at])
                at += 0 if self._value is not None else 1
        return pieces

    def _in_string(self, reader: StringReader, text: str, at: int, pieces: list[Piece]) -> int:
        got, at = reader.feed(text, at)
        if self._expect == "key":
            self._field += got
        elif self._field == "content":
            if got:
                pieces.append(Text(got))
        else:
            self._name += got
        if reader.done:
            self._string = None
            if self._expect == "key":
                self._expect = "colon"
            else:
                if self._field == "name":
                    pieces.append(CallStart(self.calls, self._name))
                    self.calls += 1
                self._expect = "key"
                self._field = ""
        return at

    def _in_value(self, reader: ValueReader, text: str, at: int, pieces: list[Piece]) -> int:
        got, at = reader.feed(text, at)
        if got:
            pieces.append(Text(got) if self._field == "content" else CallArguments(self.calls - 1, got))
        if reader.done:
            self._value = None
            self._expect, self._field = "key", ""
        return at

    def _between(self, char: str) -> None:
        """One character outside strings and values."""
        if char in _SPACE or char == ",":
            return
        if char == ":" and self._expect == "colon":
            self._expect = "value"
        elif self._expect == "value":
            self._begin_value(char)
        elif char == '"':
            self._string, self._field = StringReader(), ""
        elif char == "{":
            self._depth += 1
        elif char == "}":
            self._depth -= 1
            self.complete = self._depth <= 0

    def _begin_value(self, char: str) -> None:
        if self._field == "tool_calls":
            self._expect, self._field = "key", ""
        elif self._field == "arguments" or (self._field == "content" and self._content_is_json):
            self._value = ValueReader()
        elif char == '"':
            self._string = StringReader()
            if self._field == "name":
                self._name = ""
        else:
            self._value = ValueReader()
