"""Where the value of a sink comes from, and whether that vouches for it; what a run has read of others.

A tainted run acts alone only where every sink's value is one of these, for the sink's own kind (decision 0017):

- given: the person vouched for it when they lent the grant (`user:ana`, an id, an address);
- said: the person's own request names it, whole, as a thing of this kind (`words.py`);
- looked up: it is the id of the one thing that the request names (by its whole name, or by words that only its name
  holds), found by a lookup that the request's own words chose; the address of the one person so named in a directory; or a field of the one thing so named, if the request
  names the field too (`the same participants as …`);
- made: the id of what the run itself has made.

A request that asks for nothing but an answer chooses nothing that is written. A write that aims at nobody, because it only makes something of the person's own, passes if it is the hub's own (undo
takes it back), or if the request speaks of such a thing and says what it is called.
Two things that are called the same vouch for neither.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, select

from tokenhub.commands import kinds
from tokenhub.commands.declare import Command
from tokenhub.commands.resources import Found, resolvable, resolve
from tokenhub.commands.tables import origins
from tokenhub.commands.words import Words, atoms_of, is_address, is_code, words_of
from tokenhub.db.upsert import insert_for
from tokenhub.identity.grants import Grant
from tokenhub.identity.types import Principal

LEARNT_MAX = 200
"""Most values that one answer adds."""
VALUE_MAX = 200
"""Longer texts are no name and no id."""
LISTED: frozenset[str] = frozenset(("user", "team", "department", "project", "service-account"))
"""Kinds whose names only administrators write."""
_REACHED = frozenset((kinds.USER, kinds.PLACE))
"""Kinds whose ids can be addresses."""
_PREFIXED = re.compile(r"[a-z-]+_\w+")
_TYPED = re.compile(r"([a-z][a-z-]*):(?!//)(.+)", re.DOTALL)
_CLOSED = re.compile(
    r"[-+]?\d[\d.,:/ T+-]*(?:Z|AM|PM|am|pm)?|\d{4}-\d\d-\d\d[T ]?[\d:.+Z-]*|[^\W\d_]{1,24}|[a-z-]{1,12}_[0-9a-z]{1,32}"
    r"|(?=[^\s]*\d)[0-9A-Za-z-]{1,40}|[\w+-]+(?:\.[\w+-]+)?@[\w-]+(?:\.[\w-]+){1,2}|"
)
"""Forms that have no room for a sentence: numbers, times, one word, ids, short addresses."""


class Chosen(NamedTuple):
    """One value of a sink and the kind of what it chooses."""

    kind: str
    value: str
    form: str = ""
    """`id` = asked for as an id, `mail` = as an address; else by any name."""


class _Origin(NamedTuple):
    kind: str
    value: str
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class _Record:
    """A thing in an answer."""

    id: str
    name: str
    fields: Mapping[str, Any]


def vouched(
    connection: Connection,
    principal: Principal,
    command: Command,
    raw: Mapping[str, Any],
    *,
    found: Found,
    lent: Sequence[Grant],
) -> bool:
    """True if every sink's value comes, whole and as its kind, from the person or from what they chose.

    For a write that aims at nothing, `Command.own` decides.
    """
    if not lent:
        return True
    aims = chosen(command, raw)
    words = words_of(request_of(lent))
    if not aims:
        named = all(words.mentions(str(raw[name])) for name in raw if kinds.is_name(name))
        asked = command.own == "asked" and words.wants_change() and words.speaks_of(command.records)
        return (asked and named) or command.own == "yes" or command.effect != "write"
    given = lent[0].vouched
    origin = _Origins(connection, principal, lent)
    asked = command.effect == "read" or words.wants_change()
    resource = raw.get(command.resource_argument) if command.resource else None
    for aim in aims:
        thing = found if aim.value == resource and aim.kind == command.resource else None
        if thing is None and resolvable(aim.kind):
            thing = resolve(connection, principal, aim.kind, aim.value)
        if _given(aim, thing, given) or (asked and (_said(aim, thing, words, origin) or origin.vouches(aim))):
            continue
        return False
    return True


def chosen(command: Command, raw: Mapping[str, Any]) -> list[Chosen]:
    """Every value of every sink, with its kind; what is empty or false chooses nothing."""
    found: list[Chosen] = []
    for sink in command.sinks:
        kind = command.kind_of(sink)
        found += [
            Chosen(inner or kind, value, kinds.form_of(sink))
            for inner, value in _leaves(raw.get(sink), "")
            if value not in ("", "False") and not (kind == kinds.RIGHT and kinds.is_least_right(value))
        ]
    return found


def request_of(lent: Sequence[Grant]) -> str:
    """What the person asked for, in their own words; empty if that was not kept."""
    return next((grant.request for grant in lent if grant.request), "")


def learn(
    connection: Connection,
    command: Command,
    raw: Mapping[str, Any],
    answer: Any,
    *,
    lent: Sequence[Grant],
    at_ms: int,
) -> None:
    """Keep which values of an answer the person's request chose, and the id of what was made."""
    if not lent:
        return
    rows: list[dict[str, str]] = []
    if command.effect != "read":
        made = next(_records(answer), None) if command.makes else None
        if made is not None and made.id:
            rows += [_row(kind, made.id, "", "") for kind in command.records]
    else:
        words = words_of(request_of(lent))
        if words.units and _asked_for(command, raw, words) and not _cut(answer):
            told = list(_records(answer))
            for record in told:
                rows += _named(command, record, words)
            if not rows:
                rows = _sought(command, raw, told, words)
    kept = {"grant_id": lent[0].id, "command": command.name, "at_ms": at_ms}
    for row in rows[:LEARNT_MAX]:
        connection.execute(insert_for(connection, origins).values(**row, **kept).on_conflict_do_nothing())


