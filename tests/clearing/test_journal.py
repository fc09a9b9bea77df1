"""The journal: what survives, what is ignored, who may replay it."""

import errno
import os
from pathlib import Path

import msgspec
import pytest

from tests.clearing.conftest import an_event
from tokenhub.clearing import journal as journal_module
from tokenhub.clearing import pages
from tokenhub.clearing.journal import Journal, dead_owners, replay
from tokenhub.clearing.pages import WINDOW_BYTES, Pages, keeps_room
from tokenhub.kernel.errors import Unavailable


def _begun(folder: Path) -> Journal:
    """With one line."""
    journal = Journal(folder, "owner_1", fsync=False)
    journal.capture([an_event("req_1", 5)])
    return journal


def _length(journal: Journal) -> int:
    """Of its lines; behind them the file may have room."""
    return len(journal.path.read_bytes().rstrip(b"\0"))


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
    journal = _begun(tmp_path)
    journal.capture([an_event("req_2", 6)])
    os.truncate(journal.path, _length(journal) - 9)
    found = replay(tmp_path, "owner_1")
    assert [event.request_id for event in found.events] == ["req_1"] and found.bad_lines == 1
    journal.close(delete=False)


def test_a_failed_write_does_not_spoil_the_next_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "owner_1", fsync=False)
    real = os.pwrite
    monkeypatch.setattr(Pages, "put", lambda self, data, at: False)
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:20], at))
    with pytest.raises(Exception, match="journal"):
        journal.capture([an_event("req_1", 5)])
    assert journal.broken
    monkeypatch.undo()
    assert journal.probe() and not journal.broken
    journal.capture([an_event("req_2", 6)])
    assert [event.request_id for event in replay(tmp_path, "owner_1").events] == ["req_2"]
    journal.close(delete=False)


def _events(folder: Path) -> list[str]:
    return [event.request_id for event in replay(folder, "owner_1").events]


@pytest.mark.parametrize("mapped", [True, False])
def test_lines_of_any_size_stand_one_behind_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    """Across windows, beside lines larger than one, whether or not the file can be mapped."""
    monkeypatch.setattr(journal_module, "keeps_room", lambda folder: mapped)
    journal = Journal(tmp_path, "owner_1", fsync=False)
    made: list[str] = []
    for number in range(60):
        some = [
            an_event(f"req_{number}_{part}", 5, app="x" * 3000) for part in range(1 + 30 * (number % 9 == 8))
        ]
        journal.capture(some)
        made += [event.request_id for event in some]
    assert _events(tmp_path) == made
    size = _length(journal)
    assert size > 4 * WINDOW_BYTES
    finished = journal.rotate([])
    assert finished.stat().st_size == size  # nothing stays allocated behind its end
    journal.close(delete=True)


def test_what_a_kill_left_half_stored_is_ignored(tmp_path: Path) -> None:
    """A store into a mapping may end anywhere, also with its last bytes there and its middle not."""
    journal = _begun(tmp_path)
    whole = (
        msgspec.json.encode(an_event("req_2", 6)) + b"\n" + msgspec.json.encode(an_event("req_3", 7)) + b"\n"
    )
    end = _length(journal)
    for left, right in ((0, 32), (32, 32), (len(whole) // 2, 0), (64, len(whole) // 2 - 80)):
        torn = whole[:left] + b"\0" * (len(whole) - left - right) + whole[len(whole) - right :]
        with journal.path.open("r+b") as file:
            file.seek(end)
            file.write(torn)
        intact = [
            name
            for name, line in zip(("req_2", "req_3"), whole.splitlines(), strict=True)
            if line in torn.split(b"\n")
        ]
        assert len(intact) < 2 and _events(tmp_path) == ["req_1", *intact]
    journal.close(delete=True)


def test_where_no_room_can_be_had_for_a_mapping_lines_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = _begun(tmp_path)
    allocate = os.posix_fallocate

    def full(fd: int, start: int, size: int) -> None:
        allocate(fd, start, size // 2)  # as ext4 does
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        for number in range(200):  # past the window, and past what is allocated
            journal.capture([an_event(f"req_{number}", 5, app="x" * 9000)])
        size = journal.path.stat().st_size
        assert size == _length(journal)  # nothing is kept from others
    journal.capture([an_event("req_last", 5)])
    assert len(set(_events(tmp_path))) == 201 and not journal.broken
    assert journal.path.stat().st_size > size  # mapped again
    journal.close(delete=True)


def test_a_nearly_full_disk_is_left_to_the_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "FREE_BYTES_MIN", 2**60)
    journal = _begun(tmp_path)
    assert journal.path.read_bytes().endswith(b"\n") and _events(tmp_path) == ["req_1"]
    journal.close(delete=True)


def test_a_refused_line_is_gone_though_it_could_not_be_cut_off_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = _begun(tmp_path)
    real = os.pwrite

    def fails(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Pages, "put", lambda self, data, at: False)
        patch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:-20], at))
        patch.setattr(os, "ftruncate", fails)
        with pytest.raises(Unavailable):
            journal.capture([an_event(f"req_no{number}", 5) for number in range(50)])
    journal.capture([an_event("req_2", 5)])
    assert _events(tmp_path) == ["req_1", "req_2"] and not journal.broken
    journal.close(delete=True)


def test_a_line_without_its_end_is_ignored_though_it_reads_well(tmp_path: Path) -> None:
    journal = _begun(tmp_path)
    journal.capture([an_event("req_2", 5)])
    size = _length(journal)
    with journal.path.open("r+b") as file:
        file.seek(size - 1)
        file.write(b"\0")
    found = replay(tmp_path, "owner_1")
    assert [event.request_id for event in found.events] == ["req_1"] and found.bad_lines == 1
    journal.close(delete=True)


def test_only_file_systems_that_keep_room_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    line = f"36 35 {os.major(device)}:{os.minor(device)} / /data rw,noatime shared:1 - {{}} /dev/sda rw\n"
    monkeypatch.setattr(pages, "_MOUNTS", mounts)
    assert not keeps_room(tmp_path)  # nobody says what it is
    for kind, keeps in (
        ("ext4", True),
        ("tmpfs", True),
        ("xfs", False),
        ("btrfs", False),
        ("overlay", False),
        ("nfs4", False),
    ):
        mounts.write_bytes(b"1 0 0:1 / /\xff rw - btrfs none rw\n" + line.format(kind).encode())
        assert keeps_room(tmp_path) is keeps


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
