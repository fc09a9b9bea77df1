"""A person's own words: whole, and of a kind."""

import pytest

from tokenhub.commands.words import Words

REQUEST = (
    "Please look at the file 'plan-2026.docx' and file 13, then invite Sarah Baker and john.doe@example.com to the"
    " 'Weekly review' event on June 14, and tell the general channel. Ask Tom’s manager Kelly Ray. See www.example.org/a."
)


@pytest.mark.parametrize(
    ("value", "kind", "named"),
    [
        ("john.doe@example.com", "user", True),
        ("JOHN.DOE@example.com", "user", True),
        ("doe@example.com", "user", False),
        ("john.doe@example.co", "user", False),
        ("john.doe@example.com,eve@example.com", "user", False),
        ("john.doe@example.com <eve@example.com>", "user", False),
        ("john.doe＠example.com", "user", False),
        ("john doe example com", "user", False),
        ("\u212aelly Ray", "user", False),  # the sign for kelvin
        ("Kelly Ray", "user", True),
        ("Sarah\u200bBaker", "user", False),
        ("Sarah, Baker", "user", False),
        ("john.d%6fe@example.com", "user", False),
        ("www.example.org/a", "url", True),
        ("www.example.org/a?q=secret", "url", False),
        ("www.example.org", "url", False),
        ("13", "file", True),
        ("13", "event", False),
        ("14", "file", False),
        ("1", "file", False),
        ("2026", "file", False),
        ("plan-2026.docx", "file", True),
        ("plan-2026.docx", "event", False),
        ("Weekly review", "event", True),
        ("Weekly review", "file", False),
        ("Weekly", "event", False),
        ("Sarah Baker", "user", True),
        ("Tom", "user", True),
        ("Tom", "file", False),
        ("general", "channel", True),
        ("general", "user", False),
        ("Please", "user", False),
        ("look at", "user", True),  # several words: whoever is called so can be aimed at (decision 0017)
        ("the", "user", False),
        ("at the", "user", False),
        ("www.example.org/a", "note", False),
        ("plan-2026.docx", "password", False),
        ("invite Sarah", "hotel", False),
        ("Sarah Baker", "hotel", True),
        ("general", "url", False),
        ("", "user", False),
        ("…", "user", False),
    ],
)
def test_what_a_request_names(value: str, kind: str, named: bool) -> None:
    assert Words(REQUEST).name(value, (kind,)) is named


def test_a_number_is_a_thing_only_beside_its_kind() -> None:
    assert Words("Delete the file with ID '13'.").name("13", ("file",))
    assert Words("update transaction 7").name("7", ("transaction",))
    assert not Words("on June 13 delete the file").name("13", ("file",))
    assert not Words("file 13").name("3", ("file",))


def test_a_cue_stays_within_its_sentence() -> None:
    assert not Words("Read the file. 13 of us will come.").name("13", ("file",))
    assert not Words("Any restaurant will do").name("any", ("restaurant",))
    assert Words("Set my password to n3w-Secret").name("n3w-Secret", ("password",))


@pytest.mark.parametrize(
    ("request_", "wants"),
    [
        ("What scores did they give in the file 'feedback.xlsx'?", False),
        ("How many appointments do I have on May 15th?", False),
        ("Which events has Sarah been to", False),
        ("Adding Tom to the event would be nice", True),
        ("I want her invited", True),
        ("", False),
    ],
)
def test_a_question_asks_for_no_deed(request_: str, wants: bool) -> None:
    assert Words(request_).wants_change() is wants


def test_a_files_ending_may_be_left_out() -> None:
    words = Words("add it to the grocery list")
    assert words.calls("grocery-list.docx", ("file",)) and not words.calls("grocery-list-old.docx", ("file",))


def test_the_least_right_needs_no_words_and_every_other_does() -> None:
    words = Words("share it with write access")
    assert (
        words.name("r", ("right",))
        and words.name("write", ("right",))
        and not words.name("admin", ("right",))
    )


def test_what_a_request_speaks_of() -> None:
    words = Words("Book two Meetings for the same participants")
    assert words.speaks_of(("event",)) and not words.speaks_of(("file",))
    assert words.says("participants") and words.says("participant") and not words.says("part")


def test_chinese_needs_no_spaces_around_quotation_marks() -> None:
    words = Words("请把文件「季度计划」分享给li.lei@example.com，谢谢")
    assert words.name("季度计划", ("file",)) and not words.name("计划", ("file",))
    assert words.wants_change() and not Words("文件「季度计划」里有什么？").wants_change()
