"""The journal: what survives, what is ignored, who may replay it."""

import os
from pathlib import Path

import msgspec
import pytest

from tests.clearing.conftest import an_event
from tokenhub.clearing.journal import Journal, dead_owners, replay


def test_replay_takes_captures_and_open_drafts(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "owner_1", fsync=True)
    for tokens in (256, 512):
        journal.checkpoint(an_event("req_open", tokens))
    journal.checkpoint(an_event("req_done", 256))
    journal.capture([an_event("req_done", 300)])
    journal.checkpoint(an_event("req_void", 256))
    journal.void("req_void")
    found = {event.request_id: event.total_tokens for event in replay(tmp_path, "owner_1").events}
    assert found == {"req_open": 512, "req_done": 300}
    journal.close(delete=True)
    assert not list(tmp_path.iterdir())


def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "owner_1", fsync=False)
    journal.capture([an_event("req_1", 5)])
    journal.capture([an_event("req_2", 6)])
    os.truncate(journal.path, journal.path.stat().st_size - 9)
    found = replay(tmp_path, "owner_1")
    assert [event.request_id for event in found.events] == ["req_1"] and found.bad_lines == 1
    journal.close(delete=False)


def test_a_failed_write_does_not_spoil_the_next_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "owner_1", fsync=False)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:20]))
    with pytest.raises(Exception, match="journal"):
        journal.capture([an_event("req_1", 5)])
    assert journal.broken
    monkeypatch.setattr(os, "write", real)
    assert journal.probe() and not journal.broken
    journal.capture([an_event("req_2", 6)])
    assert [event.request_id for event in replay(tmp_path, "owner_1").events] == ["req_2"]
    journal.close(delete=False)


def test_a_journal_of_an_older_version_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "owner_1", fsync=False)
    event = an_event("req_old", 7, app="a", stream=1)
    journal.append(b'["c",' + msgspec.json.encode(msgspec.structs.asdict(event)) + b"]\n")
    journal.append(b'["d",{"request_id":"req_odd"}]\n')
    journal.append(b'["c",' + msgspec.json.encode(an_event("req_array", 6)) + b"]\n")
    journal.capture([an_event("req_new", 5)])
    found = replay(tmp_path, "owner_1")
    assert [each.request_id for each in found.events] == [
        "req_old",
        "req_array",
        "req_new",
    ] and found.bad_lines == 1
    assert found.events[0] == event
    journal.close(delete=True)


def test_rotation_carries_open_drafts_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "owner_1", fsync=False)
    draft = journal.checkpoint(an_event("req_open", 256))
    journal.capture([an_event("req_1", 5)])
    finished = journal.rotate([draft])
    finished.unlink()  # everything captured in it is settled
    assert [event.total_tokens for event in replay(tmp_path, "owner_1").events] == [256]
    journal.close(delete=True)


def test_only_the_dead_are_recovered(tmp_path: Path) -> None:
    alive = Journal(tmp_path, "owner_alive", fsync=False)
    dead = Journal(tmp_path, "owner_dead", fsync=False)
    dead.close(delete=False)
    assert list(dead_owners(tmp_path)) == ["owner_dead"]
    alive.close(delete=True)