def foreign(raw: Mapping[str, Any], answer: Any, *, lent: Sequence[Grant]) -> bool:
    """True if an answer holds text that others may have written: not only numbers, times, ids, or what was asked."""
    own = set(_texts(raw))
    words = words_of(request_of(lent))
    return any(
        value not in own and _CLOSED.fullmatch(value) is None and not words.mentions(value)
        for value in _texts(answer)
    )


def _given(aim: Chosen, thing: Found | None, given: Iterable[str]) -> bool:
    aliases = {aim.value} if thing is None else {aim.value, thing.id, thing.name} - {""}
    for entry in given:
        typed = _TYPED.fullmatch(entry)
        if typed is not None:
            if typed[1] == aim.kind and typed[2] in aliases:
                return True
        elif entry in aliases and (is_address(entry) or _PREFIXED.fullmatch(entry) or not _known(aim, thing)):
            return True
    return False


def _known(aim: Chosen, thing: Found | None) -> bool:
    """True if a thing is called so."""
    return thing is not None and (thing.id != aim.value or bool(thing.name))


def _said(aim: Chosen, thing: Found | None, words: Words, origin: "_Origins") -> bool:
    """True if the request names it; a name that belongs to something of another kind only beside its own kind."""
    if not words.units:
        return False
    called = thing.name if thing is not None and thing.name else aim.value
    if words.cued(called, (aim.kind,)):
        return True
    if thing is not None and thing.name:
        listed = aim.kind in LISTED
        return words.name(called, (aim.kind,), listed=listed) and (
            listed or not origin.elsewhere(aim.kind, called)
        )
    if aim.form == "mail" and "@" not in aim.value:
        return False
    if aim.form == "id" and not is_code(aim.value) and not (is_address(aim.value) and aim.kind in _REACHED):
        return False
    return words.name(aim.value, (aim.kind,)) and not origin.elsewhere(aim.kind, aim.value)


class _Origins:
    """What lookups of this run vouch for, read when first asked."""

    def __init__(self, connection: Connection, principal: Principal, lent: Sequence[Grant]) -> None:
        self._connection, self._principal, self._lent = connection, principal, lent

    @cached_property
    def _rows(self) -> list[_Origin]:
        mine = origins.c.grant_id.in_([grant.id for grant in self._lent])
        query = select(origins.c.kind, origins.c.value, origins.c.name, origins.c.source).where(mine)
        return [_Origin(*row) for row in self._connection.execute(query)]

    def vouches(self, aim: Chosen) -> bool:
        """True if a lookup found exactly this; a name that two things bear vouches for neither."""
        return any(
            not row.name or all(row.source == one.source for one in self._bearers(row.kind, row.name))
            for row in self._rows
            if (row.kind, row.value) == (aim.kind, aim.value)
        )

    def elsewhere(self, kind: str, name: str) -> bool:
        """True if a person, a team or what a lookup found is called so, and nothing of this kind that was found."""
        wanted = " ".join(atoms_of(name))
        others = {row.kind for row in self._rows if row.name == wanted}
        if others:
            return kind not in others
        if kind in LISTED or not wanted:
            return False
        found = (
            resolve(self._connection, self._principal, one, name) for one in sorted(LISTED) if resolvable(one)
        )
        return any(thing.name == name for thing in found)

    def _bearers(self, kind: str, name: str) -> list[_Origin]:
        return [row for row in self._rows if (row.kind, row.name) == (kind, name)]


