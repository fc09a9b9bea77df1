"""What an administrator should see before they allow a skill: found by reading, never by running.

A note is no verdict: a skill without notes may still be a bad one. What bounds it is the sandbox and the grant.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokenhub.work.skills.bundle import Bundle
from tokenhub.work.skills.hidden import count_hidden
from tokenhub.work.skills.tools import mapped

_URL = re.compile(r"\bhttps?://[^\s<>\"')\]}]{1,200}", re.IGNORECASE)
_SCRIPT_ENDS = (
    ".py",
    ".sh",
    ".bash",
    ".js",
    ".mjs",
    ".ts",
    ".pl",
    ".rb",
    ".ps1",
    ".bat",
    ".cmd",
    ".exe",
    ".dll",
    ".so",
    ".jar",
)
_SHOWN_MAX = 50
_COMMENT = re.compile(r"<!--(.{1,4000}?)-->", re.DOTALL)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{200,}={0,2}")
_WORDS: Mapping[str, re.Pattern[str]] = {
    "asks to pass over earlier instructions": re.compile(
        r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:previous|prior|above|all|system)\b[^.\n]{0,20}"
        r"\b(?:instruction|rule|prompt)",
        re.IGNORECASE,
    ),
    "asks to keep something from the person": re.compile(
        r"\b(?:do not|don't|never|without)\b[^.\n]{0,20}\b(?:tell|telling|inform|mention|show|ask)\b[^.\n]{0,20}"
        r"\b(?:user|person|human|them)\b",
        re.IGNORECASE,
    ),
    "pipes a download into a shell": re.compile(
        r"\b(?:curl|wget)\b[^\n|]{0,200}\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b"
    ),
    "speaks of passwords, keys or tokens": re.compile(
        r"\b(?:api[ _-]?keys?|passwords?|secrets?|credentials|private keys?|\.env\b|id_rsa|authorized_keys)",
        re.IGNORECASE,
    ),
    "runs what it puts together (eval, exec, base64 -d)": re.compile(
        r"\beval\s*\(|\bexec\s*\(|base64\s+(?:-d|--decode)\b|\bb64decode\b|\bfromCharCode\b"
    ),
    "asks for the network": re.compile(
        r"\b(?:import (?:requests|urllib|socket|httpx|aiohttp)|from (?:urllib|socket|requests)|curl |wget |fetch\()"
    ),
    "reads the environment or the home folder": re.compile(
        r"\bos\.environ|\bgetenv\b|process\.env|~/\.(?:ssh|aws|config)"
    ),
}


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    scripts: tuple[str, ...]
    binaries: tuple[str, ...]
    """Files that are no UTF-8 text."""
    urls: tuple[str, ...]
    commands: tuple[str, ...] | None
    """Commands to which it narrows a run; None = it says nothing of tools, so the grant alone bounds it."""
    unknown_tools: tuple[str, ...]
    ignored: tuple[str, ...]
    """Keys of its frontmatter that have no effect here."""
    notes: tuple[str, ...]
    """`path: what`."""


def scan(bundle: Bundle, commands: Iterable[str]) -> Report:
    """Read every file once."""
    scripts: list[str] = []
    binaries: list[str] = []
    urls: dict[str, None] = {}
    notes: list[str] = []
    for path, data in sorted(bundle.files.items()):
        if path.lower().endswith(_SCRIPT_ENDS) or data.startswith((b"#!", b"\x7fELF", b"MZ")):
            scripts.append(path)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            binaries.append(path)
            continue
        urls.update(dict.fromkeys(_URL.findall(text)))
        notes += [f"{path}: {what}" for what in _notes(text)]
    document = bundle.document
    tools = None if document.allowed_tools is None else mapped(document.allowed_tools, commands)
    notes += [f"SKILL.md: `{key}` asks for something to be run; nothing is" for key in _acting(bundle)]
    return Report(
        scripts=tuple(scripts[:_SHOWN_MAX]),
        binaries=tuple(binaries[:_SHOWN_MAX]),
        urls=tuple(urls)[:_SHOWN_MAX],
        commands=None if tools is None else tools.patterns,
        unknown_tools=() if tools is None else tools.unknown,
        ignored=document.other,
        notes=tuple(notes[: _SHOWN_MAX * 2]),
    )


def _notes(text: str) -> list[str]:
    found = [what for what, pattern in _WORDS.items() if pattern.search(text)]
    hidden = count_hidden(text)
    if hidden:
        found.append(f"{hidden} characters that do not show")
    if _COMMENT.search(text):
        found.append("a comment that a rendered page does not show")
    if _BASE64.search(text):
        found.append("a long piece of encoded data")
    return found


def _acting(bundle: Bundle) -> list[str]:
    """Keys by which other programs run something when a skill is installed or used."""
    document = bundle.document
    keys = [
        key for key in document.other if key in ("hooks", "install", "command", "mcp-servers", "mcpServers")
    ]
    for vendor in ("openclaw", "clawdbot", "clawdis"):
        inner = document.metadata.get(vendor)
        if isinstance(inner, dict) and "install" in inner:
            keys.append(f"metadata.{vendor}.install")
    return keys
