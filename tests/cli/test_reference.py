"""Generated files are current, and nothing is undocumented."""

from tokenhub.bootstrap.commands import registry
from tokenhub.cli import reference
from tokenhub.cli.main import BUILT_IN
from tokenhub.cli.manifest import load
from tokenhub.cli.nouns import SECTIONS, SUMMARIES
from tokenhub.cli.reference_errors import error_codes
from tokenhub.cli.reference_pages import GATEWAY_ROUTES
from tokenhub.config import describe
from tokenhub.identity.scopes import SCOPES
from tokenhub.maas.gateway import server

DOCS = reference.ROOT / "docs" / "reference"


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_generated_files_are_current() -> None:
    assert reference.stale() == {}, "run: ./hub docs"


def test_every_command_is_documented_and_speaks_known_scopes() -> None:
    page = _page("commands.md")
    for declared in registry():
        assert f"`{declared.name}`" in page
        assert declared.permission in SCOPES or not declared.permission, declared.name
        assert declared.summary.endswith("."), declared.name
        assert declared.examples, declared.name
        assert all(example.line.startswith(f"hub {declared.noun}") for example in declared.examples)
        assert all(field.description for field in declared.arguments.model_fields.values()), declared.name


def test_every_setting_has_a_meaning() -> None:
    page = _page("settings.md")
    for found in describe():
        assert found.description and f"`{found.variable}`" in page


def test_every_error_code_has_a_meaning() -> None:
    page = _page("errors.md")
    for found in error_codes():
        assert found.words and f"`{found.code}`" in page


def test_every_token_path_is_documented() -> None:
    documented = {path.encode() for _, path, _ in GATEWAY_ROUTES}
    assert documented >= set(server.OWN_PATHS)


def test_every_noun_has_a_summary_and_its_place() -> None:
    placed = {name for _, names in SECTIONS for name in names}
    assert set(BUILT_IN) <= placed
    assert set(load()) <= set(SUMMARIES)
