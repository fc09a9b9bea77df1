"""A script sees its skill, its work folder and nothing else, and gets out of neither its folder nor its limits."""

import os
import platform
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenhub.adapters.sandbox import seccomp
from tokenhub.adapters.sandbox.bubblewrap import Bubblewrap
from tokenhub.adapters.sandbox.unpack import unpack
from tokenhub.agents.sandbox import MIB, Limits, Outcome, Script
from tokenhub.kernel.errors import InvalidRequest, Unavailable

needs_bubblewrap = pytest.mark.skipif(bool(Bubblewrap().missing()), reason="no bubblewrap on this machine")
SMALL = Limits(seconds=10, memory_bytes=192 * MIB, processes=16, work_bytes=4 * MIB, output_bytes=64 * 1024)


def run(code: str, *, name: str = "scripts/x.py", limits: Limits = SMALL, **more: object) -> Outcome:
    files = {"SKILL.md": b"---", name: code.encode()}
    script = Script(files, name, **more)  # pyright: ignore[reportArgumentType]
    return Bubblewrap().run(script, limits, tick=lambda: None)


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        yield made.getsockname()[1]


@needs_bubblewrap
def test_arguments_input_and_files_go_in_and_what_it_made_comes_out() -> None:
    code = (
        "import sys\nprint(sys.argv[1:], sys.stdin.read(), open('in.csv').read())\n"
        "open('out.txt', 'w').write('made')\nsys.exit(3)"
    )
    outcome = run(code, arguments=("a b", "$(id)"), stdin=b"words", inputs={"in.csv": b"1,2"})
    assert outcome.stdout == b"['a b', '$(id)'] words 1,2\n", outcome
    assert (outcome.exit_code, outcome.files, outcome.stopped) == (3, {"out.txt": b"made"}, "")


@needs_bubblewrap
def test_a_script_of_any_known_kind_runs() -> None:
    assert run("echo $1", name="scripts/x.sh", arguments=("hi",)).stdout == b"hi\n"
    assert run("#!/bin/sh\necho by itself", name="scripts/x").stdout == b"by itself\n"
    with pytest.raises(InvalidRequest, match="is no script"):
        run("words", name="notes.md")
    assert run("import os", name="scripts/-x.py").exit_code == 0


@needs_bubblewrap
@pytest.mark.parametrize(
    "code",
    [
        pytest.param("open('/skill/scripts/x.py', 'a')", id="its own skill"),
        pytest.param("open('/skill/new', 'w')", id="a file in the skill"),
        pytest.param("open('/usr/bin/new', 'w')", id="the system"),
        pytest.param("open('/new', 'w')", id="the root"),
        pytest.param("open('/dev/new', 'w')", id="/dev"),
        pytest.param("open('/proc/sys/kernel/hostname', 'w')", id="a switch of the kernel"),
        pytest.param("open('/proc/sysrq-trigger', 'w')", id="sysrq"),
        pytest.param("open('/etc/passwd')", id="/etc"),
        pytest.param("open('/etc/shadow')", id="passwords"),
        pytest.param("import os; os.listdir('/root')", id="a home"),
        pytest.param("import os; os.listdir('/home')", id="homes"),
        pytest.param("import os; os.mkdir('/mnt')", id="a folder"),
        pytest.param("import os; os.symlink('/root', '/work/r'); os.listdir('/work/r')", id="by a link"),
        pytest.param("import os; os.chroot('/tmp')", id="chroot"),
        pytest.param("import os; os.unshare(os.CLONE_NEWUSER)", id="a namespace of its own")
        if hasattr(os, "unshare")
        else pytest.param(
            "import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\n"
            "if c.unshare(0x10000000) != 0: raise OSError(ctypes.get_errno())",
            id="a namespace of its own",
        ),
        pytest.param("import os; os.setuid(0)", id="root"),
        pytest.param("import os; os.kill(1, 9); os.kill(os.getppid(), 0); raise OSError", id="its keeper"),
        pytest.param("import socket; socket.socket().connect(('127.0.0.1', PORT))", id="this machine by TCP"),
        pytest.param("import socket; socket.create_connection(('1.1.1.1', 53), 2)", id="the network"),
        pytest.param("import socket; socket.getaddrinfo('example.org', 80)", id="names"),
        pytest.param("import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", id="raw sockets"),
        pytest.param("import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)", id="netlink"),
        pytest.param("import os; os.memfd_create('x')", id="memory without a file"),
        pytest.param(
            "open('/proc/self/oom_score_adj', 'wb', 0).write(b'-1000')", id="its place before the killer"
        ),
    ],
)
def test_nothing_outside_is_reached(code: str, listener: int) -> None:
    outcome = run(code.replace("PORT", str(listener)))
    assert outcome.exit_code != 0, outcome