def _asked_for(command: Command, raw: Mapping[str, Any], words: Words) -> bool:
    """True if the person's words chose what was looked up: nothing else narrows it."""
    for name, value in raw.items():
        field = command.arguments.model_fields.get(name)
        if field is not None and value == field.default:
            continue
        if any(not words.mentions(text) for text in _scalars(value) if text):
            return False
    return True


def _cut(answer: Any) -> bool:
    """True if there is more than was told: then nothing in it is the only one."""
    return isinstance(answer, dict) and bool(cast(dict[str, Any], answer).get("next_cursor"))


def _named(command: Command, record: _Record, words: Words) -> list[dict[str, str]]:
    """What a record vouches for, if the request names it."""
    found: list[dict[str, str]] = []
    name = " ".join(atoms_of(record.name))
    if not name:
        return found
    directory = kinds.USER in command.records
    for kind in command.records:
        called = words.name(record.name, (kind,), listed=False) or words.calls(record.name, (kind,))
        if called and record.id:
            found.append(_row(kind, record.id, name, record.id))
    if directory and words.name(record.name, (kinds.USER,)):
        source = record.id or _first_address(record)
        found += [
            _row(kinds.USER, value, name, source)
            for field, held in record.fields.items()
            for _, value in _leaves(held, "")
            if is_address(value) or kinds.is_id(field)
        ]
    if found and not directory:
        for field, held in record.fields.items():
            kind = kinds.kind_word(field)
            if kind and words.says(kinds.singular(field)) and not kinds.is_name(field):
                found += [
                    _row(kind, value, f"{name} / {field}", record.id)
                    for _, value in _leaves(held, "")
                    if value and len(value) <= VALUE_MAX
                ]
    return found


def _sought(
    command: Command, raw: Mapping[str, Any], told: Sequence[_Record], words: Words
) -> list[dict[str, str]]:
    """The one thing whose name holds, whole, what the request calls it: `grocery list` → grocery-list-today."""
    found: list[dict[str, str]] = []
    for text in _scalars(list(raw.values())):
        named = [kind for kind in command.records if words.name(text, (kind,))]
        sought = atoms_of(text)
        bearers = [one for one in told if one.id and _holds(atoms_of(one.name), sought)]
        if len(bearers) == 1:
            found += [_row(kind, bearers[0].id, f"~ {' '.join(sought)}", bearers[0].id) for kind in named]
    return found


def _holds(atoms: Sequence[str], sought: Sequence[str]) -> bool:
    places = range(len(atoms) - len(sought) + 1) if sought else range(0)
    return any(tuple(atoms[place : place + len(sought)]) == tuple(sought) for place in places)


def _first_address(record: _Record) -> str:
    texts = (value for held in record.fields.values() for _, value in _leaves(held, ""))
    return next((value for value in texts if is_address(value)), "")


def _records(answer: Any) -> Iterator[_Record]:
    """Every thing in an answer that has an id or an address, outermost first."""
    if isinstance(answer, list):
        for item in cast(list[Any], answer):
            yield from _records(item)
    elif isinstance(answer, dict):
        fields = {str(key): value for key, value in cast(dict[Any, Any], answer).items()}
        ids = [value for key, value in fields.items() if kinds.is_id(key) and isinstance(value, str | int)]
        names = [value for key, value in fields.items() if kinds.is_name(key) and isinstance(value, str)]
        record = _Record(str(ids[0]) if ids else "", names[0][:VALUE_MAX] if names else "", fields)
        if record.id or (record.name and _first_address(record)):
            yield record
        for value in fields.values():
            if isinstance(value, dict | list):
                yield from _records(value)


def _leaves(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """(kind by the key within an object, or empty; the value as text)."""
    if isinstance(value, dict):
        for name, item in cast(dict[Any, Any], value).items():
            if kinds.is_sink(str(name), _shape(item), fresh=False):
                yield from _leaves(item, kinds.kind_of(str(name)))
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            yield from _leaves(item, key)
    elif value is not None:
        yield key, str(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in cast(dict[Any, Any], value).items():
            if " " in str(name):
                yield str(name)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(cast(dict[Any, Any], value).values())
    if isinstance(value, list):
        for item in cast(list[Any], value):
            yield from _scalars(item)
    elif value is not None:
        yield str(value)


def _shape(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case None:
            return "null"
        case _:
            return "object"


def _row(kind: str, value: str, name: str, source: str) -> dict[str, str]:
    return {"kind": kind, "value": value, "name": name[:VALUE_MAX], "source": source[:VALUE_MAX]}
