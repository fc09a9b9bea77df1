"""What names say of tools and arguments that nobody here has seen."""

import pytest

from tokenhub.commands import kinds


@pytest.mark.parametrize(
    ("tool", "effect"),
    [
        ("list_invoices", "read"),
        ("getBalance", "read"),
        ("create_note", "write"),
        ("moveCard", "write"),
        ("delete_note", "irreversible"),
        ("send_fax", "irreversible"),
        ("publish", "irreversible"),
        ("frobnicate_account", "irreversible"),
        ("", "irreversible"),
    ],
)
def test_an_unknown_verb_cannot_be_taken_back(tool: str, effect: str) -> None:
    assert kinds.effect_of(tool) == effect


@pytest.mark.parametrize(
    ("argument", "shape", "fresh", "sink"),
    [
        ("recipients", "array", False, True),
        ("assignee", "string", True, True),
        ("note_id", "string", False, True),
        ("id", "integer", False, True),
        ("webhook_url", "string", True, True),
        ("blob", "string", False, True),
        ("folder", "string", True, True),
        ("everyone", "boolean", True, True),
        ("title", "string", True, False),
        ("filename", "string", True, False),
        ("filename", "string", False, True),
        ("body", "string", False, False),
        ("startTime", "string", False, False),
        ("limit", "integer", False, False),
    ],
)
def test_what_is_not_known_as_content_or_time_is_a_sink(
    argument: str, shape: str, fresh: bool, sink: bool
) -> None:
    assert kinds.is_sink(argument, shape, fresh=fresh) is sink


@pytest.mark.parametrize(
    ("argument", "kind"),
    [
        ("recipients", "user"),
        ("email", "user"),
        ("email_id", "message"),
        ("file_id", "file"),
        ("invoice_id", "invoice"),
        ("id", "invoice"),
        ("permission", "right"),
        ("callbackUrl", "url"),
    ],
)
def test_the_kind_that_an_argument_chooses(argument: str, kind: str) -> None:
    assert kinds.kind_of(argument, within=("invoice",)) == kind


def test_the_kinds_that_a_tool_speaks_of() -> None:
    assert kinds.nouns_of("search_calendar_events") == ("calendar", "event")
    assert kinds.nouns_of("search_files_by_filename") == ("file",)
    assert kinds.nouns_of("find_contacts") == ("user",)
    assert kinds.pays(["recipient", "amount"]) and not kinds.pays(["amount", "date"])
