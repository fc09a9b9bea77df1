"""Text for people."""

from tokenhub.cli.manifest import Verb
from tokenhub.cli.render import cell, display_width, heading, human, table

VERB = Verb("key.list", "", "", "read", "", (), (), (), ())


def test_a_table_is_aligned_also_with_wide_characters() -> None:
    rows = [{"name": "令牌", "count": 5}, {"name": "abc", "count": 12_345}]
    lines = table(rows, ("name", "count"), currency="USD").splitlines()
    assert lines == ["NAME   COUNT", "令牌       5", "abc   12,345"]
    assert len({display_width(line) for line in lines}) == 1


def test_the_name_tells_the_unit() -> None:
    assert heading("created_at_ms") == "CREATED" and heading("amount_nano") == "AMOUNT"
    assert heading("at_ms") == "AT" and cell("at_ms", 0, {}, currency="USD").startswith(("1970", "1969"))
    assert cell("amount_nano", 1_500_000_000, {}, currency="USD") == "1.50 USD"
    assert cell("amount_nano", 1, {"currency": "CNY"}, currency="USD") == "0.000000001 CNY"
    assert cell("created_at_ms", 0, {}, currency="USD").startswith(("1970", "1969"))
    assert cell("x", None, {}, currency="USD") == "-" and cell("x", True, {}, currency="USD") == "yes"
    assert cell("x", ["a", "b"], {}, currency="USD") == "a, b"


def test_cards_show_nested_parts() -> None:
    shown = human(
        {"line": {"a": 1}, "entries": [{"unit": "x", "amount": 2}], "empty": []}, VERB, currency="USD"
    )
    assert shown.splitlines() == [
        "line",
        "  a  1",
        "",
        "entries",
        "UNIT  AMOUNT",
        "x          2",
        "empty    -",
    ]


def test_lists_say_when_they_are_empty_and_how_to_go_on() -> None:
    assert human({"items": [], "next_cursor": None}, VERB, currency="USD") == "No keys."
    assert "--cursor abc" in human({"items": [{"a": 1}], "next_cursor": "abc"}, VERB, currency="USD")
