"""A hub whose commands are a suite's tools, declared as the tools of any outside server are."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tokenhub.commands import Envelope, identity_verbs
from tokenhub.commands.door import Runtime, execute
from tokenhub.commands.registry import Registry
from tokenhub.commands.tools import Tool, command_of
from tokenhub.config import Settings
from tokenhub.db.engine import Database
from tokenhub.db.migrate import migrate
from tokenhub.identity.first_run import ensure_first_run
from tokenhub.identity.keys import authenticate
from tokenhub.identity.types import Principal
from tokenhub.kernel.errors import InvalidRequest

_PLAIN = TypeAdapter(Any)


def _functions() -> Any:
    return importlib.import_module("agentdojo.functions_runtime")


@dataclass
class Desk:
    """What stands on the other side of the door now: one environment of the suite."""

    runtime: Any
    environment: Any = None
    trace: list[Any] = field(default_factory=list)
    """Calls that ran."""

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Run one tool; its answer as JSON values."""
        result, error = self.runtime.run_function(self.environment, name, arguments)
        if error is not None:
            raise InvalidRequest(str(error)[:500])
        self.trace.append(_functions().FunctionCall(function=name, args=arguments))
        return _PLAIN.dump_python(result, mode="json")


class World:
    """One hub and one suite. `execute` is the door's own."""

    def __init__(self, home: Path, suite: Any) -> None:
        self.suite = suite
        self.desk = Desk(_functions().FunctionsRuntime(suite.tools))
        self.registry = Registry(identity_verbs)
        self.names: dict[str, str] = {}
        for tool in suite.tools:
            declared = command_of(
                Tool(tool.name, tool.description, tool.parameters.model_json_schema()),
                lambda _ctx, arguments, name=tool.name: self.desk.call(name, arguments),
                server=suite.name,
            )
            self.registry.add(declared)
            self.names[tool.name] = declared.name
        settings = Settings(home=home)
        self.database = Database(settings)
        migrate(self.database, settings)
        self.runtime = Runtime(self.database, settings)
        with self.database.write("hub") as connection:
            made = ensure_first_run(connection, settings)
        assert made is not None
        with self.database.read("hub") as connection:
            self.person = authenticate(connection, made.admin_key)
        self.ask(self.person, "agent.create", {"name": "helper"})

    def run(self, request: str) -> Principal:
        """A run's principal: its person lends it every tool of the suite and says what they want."""
        lent = self.ask(
            self.person,
            "grant.create",
            {
                "agent": "helper",
                "commands": [f"{self.suite.name}.*"],
                "effects": ["read", "write", "irreversible"],
                "request": request,
            },
        )
        with self.database.read("hub") as connection:
            return authenticate(connection, lent["key"])

    def execute(self, who: Principal, command: str, raw: dict[str, Any]) -> Envelope:
        """One call through the door."""
        return execute(self.registry, self.runtime, who, command, raw)

    def ask(self, who: Principal, command: str, raw: dict[str, Any]) -> dict[str, Any]:
        """One call that has to succeed."""
        answer = self.execute(who, command, raw)
        assert answer.ok and answer.data is not None, (command, answer)
        return answer.data

    def close(self) -> None:
        self.database.close()
