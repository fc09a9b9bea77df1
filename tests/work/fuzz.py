"""Random principals, grants, policies, commands and things, put to the door's admission and to the reference model.

python -m tests.work.fuzz [CASES] [SEED]
"""

import json
import random
import re
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from tests.work import reference
from tests.work.reference import Aim, Lent, Person, Rule, Thing
from tokenhub.bootstrap.commands import registry
from tokenhub.commands import Context, Envelope
from tokenhub.commands.admission import Call, GrantEnded, Stopped, admit
from tokenhub.commands.authority import authority_of
from tokenhub.commands.door import Runtime, execute
from tokenhub.config import Settings
from tokenhub.db import revision
from tokenhub.db.engine import Database, Name
from tokenhub.db.migrate import migrate
from tokenhub.identity import policies
from tokenhub.identity.scopes import SCOPES
from tokenhub.identity.tables import (
    agents,
    department_members,
    departments,
    grants,
    organizations,
    stops,
    teams,
    users,
)
from tokenhub.identity.types import Principal

NOW = 1_800_000_000_000
ORGS = ("org_a", "org_b")
KINDS = {
    "user": "User",
    "team": "Team",
    "department": "Department",
    "task": "Task",
    "doc": "Doc",
    "project": "Project",
}


@dataclass
class Found:
    """What a run found."""

    cases: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)
    exceeded: int = 0
    """Agents that were allowed what their person was not."""
    leaks: list[str] = field(default_factory=list)
    reads: int = 0

    @property
    def holds(self) -> bool:
        return not self.disagreements and not self.exceeded and not self.leaks


