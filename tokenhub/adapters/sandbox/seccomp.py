"""The system calls that no script needs, as a filter program of the kernel (classic BPF) for `bwrap --seccomp`.

Everything else is allowed: namespaces, limits and the read-only file system bound that. Denied is what looks into other
processes (ptrace), makes namespaces or mounts, loads code into the kernel, keeps memory where no limit counts it
(memfd, System V), or has a long record of holes (bpf, io_uring, keys, userfaultfd, sockets other than Unix ones).
"""

import platform
import struct
from typing import NamedTuple

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_NR, _ARCH, _ARG0 = 0, 4, 16
_NEW_NAMESPACES = 0x7E020000
_AF_UNIX = 1
_X32 = 0x40000000


class _Machine(NamedTuple):
    arch: int
    clone: int
    sockets: tuple[int, ...]
    denied: tuple[int, ...]


_ON_ALL = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 447)
"""io_uring, open_tree to fspick, pidfd_getfd, process_madvise, mount_setattr, memfd_secret."""
_CLONE3 = 435

_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        56,
        (41, 53),
        (
            *(101, 310, 311, 312),  # ptrace, process_vm_readv, process_vm_writev, kcmp
            *(248, 249, 250),  # keys
            *(321, 298, 323, 300),  # bpf, perf_event_open, userfaultfd, fanotify_init
            *(165, 166, 155, 272, 308, 161),  # mount, umount2, pivot_root, unshare, setns, chroot
            *(246, 320, 175, 313, 176, 172, 173),  # kexec, modules, iopl, ioperm
            *(167, 168, 169, 163, 179, 103, 153),  # swap, reboot, acct, quotactl, syslog, vhangup
            *(303, 304, 212, 134, 154, 135),  # handles, lookup_dcookie, uselib, modify_ldt, personality
            *(319, 29, 30, 31, 64, 68),  # memfd_create, System V shared memory, semaphores, queues
            *(237, 238, 256, 279, 278),  # memory policies and moves, vmsplice
            *(227, 164, 159, 305, 170, 171),  # clocks and names of the machine
        ),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        220,
        (198, 199),
        (
            *(117, 270, 271, 272),
            *(217, 218, 219),
            *(280, 241, 282, 262),
            *(40, 39, 41, 97, 268, 51),
            *(104, 294, 105, 273, 106),
            *(224, 225, 142, 89, 60, 116, 58),
            *(264, 265, 18, 92),
            *(279, 194, 195, 196, 190, 186),
            *(235, 237, 238, 239, 75),
            *(112, 170, 171, 266, 161, 162),
        ),
    ),
}


def known(machine: str = "") -> bool:
    """True if there is a filter for this kind of processor."""
    return (machine or platform.machine()) in _MACHINES


def program(machine: str = "") -> bytes:
    """The filter. Raises: KeyError for a processor that is not `known`."""
    on = _MACHINES[machine or platform.machine()]
    steps = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, on.arch, yes=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NR),
        _step(_AT_LEAST, _X32, no=1),
        _step(_RETURN, _ERRNO | _ENOSYS),
    ]
    for number in (*on.denied, *_ON_ALL):
        steps += [_step(_EQUAL, number, no=1), _step(_RETURN, _ERRNO | _EPERM)]
    steps += [_step(_EQUAL, _CLONE3, no=1), _step(_RETURN, _ERRNO | _ENOSYS)]
    steps += [
        _step(_EQUAL, on.clone, no=3),
        _step(_LOAD, _ARG0),
        _step(_ANY_BIT, _NEW_NAMESPACES, no=3),
        _step(_RETURN, _ERRNO | _EPERM),
    ]
    first, second = on.sockets
    steps += [
        _step(_EQUAL, first, yes=2),
        _step(_EQUAL, second, yes=1),
        _step(_RETURN, _ALLOW),
        _step(_LOAD, _ARG0),
        _step(_EQUAL, _AF_UNIX, yes=1),
        _step(_RETURN, _ERRNO | _EAFNOSUPPORT),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; `yes` and `no` are how many it skips."""
    return struct.pack("<HBBI", code, yes, no, value)
