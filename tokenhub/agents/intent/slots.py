"""What each argument of a command may be, given what a sentence names: the values that a model may choose from.

The kind of an argument is read from its schema and its description, as a person would: `Name or id of the person`
is a person, `Until when: a date` a day. Typed mentions go to the arguments that take them; what is left of the sentence
(quotations first, what follows a colon, then the rest without what was taken) are the candidates of free text. An
optional argument for which the sentence gives nothing is left out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from tokenhub.agents.intent.dates import Span
from tokenhub.agents.intent.kinds import RANK, Kind, kind_of, plain
from tokenhub.agents.intent.mentions import Mentions, says, words_of
from tokenhub.agents.intent.pieces import NAMED, Remains, is_word, touches, widened

Json = dict[str, Any]
_PLAINLY = 2
"""How much more an unused id or person speaks against a command than another thing that was named."""
CHOICES_MAX = 6
"""Most values offered for one argument."""
NAME_MAX = 60
"""Longest rest of a sentence that may be a name."""
_RENAMED = re.compile(
    r"(?:should be called|(?:rename|retitle)\b.*\bto)\s+([^\s,，。]+)|改名[为成]?\s*([^\s，。]+)",
    re.IGNORECASE,
)
_COMMENTS = (
    "comment",
    "reason",
    "text",
    "note",
    "memo",
    "match",
    "title",
    "body",
    "name",
    "content",
    "quote",
)
_PREFIXES = {"msg": "message", "dept": "department", "proj": "project", "svc": "service_account"}


@dataclass(frozen=True, slots=True)
class Slot:
    """One argument that is to be given."""

    name: str
    kind: Kind
    required: bool
    values: tuple[Any, ...]
    """What it may be, the likeliest first."""
    evidence: bool
    """False if the sentence gives nothing and the values are a last resort."""


@dataclass(slots=True)
class Reading:
    """A command seen with a sentence: its slots, and how well they explain each other."""

    slots: list[Slot] = field(default_factory=list[Slot])
    used: list[Span] = field(default_factory=list[Span])
    unused: int = 0
    """Things named that no argument takes; ids and people count twice."""
    given: int = 0
    """Optional arguments that the sentence gives."""
    missing: int = 0
    """Required arguments without evidence."""


def read(command: str, schema: Mapping[str, Any], mentions: Mentions) -> Reading:
    """The arguments of one command that a sentence gives. `schema`: its JSON schema, references inlined."""
    properties = cast(dict[str, Json], schema.get("properties", {}))
    required = set(cast(Sequence[str], schema.get("required", ())))
    reading = Reading()
    kinds: dict[str, Kind] = {
        name: kind_of(name, plain(rules), command=command) for name, rules in properties.items()
    }
    order = sorted(properties, key=lambda name: (RANK[kinds[name]], name not in required))
    slots: dict[str, Slot] = {}
    for name in order:
        seeker = _Seeker(
            command, name, kinds[name], plain(properties[name]), name in required, mentions, reading
        )
        slot = seeker.slot(properties[name])
        if slot is not None:
            slots[name] = slot
    reading.slots = [slots[name] for name in properties if name in slots]
    reading.given = sum(not slot.required for slot in reading.slots)
    reading.missing = sum(slot.required and not slot.evidence for slot in reading.slots)
    said = [*mentions.days, *mentions.lengths, *mentions.files, *mentions.quoted, *mentions.commands]
    said += [*mentions.numbers, *mentions.distinct, *mentions.paths, *mentions.scopes]
    said += [*mentions.emails, *mentions.addresses, *(_PLAINLY * (*mentions.ids, *mentions.people))]
    reading.unused = sum(not any(touches(span, used) for used in reading.used) for span in said)
    return reading


@dataclass(slots=True)
class _Seeker:
    """Looks for the values of one argument."""

    command: str
    name: str
    kind: Kind
    rules: Json
    required: bool
    mentions: Mentions
    reading: Reading

    def slot(self, declared: Mapping[str, Any]) -> Slot | None:
        """The slot, or None if the argument is to be left out."""
        if self.kind == "skip" or (not self.required and self._unsaid()):
            return None
        spans = self._spans()
        values = list(dict.fromkeys(span.value for span in spans))
        values = [value for value in map(self._typed, values) if value is not None and self._fits(value)]
        many = any(
            option.get("type") == "array"
            for option in (declared, *cast(list[Json], declared.get("anyOf", ())))
        )
        evidence = bool(values) and not (self.kind == "id" and not self._of_kind(spans))
        if not values:
            if not self.required:
                return None
            values = self._last_resort()
        if many:
            values = [values if self.kind in ("person", "command", "id") else values[:1]]
            self.reading.used += spans if evidence else []
        elif evidence:
            self.reading.used += [span for span in spans if self._typed(span.value) == values[0]][:1]
        return Slot(self.name, self.kind, self.required, tuple(values[:CHOICES_MAX]), evidence)

    def _spans(self) -> list[Span]:
        m = self.mentions
        match self.kind:
            case "id":
                return self._of_kind(self._remains.free(m.ids)) or (
                    self._remains.free(m.ids) if self.required else []
                )
            case "person":
                return self._people()
            case "day":
                return self._days()
            case "length":
                wants_periods = "`minute`" in str(self.rules.get("description"))
                return self._remains.free([*m.periods, *m.lengths] if wants_periods else m.lengths)
            case "amount" | "number":
                return self._numbers()
            case "scope":
                derived = [span._replace(value=f"user:{span.value}") for span in self._remains.free(m.people)]
                return [*self._remains.free(m.scopes), *derived]
            case "command":
                return list(m.commands)
            case "email":
                return list(m.emails)
            case "address":
                return list(m.addresses)
            case "choice" | "flag":
                return self._choices()
            case "thing":
                return self._things()
            case "name":
                return self._names()
            case "text":
                return self._texts()
            case _:
                return []

    @property
    def _remains(self) -> Remains:
        return Remains(self.command, self.mentions, self.reading.used)

    def _of_kind(self, ids: Sequence[Span]) -> list[Span]:
        """Ids whose prefix names this argument."""
        wanted = {self.name, self.command.partition(".")[0], self.name.removesuffix("_id")}
        prefixes = {"thread": "message", "request_id": "request", "files": "file"}
        wanted.add(prefixes.get(self.name, self.name))
        return [span for span in ids if _PREFIXES.get(p := span.value.partition("_")[0], p) in wanted or p in wanted or {"req": "request"}.get(p) in wanted]  # fmt: skip

    def _said(self) -> Span | None:
        """Where the sentence speaks of this argument."""
        words = words_of("FIELDS").get(self.name) or (self.name.replace("_", " "),)
        return says(self.mentions.text, words)

    def _unsaid(self) -> bool:
        """True for an argument that needs a word of its own which the sentence lacks."""
        return self.name in words_of("FIELDS") and self.kind != "choice" and self._said() is None

    def _people(self) -> list[Span]:
        people = self._remains.free(self.mentions.people)
        takes_me = "`me`" in str(self.rules.get("description")) and self.mentions.me is not None
        if people or not takes_me or self.mentions.me is None:
            return people
        if self.command.endswith((".list", ".create", ".add")) and self._me_is_meant():
            return [self.mentions.me]
        return []

    def _me_is_meant(self) -> bool:
        """`my`, `I have to`, `for myself`; not the `me` of `show me`, `give me`, 给我, 帮我."""
        return bool(
            re.search(
                r"\b(?:my|myself|mine)\b|\bfor me\b|\bdo i\b|\bi (?:have|need|must|should|still)\b|自己|我的|我还|我有|我要做|我手上",
                self.mentions.text,
                re.IGNORECASE,
            )
        )

    def _days(self) -> list[Span]:
        free = self._remains.free(self.mentions.days)
        text = self.mentions.text
        if self.name in ("until", "ends", "to", "end"):
            return [span for span in free if re.search(r"\b(?:until|till|to)\s+$|到\s*$", text[: span.start])]
        return [widened(span, text) for span in free]

    def _numbers(self) -> list[Span]:
        free = self._remains.free(self.mentions.numbers)
        said = self._said()
        if (self.kind == "amount" and self.required) or (self.kind == "amount" and self.name == "cap"):
            return free
        if said is None or not free:
            return []
        nearest = min(free, key=lambda span: min(abs(span.start - said.end), abs(said.start - span.end)))
        return [nearest]

    def _choices(self) -> list[Span]:
        text = self.mentions.text
        if self.kind == "flag":
            if self.name not in words_of("FIELDS"):
                return []
            said = self._said()
            return [] if said is None else [said._replace(value="true")]
        if self.name in words_of("FIELDS") and self._said() is None and not self.required:
            return []
        options = cast(list[str], self.rules.get("enum") or [self.rules.get("const", "")])
        if self.name == "role":
            options = ["owner", "admin", "viewer"]
        found: list[Span] = []
        for option in options:
            if not option:
                continue
            place = says(text, (option, *words_of("CHOICES").get(option, ())))
            if place is not None and option != self.rules.get("default"):
                found.append(place._replace(value=option))
        # The word of a noun counts where it stands alone: `by team`, not the `team` of `the team sailors`.
        return sorted(found, key=lambda span: -span.start) if self.name == "by" else sorted(found)

    def _things(self) -> list[Span]:
        m = self.mentions
        by_id = self._of_kind(self._remains.free(m.ids))
        if by_id:
            return by_id
        near = self._remains.beside(self.name)
        if self.name == "file":
            near = [*self._remains.free(m.files), *near]
        if self.name == "folder":
            near = [*near, *self._remains.free(m.paths)] if says(m.text, ("folder", "文件夹", "目录")) else []
        if not self.required:
            return near if self.name != "match" else self._texts()
        quoted = self._remains.free(m.quoted)
        near_quotes = [span for span in quoted if any(span.start == other.start for other in near)]
        looks = self._remains.free([*m.paths, *m.distinct])
        rest = [
            span
            for span in self._remains.leftovers()
            if len(span.value) <= NAME_MAX
            and not is_word(span.value)
            and not any(touches(span, person) for person in m.people)
        ]
        return [*near_quotes, *quoted, *near, *looks, *self._remains.free(m.scopes), *rest]

    def _names(self) -> list[Span]:
        m = self.mentions
        said = [Span(match.start(1), match.end(1), match[1]) for match in NAMED.finditer(m.text)]
        if not self.required:
            return self._remains.free(said)
        return [
            *self._remains.free(m.quoted),
            *self._remains.free(said),
            *self._remains.colon(),
            *self._remains.beside(self.name),
            *self._remains.free(m.distinct),
            *self._remains.leftovers(),
        ]

    def _texts(self) -> list[Span]:
        quoted, colon = self._remains.free(self.mentions.quoted), self._remains.colon()
        if self.name == "quote" or (not self.required and self.name not in _COMMENTS):
            return []
        if not self.required:
            if self.name in ("name", "title") and not quoted:
                named = _RENAMED.search(self.mentions.text)
                return (
                    self._remains.free(
                        [Span(named.start(1 if named[1] else 2), named.end(), named[1] or named[2])]
                    )
                    if named
                    else []
                )
            return [*quoted, *(colon if self.name in ("comment", "reason", "text", "note") else [])]
        named = [*self.mentions.ids, *self.mentions.scopes, *self.mentions.commands]
        rest = [s for s in self._remains.leftovers() if not any(touches(s, one) for one in named)]
        return [*quoted, *colon, *rest]

    def _typed(self, value: Any) -> Any:
        """The value in the argument's type; None if it cannot be."""
        if self.kind == "flag":
            return True
        if self.kind == "number":
            digits = str(value).replace("k", "000").replace("M", "000000")
            if not re.fullmatch(r"\d+(\.\d+)?", digits):
                return None
            return int(float(digits)) if self.rules.get("type") == "integer" else float(digits)
        return value

    def _fits(self, value: Any) -> bool:
        """Within the bounds of its schema."""
        rules = self.rules
        if isinstance(value, str):
            if not rules.get("minLength", 0) <= len(value) <= rules.get("maxLength", 10**6):
                return False
            pattern = rules.get("pattern")
            return pattern is None or re.search(pattern, value) is not None
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = rules.get("minimum", float("-inf")), rules.get("maximum", float("inf"))
            return low <= value <= high
        return True

    def _last_resort(self) -> list[Any]:
        """For what must be given and is not said: whatever is left, then the sentence itself."""
        if self.kind in ("object",):
            return [{}]
        if self.kind == "choice":
            return list(cast(list[Any], self.rules.get("enum") or ["member"]))
        if self.kind == "flag":
            return [True, False]
        if self.kind == "number":
            return [self.rules.get("minimum", 1)]
        rest = [
            span.value
            for span in [*self.mentions.quoted, *self._remains.leftovers()]
            if self._fits(span.value)
        ]
        whole = self.mentions.text[: self.rules.get("maxLength", 200)]
        return list(dict.fromkeys([*rest, whole]))