@needs_bubblewrap
def test_no_environment_and_no_process_of_the_machine_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENHUB_ADMIN_KEY", "sk-th-SECRETWORD")
    code = (
        "import os\nprint(dict(os.environ))\n"
        "for one in sorted(os.listdir('/proc')):\n"
        "    if one.isdigit():\n"
        "        for name in ('environ', 'cmdline'):\n"
        "            try: print(one, open(f'/proc/{one}/{name}', 'rb').read())\n"
        "            except OSError as error: print(one, error)\n"
    )
    outcome = run(code)
    assert b"SECRETWORD" not in outcome.stdout and b"HOME" in outcome.stdout
    assert b"pytest" not in outcome.stdout
    assert outcome.exit_code == 0, outcome


@needs_bubblewrap
@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of this processor")
@pytest.mark.parametrize(
    ("name", "number"),
    [("ptrace", 101), ("process_vm_readv", 310), ("bpf", 321), ("io_uring_setup", 425), ("keyctl", 250)],
)
def test_system_calls_that_no_script_needs_are_denied(name: str, number: int) -> None:
    code = (
        "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
        f"print(c.syscall({number}, 0, 0, 0, 0, 0, 0), ctypes.get_errno())"
    )
    assert run(code).stdout == b"-1 1\n", name


@needs_bubblewrap
def test_a_fork_bomb_ends_at_the_limit_and_leaves_nothing() -> None:
    began = time.monotonic()
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    outcome = run(code, limits=Limits(seconds=2, processes=16, memory_bytes=512 * MIB))
    assert outcome.stopped and outcome.files == {}
    assert time.monotonic() - began < 8
    left = [
        one
        for one in Path("/proc").iterdir()
        if one.name.isdigit() and _line(one).find(b"/skill/scripts/x.py") >= 0
    ]
    assert left == []


def _line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@needs_bubblewrap
@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param("while True: print('x' * 10000)", "output", id="huge output"),
        pytest.param("import sys\nwhile True: sys.stderr.write('x' * 10000)", "output", id="huge errors"),
        pytest.param("import time; time.sleep(60)", "longer than", id="sleep"),
        pytest.param("while True: pass", "longer than", id="busy"),
        pytest.param(
            "import os, time\n"
            "for _ in range(8):\n"
            "    if os.fork() == 0:\n"
            "        kept = bytearray(60 * 2**20)\n"
            "        time.sleep(60)\n"
            "time.sleep(60)",
            "memory",
            id="memory of many",
        ),
        pytest.param(
            "import mmap, time\nkept = mmap.mmap(-1, 400 * 2**20)\n"
            "for _ in range(400): kept.write(bytes(2**20))\ntime.sleep(60)",
            "memory",
            id="shared memory",
        ),
    ],
)
def test_a_limit_ends_it_and_is_named(code: str, words: str) -> None:
    outcome = run(code, limits=Limits(seconds=2, memory_bytes=192 * MIB, output_bytes=64 * 1024))
    assert words in outcome.stopped, outcome
    assert len(outcome.stdout) <= 64 * 1024 and len(outcome.stderr) <= 64 * 1024


