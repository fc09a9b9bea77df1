"""AgentDojo, unchanged, without the model clients that its package imports and no suite needs."""

import importlib
import importlib.util
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

VERSION = "0.1.35"
BENCHMARK = "v1.2.2"
PACKAGES = (
    f"agentdojo=={VERSION}",
    "deepdiff==9.1.0",
    "orderly-set==5.5.0",
    "cachebox",
    "docstring-parser==0.18.0",
    "email-validator==2.4.0",
    "dnspython==2.9.2",
)
"""8 MB; with every model client that it declares it would be 287 MB."""
ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "var" / "agentdojo"


class NotInstallable(Exception):
    """AgentDojo could not be fetched; the message says why in a sentence."""


def install(home: Path = HOME) -> Path:
    """The folder that holds AgentDojo, filled by pip once. Raises: NotInstallable."""
    done = home / f"ready-{VERSION}"
    if done.exists():
        return home
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    try:
        told = subprocess.run(
            [*command, "--upgrade", "--target", str(home), *PACKAGES],
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstallable(f"pip could not run: {error}.") from error
    if told.returncode:
        lines = [line for line in told.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise NotInstallable(f"pip could not install AgentDojo {VERSION} into {home}: {lines[-1]}")
    done.touch()
    return home


def suite(name: str) -> Any:
    """The suite of this name, as the package gives it."""
    _without_clients()
    return importlib.import_module("agentdojo.task_suite.load_suites").get_suite(BENCHMARK, name)


def _without_clients() -> None:
    """Let `agentdojo.agent_pipeline` be importable without OpenAI's, Anthropic's, Cohere's and Google's packages."""
    if "agentdojo.agent_pipeline" in sys.modules:
        return
    found = importlib.util.find_spec("agentdojo")
    if found is None or not found.submodule_search_locations:
        raise NotInstallable("AgentDojo is not on the path.")
    pipeline = types.ModuleType("agentdojo.agent_pipeline")
    pipeline.__path__ = [str(Path(found.submodule_search_locations[0]) / "agent_pipeline")]
    clients = types.ModuleType("agentdojo.agent_pipeline.llms")
    clients.__path__ = []
    google = types.ModuleType("agentdojo.agent_pipeline.llms.google_llm")
    google.EMPTY_FUNCTION_NAME = "<empty-function-name>"  # type: ignore[attr-defined]
    for module in (pipeline, clients, google):
        sys.modules[module.__name__] = module
