"""Pieces of a sentence: what stands beside a noun, after a colon, and between the things that were taken."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenhub.agents.intent.dates import Span
from tokenhub.agents.intent.mentions import Mentions, is_form, matcher, words_of

_HEAD = re.compile(
    r"^[\s,.!?，。！？、:：;；]*(?:(?:that|to|saying|says|say|please|should|must|needs? to|has to|ought to|kindly|and|so|for|"
    r"about|know|with|because|called|named|titled|is|as)\b[\s,]*)*",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?:[\s,.!?，。！？、:：;；]|\b(?:by|before|until|till|on|at|for|from|in|to|with|and|the|of|due|deadline|under|now)\b)*$|"
    r"[之以]?前(?:完成|做完|要做完)?$|(?:吧|呢|啊|一下)$",
    re.IGNORECASE,
)
_BEFORE_DAY = re.compile(
    r"(?:\b(?:by|before|until|till|on|for|due|from|since|deadline|is|at)\s+|[，,]\s*)+$", re.IGNORECASE
)
_AFTER_DAY = re.compile(r"^\s*(?:[之以]?前)?(?:要)?(?:完成|做完)?")
NAMED = re.compile(
    r"(?:\b(?:called|named|titled|entitled|name it|call it|user name|name|named as)\s+|(?:叫做?|名为|名字叫|名称[是为]?|标题[是为]?|题为))"
    r"[\s:：]*([^\s,，。.:：;；\"“”]+)",
    re.IGNORECASE,
)
_STOP_CHINESE = re.compile(r"[里中的下上，。：；、？！\s“”「」\"']|改|加|删|给|有|是|和|吗")


@dataclass(frozen=True, slots=True)
class Remains:
    """A sentence read for one command, less what its arguments have taken."""

    command: str
    mentions: Mentions
    used: Sequence[Span]

    def colon(self) -> list[Span]:
        """What follows the first colon that belongs to no typed mention, without what other arguments took."""
        text = self.mentions.text
        for match in re.finditer(r":\s|：", text):
            tail = Span(match.end(), len(text), text[match.end() :])
            return [span for span in self._pieces(tail) if span.value]
        return []

    def leftovers(self) -> list[Span]:
        text = self.mentions.text
        pieces = self._pieces(Span(0, len(text), text))
        return sorted(pieces, key=lambda span: -(span.end - span.start))

    def _pieces(self, within: Span) -> list[Span]:
        """The sentence between what was taken, without the words that only lead to it."""
        m = self.mentions
        cuts = [*self.used, *(widened(day, m.text) for day in m.days), *m.quoted]
        edges = sorted((span.start, span.end) for span in cuts if span.end > within.start)
        found: list[Span] = []
        start = within.start
        for left, right in [*edges, (within.end, within.end)]:
            if left > start:
                found += self._trimmed(start, min(left, within.end))
            start = max(start, right)
        return found

    def _trimmed(self, start: int, end: int) -> list[Span]:
        text = self.mentions.text
        found: list[Span] = []
        for match in re.finditer(r"[^,，。;；\x01]+", text[start:end]):
            left, right = start + match.start(), start + match.end()
            left += self._lead(text[left:right])
            head = _HEAD.match(text[left:right])
            left += head.end() if head else 0
            while (tail := _TAIL.search(text[left:right])) is not None and tail.start() < right - left:
                right = left + tail.start()
            value = text[left:right].strip()
            if value and not is_plain(value) and not is_form(value):
                found.append(Span(left, right, value))
        return found

    def _lead(self, piece: str) -> int:
        """Length of the words at the beginning that name the command rather than its content."""
        noun, _, verb = self.command.partition(".")
        end = 0
        for words, before in (
            (words_of("NOUNS").get(noun, (noun,)), 5),
            (words_of("VERBS").get(verb, (verb,)), 1),
        ):
            for match in matcher(words).finditer(piece):
                near = len(piece[: match.start()].split()) <= before
                if near and end < match.end() < len(piece.rstrip()):
                    end = match.end()
        return end

    def beside(self, argument: str) -> list[Span]:
        """`channel orbit`, `the orbit channel`, 频道行政通知: what stands beside the word for the thing."""
        noun = argument.replace("_", "-")
        noun = {"name": self.command.partition(".")[0], "sku": "model", "parent": "department"}.get(
            noun, noun
        )
        noun = "deploy" if self.command.startswith("deploy.") and argument == "name" else noun
        words = words_of("NOUNS").get(noun, (noun,))
        text, found = self.mentions.text, list[Span]()
        for match in matcher(words).finditer(text):
            found += _after_word(text, match.end(), chinese=not match[0].isascii())
            if match[0].isascii():
                found += _before_word(text, match.start())
        return [
            span
            for span in dict.fromkeys(self.free(found))
            if not any(touches(span, person) for person in self.mentions.people)
            and not is_plain(span.value)
            and span.value.lower() not in words
        ]

    def free(self, spans: Sequence[Span]) -> list[Span]:
        """Those that no argument has taken."""
        return [span for span in spans if not any(touches(span, used) for used in self.used)]


def _after_word(text: str, end: int, *, chinese: bool) -> list[Span]:
    match = re.match(
        r"\s*(?:is |called |named |of )?[“\"「『《']?([^\s,，。:：;；?？!！“”\"」』》\x01]+)", text[end:]
    )
    if match is None:
        return []
    found = [Span(end + match.start(1), end + match.end(1), match[1].rstrip("."))]
    if chinese or not match[1].isascii():
        cut = _STOP_CHINESE.search(match[1])
        if cut is not None and cut.start() > 0:
            found.insert(
                0, Span(end + match.start(1), end + match.start(1) + cut.start(), match[1][: cut.start()])
            )
    return found


def _before_word(text: str, start: int) -> list[Span]:
    match = re.search(r"(?:^|\s)([^\s,，。:：;；?？!！“”\"]+)\s+$", text[:start])
    return [Span(match.start(1), match.end(1), match[1])] if match else []


_PLAIN_WORDS = """
the a an my our your all every each any new this that these those in into to of for on with and or what which who is are
can could now right it its me us i you they be called named by from please give let
"""
_PLAIN = frozenset(_PLAIN_WORDS.split())


def is_plain(value: str) -> bool:
    return all(word.lower() in _PLAIN for word in value.split())


def is_word(value: str) -> bool:
    """A noun of the catalogue, which names no thing of its own."""
    return any(value.lower() in words for words in words_of("NOUNS").values())


def widened(span: Span, text: str) -> Span:
    before = _BEFORE_DAY.search(text[: span.start])
    after = _AFTER_DAY.match(text[span.end :])
    return Span(
        before.start() if before else span.start, span.end + (after.end() if after else 0), span.value
    )


def touches(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end
