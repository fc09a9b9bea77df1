"""Every error code that the source can send, found in the source itself."""

import ast
import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenhub.kernel import errors

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A class of the error tree."""

    name: str
    status: int
    code: str
    retryable: bool
    words: str


@dataclass(frozen=True, slots=True, order=True)
class ErrorCode:
    """One code as callers see it."""

    code: str
    status: int
    retryable: bool
    words: str
    """A class's first sentence, or the message as the source writes it."""


def error_codes() -> list[ErrorCode]:
    """One entry a code and status, in alphabetical order."""
    trees = [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(PACKAGE.rglob("*.py"))]
    kinds = _kinds([tree for _, tree in trees])
    found = {(kind.code, kind.status): _documented(kind) for kind in kinds.values()}
    for _, tree in trees:
        for raised in _raised(tree, kinds):
            found.setdefault((raised.code, raised.status), raised)
    return sorted(found.values())


def _documented(kind: _Kind) -> ErrorCode:
    return ErrorCode(kind.code, kind.status, kind.retryable, kind.words)


def _kinds(trees: list[ast.Module]) -> dict[str, _Kind]:
    """The classes of the tree, those of `kernel.errors` and the leaves of the packages."""
    root = errors.HubError
    known = {"HubError": _Kind("HubError", root.status, root.code, root.retryable, _sentence(root.__doc__))}
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    grew = True
    while grew:
        grew = False
        for node in classes:
            bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in known]
            if node.name not in known and bases:
                known[node.name] = _leaf(node, known[bases[0]])
                grew = True
    return known


def _leaf(node: ast.ClassDef, parent: _Kind) -> _Kind:
    own: dict[str, object] = {}
    for statement in node.body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        if isinstance(targets[0], ast.Name) and isinstance(statement.value, ast.Constant):
            own[targets[0].id] = statement.value.value
    return _Kind(
        node.name,
        int(str(own.get("status", parent.status))),
        str(own.get("code", parent.code)),
        bool(own.get("retryable", parent.retryable)),
        _sentence(ast.get_docstring(node)) or parent.words,
    )


def _raised(tree: ast.Module, kinds: dict[str, _Kind]) -> Iterator[ErrorCode]:
    """Calls of an error class with a `code=` of their own."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == "failure":  # of the command line: code, message, status=
            yield from _of_the_cli(node)
        if node.func.id not in kinds:
            continue
        kind = kinds[node.func.id]
        for keyword in node.keywords:
            if keyword.arg == "code":
                for code in _texts(keyword.value):
                    retryable = kind.retryable and code != "insufficient_quota"
                    yield ErrorCode(code, kind.status, retryable, _message(node) or kind.words)


def _of_the_cli(call: ast.Call) -> Iterator[ErrorCode]:
    status = [keyword.value for keyword in call.keywords if keyword.arg == "status"]
    if status and isinstance(status[0], ast.Constant):
        for code in _texts(call.args[0]):
            yield ErrorCode(code, int(str(status[0].value)), False, f"Command line only: {_CLI_WORDS[code]}")


_CLI_WORDS = {
    "connection_lost": "the connection broke while reading.",
    "no_hub": "no hub answers at its address.",
    "outcome_unknown": "the connection broke in a write; asking again with the same idempotency key is safe.",
}


def _texts(node: ast.expr) -> list[str]:
    """The string constants that an expression can give."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    return []


def _message(call: ast.Call) -> str:
    """The first argument as written, values as `…`."""
    if not call.args:
        return ""
    first = call.args[0]
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return html.escape(first.value, quote=False)
    if isinstance(first, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in first.values]
        text = "".join(parts)
        return html.escape(text, quote=False) if any(character.isalpha() for character in text) else ""
    return ""


def _sentence(text: str | None) -> str:
    first = " ".join((text or "").split("\n\n")[0].split())
    head, _, tail = first.partition(": ")
    said = tail if head.isdigit() else first
    return html.escape(said[:1].upper() + said[1:], quote=False)