@needs_bubblewrap
@pytest.mark.parametrize(
    "code",
    [
        pytest.param("bytearray(900 * 2**20)", id="memory of one"),
        pytest.param("open('/work/big', 'wb').write(bytes(8 * 2**20))", id="a big file"),
        pytest.param("for n in range(99): open(f'/work/{n}', 'wb').write(bytes(2**20))", id="many files"),
        pytest.param("for n in range(99): open(f'/tmp/{n}', 'wb').write(bytes(2**20))", id="many in /tmp"),
        pytest.param(
            "for n in range(99): open(f'/dev/shm/{n}', 'wb').write(bytes(2**20))", id="shared memory"
        ),
        pytest.param("kept = [open('/dev/null') for _ in range(9999)]", id="open files"),
        pytest.param("open('/.out', 'wb').write(bytes(99 * 2**20))", id="the archive"),
    ],
)
def test_a_script_that_wants_too_much_fails_by_itself(code: str) -> None:
    outcome = run(code)
    assert outcome.exit_code != 0 or outcome.notes, outcome


@needs_bubblewrap
def test_links_devices_and_lies_in_its_work_folder_do_not_come_out() -> None:
    code = (
        "import os\nos.symlink('/etc/passwd', 'link')\nos.mkfifo('pipe')\nos.link('link', 'hard')\n"
        "os.makedirs('a/b')\nopen('a/b/fine.txt', 'w').write('fine')\nopen('line\\nbreak', 'w').write('odd')\n"
    )
    outcome = run(code)
    assert outcome.files == {"a/b/fine.txt": b"fine"}, outcome
    assert len(outcome.notes) == 4


@needs_bubblewrap
def test_what_a_script_writes_into_the_archive_itself_is_only_read_as_its_word(tmp_path: Path) -> None:
    outcome = run("import os\nopen('/.out', 'wb').write(os.urandom(100000))\nos.kill(os.getppid(), 9)")
    assert outcome.exit_code != 0 and outcome.files == {}
    for junk in (b"x", b"\x00" * 512, os.urandom(4096), b"a" * 99 + b"\xff" * 5000):
        (tmp_path / "out").write_bytes(junk)
        files, _ = unpack(tmp_path / "out", {}, most=1000)
        assert files == {}


@needs_bubblewrap
def test_it_ends_when_whoever_watches_gives_up() -> None:
    class Enough(Exception):
        pass

    def tick() -> None:
        raise Enough

    with pytest.raises(Enough):
        Bubblewrap().run(Script({"x.py": b"import time; time.sleep(60)"}, "x.py"), SMALL, tick=tick)


@needs_bubblewrap
def test_runs_beside_each_other_do_not_meet() -> None:
    found: list[Outcome] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(
                run("import os, time; time.sleep(0.5); print(os.listdir('/work'), os.listdir('/tmp'))")
            )
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.stdout for one in found] == [b"[] []\n"] * 3
    assert not list(Path("/tmp").glob("th-run-*/skill/x.py"))


@needs_bubblewrap
def test_what_a_killed_worker_left_is_taken_away_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tmp_path.chmod(0o755)
    for name, age_s in (("th-run-old", 7200), ("th-run-young", 60), ("other", 7200)):
        (tmp_path / name / "skill").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    run("print('swept')")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["other", "th-run-young"]


def test_without_bubblewrap_one_sentence_says_what_to_install() -> None:
    sandbox = Bubblewrap("no-such-program")
    assert "apt-get install bubblewrap" in sandbox.missing()
    with pytest.raises(Unavailable, match="bubblewrap"):
        sandbox.run(Script({"x.py": b""}, "x.py"), SMALL, tick=lambda: None)


def test_a_bubblewrap_that_may_not_work_says_why(tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    tmp_path.chmod(0o755)
    words = Bubblewrap(str(fake)).missing()
    assert "No permissions" in words or "does not start" in words


def test_the_filter_jumps_within_itself() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(seccomp.program(machine)) % 8 == 0
    assert not seccomp.known("pdp11")
    assert shutil.which("bwrap") is None or Bubblewrap().missing() == ""
