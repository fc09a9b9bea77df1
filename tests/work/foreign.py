"""Things of another organisation, named in every argument of every command: told apart from things that are not there by
nothing at all."""

import random
import re
import string
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast, get_args

from tests.work.bad_input import Case, Faces, Json
from tests.work.world import SAMPLES, SUM, TEXT, World, skill_zip
from tokenhub.bootstrap.commands import registry
from tokenhub.commands.declare import Command
from tokenhub.commands.redaction import is_secret
from tokenhub.identity.keys import authenticate

_VOLATILE = re.compile(
    r"\b[a-z-]+_[0-9A-HJKMNP-TV-Z]{26}\b|\b[0-9a-f]{64}\b|sk-th-[\w-]*|token=[\w-]*|\b1[789]\d{11}\b"
    r"|\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\S*Z?\b"
)
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Thing(NamedTuple):
    """A thing that the caller may not see, and a name of the same form that nothing has."""

    kind: str
    real: str
    invented: str


def settle(world: World) -> list[Thing]:
    """Give the other organisation one of each kind; their ids and names."""
    ids: dict[str, str] = {}
    made = world.do(
        "eve", "key.create", name="evekey", user="eve", scopes=["admin", "work", "keys:write", "read"]
    )
    with world.database.read("hub") as connection:
        world.people["eve"] = authenticate(connection, made["key"])

    def do(kind: str, command: str, **raw: Any) -> None:
        answer = world.call("eve", command, **raw)
        assert answer.data is not None, (command, answer.error)
        ids[kind] = str(answer.data.get("id") or answer.data.get("gate"))
        if answer.audit_id is not None:
            ids["audit"] = answer.audit_id

    do("user", "user.create", name="mallory")
    do("team", "team.create", name="theirs")
    do("project", "project.create", name="secret-plan", team="theirs")
    do("service-account", "service-account.create", name="theirbot")
    do("department", "department.create", name="cellar", lead="mallory")
    do("agent", "agent.create", name="minion")
    do("grant", "grant.create", agent="minion", commands=["*"])
    do("key", "key.create", name="theirkey")
    do("task", "task.create", title="theirtask")
    do("channel", "channel.create", name="theirtalk", members=["mallory"])
    do("message", "message.send", text="words of theirs", channel="theirtalk")
    do("doc", "doc.create", title="theirdoc", content="words of theirs", everyone="read")
    do("file", "file.put", name="theirfile.txt", content_base64=TEXT, everyone="read")
    do("form", "form.create", name="theirform", fields={"a": "text"}, route=["mallory"])
    do("request", "request.create", form="theirform", values={"a": "b"})
    do("room", "room.create", name="theirroom", capacity=3)
    do("event", "event.create", title="theirevent", start="2027-03-01T10:00", room="theirroom")
    shown = world.call("eve", "skill.add", folder=skill_zip("theirskill", files={"scripts/sum.py": SUM}))
    assert shown.data is not None
    do("skill", "skill.allow", skill="theirskill", digest=shown.data["digest"])
    do("skill-run", "skill.run", skill="theirskill", script="scripts/sum.py")
    do("budget", "budget.create", scope="org", cap="1M", name="theirs-all")
    names = ["mallory", "theirs", "secret-plan", "theirbot", "cellar", "minion", "theirkey", "theirtalk", "theirdoc",
             "theirfile.txt", "theirform", "theirroom", "theirskill"]  # fmt: skip
    rng = random.Random(7)
    things = [Thing(kind, real, _invented(real, rng)) for kind, real in ids.items()]
    return [*things, *(Thing("name", name, _invented(name, rng)) for name in names)]


def _invented(real: str, rng: random.Random) -> str:
    """The same length and letters of the same kinds."""
    head, mark, tail = real.rpartition("_")
    if mark and len(tail) == 26:
        return f"{head}_{tail[:10]}{''.join(rng.choice(_LETTERS) for _ in tail[10:])}"
    return "".join(rng.choice(string.ascii_lowercase) if one.isalpha() else one for one in real)


@dataclass
class Told:
    """What was compared."""

    pairs: int = 0
    differences: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    """Answers that hold words of the other organisation."""


def compare(faces: Faces, things: list[Thing], *, seed: int, share: float = 1.0, by: str = "admin") -> Told:
    """Each thing in each argument that takes a text, beside an invented one: the answers must be the same."""
    rng = random.Random(seed)
    told = Told()
    for declared in registry():
        if declared.name not in SAMPLES:
            continue
        for argument, many in _texts(declared):
            for thing in things:
                near = thing.kind in (argument, argument.rstrip("s"), declared.resource, declared.noun)
                if not near and rng.random() > share:
                    continue
                answers = [_answer(faces, declared, argument, value, many, by) for value in thing[1:]]
                told.pairs += 1
                where = f"{declared.name} {argument} = {thing.real}"
                if answers[0] != answers[1]:
                    told.differences.append(f"{where}: {answers[0][:300]} / {answers[1][:300]}")
                if "words of theirs" in answers[0]:
                    told.words.append(where)
    return told


def _answer(faces: Faces, declared: Command, argument: str, value: str, many: bool, by: str) -> str:
    sample = cast(Json, faces.world.filled(SAMPLES[declared.name]))
    raw = {**sample, argument: [value] if many else value}
    answer = faces.door(Case(declared.name, argument, raw), by=by, dry_run=declared.effect != "read")
    if (
        declared.name == "policy.apply" and answer["data"]
    ):  # it tells of the trail, which the try itself makes longer
        answer["data"] = {**answer["data"], "checked": 0, "changed": 0, "examples": []}
    seen: dict[str, str] = {}
    text = (
        str({key: answer[key] for key in sorted(answer)})
        .replace(value, "#it")
        .replace(value.casefold(), "#it")
    )
    text = re.sub(
        r"\(byte \d+\)|Did you mean [^?]*\?|List all with [^.]*\.", "", text.replace(value.upper(), "#it")
    )

    def masked(found: re.Match[str]) -> str:
        is_id = "_" in found[0] and len(found[0].rpartition("_")[2]) == 26
        return seen.setdefault(found[0], f"#{len(seen)}") if is_id else "#"

    return _VOLATILE.sub(masked, text)


def _texts(declared: Command) -> list[tuple[str, bool]]:
    """Arguments that take a text, or a list of texts (True)."""
    found: list[tuple[str, bool]] = []
    for name, model_field in declared.arguments.model_fields.items():
        hint = model_field.annotation
        if is_secret(model_field):
            continue
        hints = {hint, *get_args(hint)}
        if str in hints and list[str] != hint:
            found.append((name, False))
        elif list[str] in hints:
            found.append((name, True))
    return found
