"""SKILL.md: YAML between two lines of `---`, then Markdown. Read strictly; every fault is one sentence.

Source: agentskills.io/specification (name, description, license, compatibility, metadata, allowed-tools). Keys that it
does not know (Claude's `model`, OpenClaw's `homepage`, …) are kept by name and have no effect.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import yaml

from tokenhub.work.skills.errors import BadSkill
from tokenhub.work.skills.hidden import first_hidden

DOCUMENT_MAX = 256 * 1024
HEAD_MAX = 16 * 1024
DEPTH_MAX = 8
NAME_MAX, DESCRIPTION_MAX, COMPATIBILITY_MAX, LICENSE_MAX = 64, 1024, 500, 500
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_KNOWN = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}


@dataclass(frozen=True, slots=True)
class Document:
    """What SKILL.md says."""

    name: str
    description: str
    license: str
    compatibility: str
    metadata: dict[str, Any]
    allowed_tools: tuple[str, ...] | None
    """As written, one by one; None = it says nothing of tools."""
    other: tuple[str, ...]
    """Keys that have no effect here."""
    body: str


def parse(content: bytes) -> Document:
    """The document. Raises: BadSkill naming what is wrong and where."""
    if len(content) > DOCUMENT_MAX:
        raise BadSkill(f"SKILL.md has {len(content)} bytes; it may have {DOCUMENT_MAX}.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSkill(f"SKILL.md is no UTF-8 text (at byte {error.start}).") from error
    found = first_hidden(text)
    if found is not None:
        raise BadSkill(f"SKILL.md hides a character ({found[1]}) in line {found[0]}; take it out.")
    head, body = _split(text.replace("\r\n", "\n"))
    fields = _fields(head)
    return Document(
        name=_name(fields),
        description=_text(fields, "description", most=DESCRIPTION_MAX, required=True),
        license=_text(fields, "license", most=LICENSE_MAX),
        compatibility=_text(fields, "compatibility", most=COMPATIBILITY_MAX),
        metadata=_metadata(fields),
        allowed_tools=_tools(fields),
        other=tuple(sorted(set(fields) - _KNOWN)),
        body=body.strip("\n"),
    )


def _split(text: str) -> tuple[str, str]:
    first, _, rest = text.partition("\n")
    if first.rstrip() != "---":
        raise BadSkill("SKILL.md has no frontmatter: its first line must be `---`.")
    lines = rest.split("\n")
    for number, line in enumerate(lines):
        if line.rstrip() == "---":
            head = "\n".join(lines[:number])
            if len(head) > HEAD_MAX:
                raise BadSkill(
                    f"The frontmatter of SKILL.md has {len(head)} characters; it may have {HEAD_MAX}."
                )
            return head, "\n".join(lines[number + 1 :])
    raise BadSkill("The frontmatter of SKILL.md has no end: a line `---` is missing.")


def _fields(head: str) -> dict[str, Any]:
    try:
        _check(cast(Iterator[Any], yaml.parse(head, Loader=yaml.BaseLoader)))  # pyright: ignore[reportUnknownMemberType]
        loaded: object = yaml.load(head, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 2}" if error.problem_mark else ""
        raise BadSkill(
            f"The frontmatter of SKILL.md is no YAML: {error.problem or error.context}{line}."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadSkill("The frontmatter of SKILL.md is no YAML.") from error
    if not isinstance(loaded, dict):
        raise BadSkill("The frontmatter of SKILL.md must be `key: value` lines.")
    fields = cast(dict[Any, Any], loaded)
    if not all(isinstance(key, str) for key in fields):
        raise BadSkill("A key in the frontmatter of SKILL.md is no text.")
    return cast(dict[str, Any], fields)


def _check(events: Iterator[Any]) -> None:
    """Refuse what can grow (aliases), act (tags), nest without end, or say a thing twice."""
    depth = 0
    keys: list[set[str] | None] = []
    is_key: list[bool] = []
    for event in events:
        line = event.start_mark.line + 2
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadSkill(
                f"The frontmatter of SKILL.md uses an anchor or alias in line {line}; write it out."
            )
        if getattr(event, "tag", None):
            raise BadSkill(f"The frontmatter of SKILL.md uses a tag ({event.tag}) in line {line}.")
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
            keys.pop()
            is_key.pop()
            continue
        if keys and keys[-1] is not None:
            if is_key[-1]:
                if not isinstance(event, yaml.ScalarEvent):
                    raise BadSkill(f"A key in the frontmatter of SKILL.md is no text (line {line}).")
                if event.value in keys[-1]:
                    raise BadSkill(
                        f"The frontmatter of SKILL.md has {event.value[:80]!r} twice (line {line})."
                    )
                keys[-1].add(event.value)
            is_key[-1] = not is_key[-1]
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise BadSkill(f"The frontmatter of SKILL.md is nested too deeply (line {line}).")
            keys.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
            is_key.append(True)


def _name(fields: dict[str, Any]) -> str:
    name = _text(fields, "name", most=NAME_MAX, required=True)
    if not _NAME.fullmatch(name):
        raise BadSkill(
            f"`name` is {name!r}: it must be lower-case letters, digits and single hyphens, such as `pdf-forms`."
        )
    return name


def _text(fields: dict[str, Any], key: str, *, most: int, required: bool = False) -> str:
    value = fields.get(key)
    if value is None:
        if required:
            raise BadSkill(f"The frontmatter of SKILL.md has no `{key}`.")
        return ""
    if not isinstance(value, str):
        raise BadSkill(
            f"`{key}` in SKILL.md must be a text, not a {'list' if isinstance(value, list) else 'mapping'}."
        )
    words = value.strip()
    if not words:
        raise BadSkill(f"`{key}` in SKILL.md is empty.")
    if len(words) > most:
        raise BadSkill(f"`{key}` in SKILL.md has {len(words)} characters; it may have {most}.")
    return words


def _metadata(fields: dict[str, Any]) -> dict[str, Any]:
    value = fields.get("metadata")
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise BadSkill("`metadata` in SKILL.md must be a mapping of keys to values.")
    return cast(dict[str, Any], value)


def _tools(fields: dict[str, Any]) -> tuple[str, ...] | None:
    value = fields.get("allowed-tools")
    if value is None:
        return None
    if isinstance(value, list):
        items = cast(list[Any], value)
        if not all(isinstance(item, str) for item in items):
            raise BadSkill("`allowed-tools` in SKILL.md must be a list of names.")
        return tuple(item.strip() for item in cast(list[str], items) if item.strip())
    if not isinstance(value, str):
        raise BadSkill("`allowed-tools` in SKILL.md must be names, parted by spaces, or a list of names.")
    return tuple(_words(value))


def _words(text: str) -> Iterator[str]:
    """Names parted by spaces or commas; what stands in brackets belongs to its name: `Bash(git add:*)`."""
    word, depth = "", 0
    for character in text:
        if depth == 0 and (character.isspace() or character == ","):
            if word:
                yield word
            word = ""
            continue
        depth += (character == "(") - (character == ")" and depth > 0)
        word += character
    if depth:
        raise BadSkill("`allowed-tools` in SKILL.md has a bracket that does not close.")
    if word:
        yield word
