"""What `allowed-tools` means here: patterns of commands. They only ever narrow a run; a name that is not known gives nothing.

Known are our own commands and patterns (`task.create`, `task.*`), `Bash(hub task create:*)`, tools of our MCP server
(`mcp__tokenhub__task_create`), those of servers that the organisation added (`mcp__SERVER__TOOL`), and the tools that
agents commonly have, in any case of letters (`Read`, `Grep`, `Write`, `Bash(python:*)`).
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import NamedTuple

ALWAYS = ("skill.list", "skill.use", "skill.read")
"""To read on in skills is never taken away by one."""

_SCRIPTS = ("skill.run", "skill.result", "skill.cancel")
_READING = ("skill.read", "file.get", "file.show", "doc.show")
_LOOKING = ("work.search", "file.list", "doc.list")
_WRITING = ("file.put", "doc.create", "doc.edit")
_COMMON: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("read", "view", "cat", "notebookread"), _READING),
    **dict.fromkeys(("grep", "glob", "ls", "find", "search"), _LOOKING),
    **dict.fromkeys(("write", "edit", "multiedit", "notebookedit", "create", "apply_patch"), _WRITING),
    **dict.fromkeys(("bash", "shell", "exec", "code_execution", "python", "terminal"), _SCRIPTS),
    "skill": ("skill.use",),
}
_INTERPRETERS = frozenset({"python", "python3", "sh", "bash", "node", "perl", "ruby", "skill"})
_CALL = re.compile(r"([A-Za-z_][\w.-]*)(?:\((.*)\))?", re.DOTALL)
_PATTERN = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9*?._-]+|\*")


class Tools(NamedTuple):
    """What a skill asks for, in words of the hub."""

    patterns: tuple[str, ...]
    """Commands, and patterns of them, to which a run is narrowed."""
    unknown: tuple[str, ...]
    """As written; they give nothing."""


def mapped(asked: Sequence[str], commands: Iterable[str]) -> Tools:
    """The commands behind the names; `commands` are the names of all that the hub has."""
    names = list(commands)
    patterns: dict[str, None] = dict.fromkeys(ALWAYS)
    unknown: list[str] = []
    for one in asked:
        found = _one(one, names)
        if found:
            patterns.update(dict.fromkeys(found))
        else:
            unknown.append(one)
    return Tools(tuple(patterns), tuple(unknown))


def _one(asked: str, names: Sequence[str]) -> tuple[str, ...]:
    """Patterns for one name; empty = not known."""
    if _PATTERN.fullmatch(asked):
        return (asked,) if any(fnmatchcase(name, asked) for name in names) else ()
    if asked.startswith("mcp__"):
        return _mcp(asked, names)
    match = _CALL.fullmatch(asked)
    if match is None:
        return ()
    tool, inside = match[1].lower(), match[2]
    common = tuple(name for name in _COMMON.get(tool, ()) if name in names)
    if common and common[0] == _SCRIPTS[0] and inside is not None:
        return _shell(inside, names, common)
    return common


def _shell(line: str, names: Sequence[str], scripts: tuple[str, ...]) -> tuple[str, ...]:
    """`Bash(hub task create:*)` is a command of ours, `Bash(python:*)` a script; other programs are not run."""
    words = line.removesuffix(":*").removesuffix("*").split()
    if not words:
        return scripts
    program = PurePosixPath(words[0]).name
    if program == "hub":
        pattern = ".".join([*words[1:3], *["*"] * (3 - len(words))]) if len(words) > 1 else "*"
        return (pattern,) if any(fnmatchcase(name, pattern) for name in names) else ()
    own = "scripts/" in words[0] or words[0].startswith("./")
    return scripts if own or program in _INTERPRETERS else ()


def _mcp(asked: str, names: Sequence[str]) -> tuple[str, ...]:
    """`mcp__tokenhub__task_create` is `task.create`; `mcp__wiki__find` is what the server `wiki` offers as `find`."""
    _, server, *rest = asked.split("__", 2)
    tool = rest[0] if rest else "*"
    if server in ("tokenhub", "hub"):
        return tuple(name for name in names if fnmatchcase(_flat(name), _flat(tool)))
    return tuple(name for name in names if fnmatchcase(_flat(name), f"mcp-{_flat(server)}-{_flat(tool)}"))


def _flat(name: str) -> str:
    return re.sub(r"[._]", "-", name).lower()
