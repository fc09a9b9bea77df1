"""A server that is a program: started in a sandbox for one exchange, killed with all its children afterwards.

The sandbox (bubblewrap) sees the machine's files read-only, not the hub's own folder, no other process and an
environment of five harmless variables; it may write in a folder of its own and use the network. Without bubblewrap no
program is started. SDK's own stdio transport is not used, because it reads lines without a bound.
"""

import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import mcp_types as types
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage

from tokenhub.agents.mcp.types import NotReached, Server

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE_S = 1.0
STDERR_KEPT = 2_000


@asynccontextmanager
async def program(server: Server, home: Path, *, bytes_max: int) -> AsyncGenerator[TransportStreams, None]:
    """Start it and give its streams; what it wrote to standard error is told if it fails. Raises: NotReached."""
    folder = home / "mcp" / server.id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    process = await anyio.open_process(
        sandboxed(server.command, home, folder), start_new_session=True, env={}
    )
    running = _Running(process, bytes_max)
    inward, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, outward = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(running.read, inward)
            group.start_soon(running.write, outward)
            group.start_soon(running.listen)
            try:
                yield incoming, outgoing
            finally:
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await running.end()
        for stream in (inward, incoming, outgoing, outward):
            stream.close()


def sandboxed(command: tuple[str, ...], home: Path, folder: Path) -> list[str]:
    """The command line in its sandbox. Raises: NotReached without bubblewrap."""
    bubblewrap = shutil.which("bwrap", path=PATH)
    if bubblewrap is None:
        raise NotReached(
            "Programs are only started in a sandbox, and bubblewrap is not installed here.",
            hint="Install `bubblewrap`, or run the server elsewhere and add its URL.",
        )
    environment = {
        "PATH": PATH,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }
    words = [bubblewrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    words += ["--tmpfs", str(home), "--bind", str(folder), str(folder), "--chdir", str(folder)]
    words += [
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
    ]
    for name, value in environment.items():
        words += ["--setenv", name, value]
    return [*words, "--", *command]


class _Running:
    """The pipes of one program."""

    def __init__(self, process: anyio.abc.Process, bytes_max: int) -> None:
        self._process = process
        self._left = bytes_max
        self._complaint = b""

    async def read(self, inward: anyio.abc.ObjectSendStream[SessionMessage | Exception]) -> None:
        """Its lines as messages, until it ends or says too much."""
        assert self._process.stdout is not None
        rest = bytearray()
        async with inward:
            with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                while True:
                    part = await self._process.stdout.receive(65_536)
                    self._left -= len(part)
                    if self._left < 0:
                        raise NotReached("it sends too much")
                    rest += part
                    if b"\n" not in part:
                        continue
                    *lines, last = bytes(rest).split(b"\n")
                    rest = bytearray(last)
                    for line in lines:
                        await inward.send(_parsed(line))
            with anyio.move_on_after(GRACE_S):  # it closed its output: its last words may still come
                await self._process.wait()
            words = self._complaint.decode(errors="replace").strip()
            raise NotReached(f"it ended{': ' + words[-300:] if words else ''}")

    async def write(self, outward: anyio.abc.ObjectReceiveStream[SessionMessage]) -> None:
        """Messages as its lines."""
        assert self._process.stdin is not None
        with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for message in outward:
                line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await self._process.stdin.send(line.encode() + b"\n")

    async def listen(self) -> None:
        """Keep the end of what it complains of."""
        assert self._process.stderr is not None
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            while True:
                self._complaint = (self._complaint + await self._process.stderr.receive(4096))[-STDERR_KEPT:]

    async def end(self) -> None:
        """Kill it and everything that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._process.aclose()


def _parsed(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error