class Fuzz:
    """Two organisations of twelve people, their things, and as many grants."""

    def __init__(self, database: Database, settings: Settings, seed: int) -> None:
        self.random = random.Random(seed)
        self.database, self.runtime = database, Runtime(database, settings)
        self.people: list[Person] = []
        self.lent: list[tuple[Person, Lent]] = []
        self.things: list[Thing] = []
        self.talks: dict[frozenset[str], str] = {}
        """The direct talk of two people."""
        self.found = Found()
        self.sent: dict[str, set[str]] = {org: set() for org in ORGS}
        with database.write("hub") as connection:
            for org in ORGS:
                connection.execute(insert(organizations).values(id=org, name=org, created_at_ms=1))
                self._people(connection, org)
        for person in self.people:
            self._work(person)
        with database.write("hub") as connection:
            for number in range(80):
                self._lend(connection, number)
            revision.bump_authority(connection)

    def run(self, cases: int) -> Found:
        """So many decisions under changing policies, then every read command across organisations."""
        rounds = max(1, cases // 500)
        for round_ in range(rounds):
            rules = {org: self._policies(org, round_) for org in ORGS}
            with self.database.read("hub") as connection, self.database.read("ledger") as books:
                for _ in range(cases // rounds):
                    self._case({"hub": connection, "ledger": books}, rules)
        self._cross(self.people if cases >= 1000 else self.random.sample(self.people, 6))
        return self.found

    def principal(
        self, person: Person, scopes: set[str] | None = None, lent: Lent | None = None
    ) -> Principal:
        return Principal(
            key_id=f"key_{person.id}",
            org_id=person.org,
            team_id=None,
            project_id=None,
            user_id=person.id,
            service_account_id=None,
            scopes=frozenset(reference.ROLE_SCOPES[person.role] if scopes is None else scopes),
            models=None,
            expires_at_ms=None,
            app="agent" if lent else "",
            parent_key_id=None,
            grant_id=lent.id if lent else None,
        )

    def _people(self, connection: Any, org: str) -> None:
        pick = self.random
        tree: dict[str, str | None] = {}
        for number in range(4):
            above = pick.choice([None, *tree]) if tree else None
            key = f"dept_{org}{number}"
            tree[key] = above
            values = {"id": key, "org_id": org, "parent_id": above, "name": f"d{number}", "created_at_ms": 1}
            connection.execute(insert(departments).values(**values))
            self.things.append(Thing(key, f"d{number}", "department", org))
            connection.execute(
                insert(teams).values(id=f"team_{org}{number}", org_id=org, name=f"t{number}", created_at_ms=1)
            )
            self.things.append(Thing(f"team_{org}{number}", f"t{number}", "team", org))
        for number in range(12):
            role = "owner" if number == 0 else pick.choice(["owner", "admin", "member", "member", "viewer"])
            person = Person(f"user_{org}{number}", f"p{number}", org, role)
            values = {"id": person.id, "org_id": org, "name": person.name, "role": role, "created_at_ms": 1}
            connection.execute(insert(users).values(**values))
            for key in pick.sample(sorted(tree), pick.randint(0, 2)):
                connection.execute(
                    insert(department_members).values(
                        department_id=key, user_id=person.id, title="", created_at_ms=1
                    )
                )
                here: str | None = key
                while here is not None:
                    person.departments.add(here)
                    here = tree[here]
            self.people.append(person)
            self.things.append(Thing(person.id, person.name, "user", org, owner=person.id))

    def _work(self, person: Person) -> None:
        """A task and a document of each person, seen by some others."""
        if person.role == "viewer":
            return
        mates = [one for one in self.people if one.org == person.org and one.id != person.id]
        mate = self.random.choice(mates)
        title = f"task of {person.id}"
        answer = self._do(person, "task.create", title=title, assignee=mate.id)
        self.things.append(Thing(answer["id"], title, "task", person.org, person.id, {person.id, mate.id}))
        title = f"doc of {person.id}"
        everyone = self.random.choice(["", "read", ""])
        answer = self._do(
            person, "doc.create", title=title, content=f"SECRET-{person.org}", everyone=everyone
        )
        seen = {one.id for one in mates} if everyone else set[str]()
        if not everyone and self.random.random() < 0.5:
            self._do(person, "doc.share", doc=answer["id"], user=mate.id)
            seen = {mate.id}
        self.things.append(Thing(answer["id"], title, "doc", person.org, person.id, {person.id, *seen}))
        sent = self._do(person, "message.send", text=f"SECRET-{person.org} for you", to=mate.id)
        self.talks[frozenset((person.id, mate.id))] = sent["channel"]
        self._do(person, "file.put", name=f"{person.id}.txt", content_base64="U0VDUkVU", everyone=everyone)
        self._do(person, "channel.create", name=f"c-{person.id}", open=self.random.random() < 0.3)

    def _do(self, person: Person, command: str, **raw: Any) -> dict[str, Any]:
        answer = execute(registry(), self.runtime, self.principal(person), command, raw)
        assert answer.ok and answer.data is not None, (command, answer)
        return answer.data

    def _lend(self, connection: Any, number: int) -> None:
        pick = self.random
        above_pair = pick.choice(self.lent) if self.lent and pick.random() < 0.4 else None
        person = above_pair[0] if above_pair else pick.choice(self.people)
        above = above_pair[1] if above_pair and len(above_pair[1].chain()) < 4 else None
        agent = above.agent if above else f"agent_{number}"
        if above is None:
            connection.execute(
                insert(agents).values(
                    id=agent, org_id=person.org, user_id=person.id, name=agent, created_at_ms=1
                )
            )
        names = [declared.name for declared in registry()]
        nouns = sorted({name.split(".")[0] + ".*" for name in names})
        lent = Lent(
            f"grant_{number}",
            agent,
            pick.choice(
                [
                    ["*"],
                    ["*"],
                    ["*"],
                    pick.sample(nouns, 8),
                    pick.sample(names, 20),
                    ["task.*", "doc.*", "team.*", "user.*"],
                ]
            ),
            set(pick.choice([("read", "write"), ("read",), *[("read", "write", "irreversible")] * 3])),
            pick.choice([None, None, None, set(self._ids(person.org, 12))]),
            ended=pick.random() < 0.04,
            stopped=pick.random() < 0.03,
            tainted=pick.random() < 0.4,
            vouched=set(
                pick.choice(
                    [
                        [],
                        self._ids(person.org, 10),
                        [f"user:p{n}" for n in range(8)],
                        ["department:d1", "team:t1", "user:p3", "task:p1"],
                        ["d1", "t1", "p3"],
                    ]
                )
            ),
            above=above,
        )
        revoked = lent.ended and pick.random() < 0.5
        connection.execute(
            insert(grants).values(
                id=lent.id,
                org_id=person.org,
                agent_id=agent,
                user_id=person.id,
                parent_id=above.id if above else None,
                fresh=pick.random() < 0.5,
                commands=json.dumps(lent.patterns),
                effects=json.dumps(sorted(lent.effects)),
                resources=None if lent.resources is None else json.dumps(sorted(lent.resources)),
                vouched=json.dumps(sorted(lent.vouched)),
                cost_used=0,
                note="",
                created_at_ms=1,
                expires_at_ms=NOW - 1 if lent.ended and not revoked else NOW + 10_000_000,
                revoked_at_ms=1 if revoked else None,
                tainted_at_ms=1 if lent.tainted else None,
            )
        )
        if lent.stopped:
            connection.execute(
                insert(stops).values(org_id=person.org, subject=lent.id, actor="x", reason="", at_ms=1)
            )
        self.lent.append((person, lent))

    def _ids(self, org: str, count: int) -> list[str]:
        mine = [thing.id for thing in self.things if thing.org == org]
        return self.random.sample(mine, min(count, len(mine)))

    def _policies(self, org: str, round_: int) -> list[Rule]:
        """A random text, put in force; the first round is the default set."""
        pick = self.random
        if round_ == 0:
            return [
                Rule(permit=True),
                Rule(permit=False, action="irreversible", agents_only=True, unless_confirmed=True),
            ]
        names = [declared.name for declared in registry()]
        actions = [None, "read", "write", "irreversible", *names, *{name.split(".")[0] for name in names}]
        rules = [Rule(permit=True)] if pick.random() < 0.7 else []
        for _ in range(pick.randint(2, 9)):
            rules.append(
                Rule(
                    permit=pick.random() < (0.2 if rules else 0.7),
                    role=pick.choice([None, None, "owner", "admin", "member", "viewer"]),
                    department=pick.choice([None, None, None, f"dept_{org}{pick.randint(0, 3)}"]),
                    action=pick.choice(actions),
                    resource=pick.choice([None, None, None, *self._ids(org, 1)]),
                    agents_only=pick.random() < 0.2,
                    unless_confirmed=pick.random() < 0.3,
                )
            )
        kinds = {thing.id: KINDS[thing.kind] for thing in self.things}
        text = "\n".join(reference.cedar(rule, place, kinds) for place, rule in enumerate(rules))
        with self.database.write("hub") as connection:
            policies.apply(connection, org, text, note="", actor="fuzz", at_ms=NOW)
        return rules

    def _case(self, books: dict[Name, Any], rules: dict[str, list[Rule]]) -> None:
        pick = self.random
        person, lent = pick.choice(self.lent) if pick.random() < 0.7 else (pick.choice(self.people), None)
        scopes = set(reference.ROLE_SCOPES[person.role])
        if pick.random() < 0.15:
            few = set(pick.sample(sorted(SCOPES), 4))
            scopes = few if "*" in scopes else scopes & few
        declared = pick.choice(list(registry()))
        raw: dict[str, Any] = {}
        thing: Thing | None = None
        if declared.resource in KINDS and pick.random() < 0.9:
            thing = pick.choice([one for one in self.things if one.kind == declared.resource] or [None])
            if thing is not None:
                raw[declared.resource_argument] = pick.choice([thing.id, thing.id, thing.name])
        for sink in declared.sinks:
            if sink not in raw and pick.random() < 0.8:
                raw[sink] = pick.choice([f"p{pick.randint(0, 11)}", *self._ids(person.org, 1)])
            if sink in raw and declared.arguments.model_fields[sink].annotation is bool:
                raw[sink] = True
            if sink in raw and "list" in str(declared.arguments.model_fields[sink].annotation):
                raw[sink] = [raw[sink]]
        arguments = declared.arguments.model_construct(**raw)
        call = Call(declared, self.principal(person, scopes, lent), arguments, raw, False, "", "", NOW)
        admission = admit(self._context(call, books), call)
        got = admission.decision.verdict
        if isinstance(admission.refusal, Stopped):
            got = "stopped"
        elif isinstance(admission.refusal, GrantEnded):
            got = "ended"
        written = str(raw.get(declared.resource_argument) or "") if declared.resource else ""
        if declared.name in ("message.send", "message.list", "login-link.create"):
            written = written or self._meant(person, declared.name, raw)
        thing_id, _ = self._resolved(person, declared.resource, written)
        sinks = self._aims(person, declared, raw)
        command = (declared.name, declared.effect, declared.permission)
        own, ours = bool(declared.sinks), rules[person.org]
        wanted = reference.decides(person, scopes, lent, command, thing_id, own, sinks, ours)
        self.found.cases += 1
        self.found.verdicts[got] = self.found.verdicts.get(got, 0) + 1
        if got != wanted:
            self.found.disagreements.append(
                f"{command} {raw} by {person} {lent}: door {got}, reference {wanted}"
            )
        if lent is not None and got == "allow":
            alone = reference.decides(person, scopes, None, command, thing_id, own, sinks, ours)
            self.found.exceeded += alone == "deny"

    def _aims(self, person: Person, declared: Any, raw: dict[str, Any]) -> list[Aim]:
        """What the sinks' values are, as far as the person sees it."""
        found: list[Aim] = []
        for sink in declared.sinks:
            value = raw.get(sink)
            kind = declared.kind_of(sink)
            for one in value if isinstance(value, list) else [value] if value else []:
                _, names = self._resolved(person, kind, one)
                found.append(Aim(kind, names, names != {one} or any(t.id == one for t in self.things)))
        return found

    def _context(self, call: Call, books: dict[Name, Any]) -> Context:
        context = Context(
            principal=call.principal,
            settings=self.runtime.settings,
            now_ms=NOW,
            dry_run=False,
            database=self.database,
            writes=None,
            stack=ExitStack(),
            registry=registry(),
            authority=authority_of(self.database, registry()),
        )
        for name, connection in books.items():
            context.adopt(name, connection)
        return context

    def _meant(self, person: Person, command: str, raw: dict[str, Any]) -> str:
        """What the call acts on although its own argument does not say so."""
        if command == "login-link.create":
            return person.id
        wanted = raw.get("to") or raw.get("person")
        mates = [one for one in self.people if one.org == person.org and wanted in (one.id, one.name)]
        if raw.get("thread") or not mates:
            return ""
        return self.talks.get(frozenset((person.id, mates[0].id)), "")

    def _resolved(self, person: Person, kind: str, written: str) -> tuple[str, set[str]]:
        """The id of what was written, if the person sees such a thing: (id, {id, name})."""
        if not written:
            return "", set()
        for thing in self.things:
            if thing.kind == kind and thing.org == person.org and written in (thing.id, thing.name):
                if kind in ("task", "doc") and person.id not in thing.seen_by:
                    continue
                return thing.id, {thing.id, thing.name}
        return written, {written}

    def _cross(self, readers: list[Person]) -> None:
        """Every read command by people of one organisation, aimed at things of the other and at their own."""
        with self.database.write("hub") as connection:
            for org in ORGS:
                policies.apply(
                    connection, org, "permit (principal, action, resource);", note="", actor="fuzz", at_ms=NOW
                )
            connection.execute(update(stops).values(reason=""))
        for person in readers:
            other = [thing for thing in self.things if thing.org != person.org]
            foreign = {thing.id for thing in other} | {f"SECRET-{thing.org}" for thing in other}
            for declared in registry():
                if declared.effect != "read":
                    continue
                raws: list[dict[str, Any]] = [{}]
                if declared.resource:
                    kin = [thing for thing in other if thing.kind == declared.resource] or other
                    raws += [{declared.resource_argument: self.random.choice(kin).id}]
                for raw in raws:
                    if "limit" in declared.arguments.model_fields:
                        raw["limit"] = 200
                    answer = execute(registry(), self.runtime, self.principal(person), declared.name, raw)
                    self.found.reads += 1
                    self.sent[person.org].update(str(value) for value in raw.values())
                    self._judge(person, declared.name, raw, answer, foreign)

    def _judge(
        self, person: Person, name: str, raw: dict[str, Any], answer: Envelope, foreign: set[str]
    ) -> None:
        shown = json.dumps(answer.data, default=str)
        if answer.error is not None and answer.error.status >= 500:
            self.found.leaks.append(f"{name} {raw}: {answer.error.message}")
        for word in (
            foreign - self.sent[person.org]
        ):  # the trail shows what somebody wrote into a refused command
            if re.search(re.escape(word) + r"(?![\w])", shown):
                self.found.leaks.append(f"{name} {raw} by {person.id} shows {word}")
        if name in ("task.list", "doc.list") and answer.data is not None:
            mine = {
                thing.id for thing in self.things if thing.kind == name[:-5] and person.id in thing.seen_by
            }
            shown_ids = {item["id"] for item in answer.data["items"]}
            if shown_ids != mine:
                self.found.leaks.append(f"{name} by {person.id}: {sorted(shown_ids ^ mine)[:3]}")


def fuzz(cases: int, seed: int, *, database_url: str = "") -> Found:
    """One run in a fresh database."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url=database_url)
        database = Database(settings)
        try:
            migrate(database, settings)
            made = Fuzz(database, settings, seed)
            with database.read("hub") as connection:
                assert connection.execute(select(users.c.id)).first() is not None
            return made.run(cases)
        finally:
            database.close()


if __name__ == "__main__":
    result = fuzz(
        int(sys.argv[1]) if len(sys.argv) > 1 else 2000, int(sys.argv[2]) if len(sys.argv) > 2 else 1
    )
    print(result.cases, "cases", result.verdicts, result.reads, "reads")
    for line in [*result.disagreements[:8], *result.leaks[:8]]:
        print(line[:700])
    print("exceeded", result.exceeded, "disagreements", len(result.disagreements), "leaks", len(result.leaks))
