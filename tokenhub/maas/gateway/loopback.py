"""What a TCP connection within this machine does not need."""

import socket
from contextlib import suppress

_SIMPLE = b"reno"
"""Congestion control that every Linux has, and that does least for a packet."""


def no_pacing(sock: socket.socket) -> None:
    """If this socket listens or is connected on the loopback only: no model of a path that has no congestion.

    A host whose default is `bbr` measures and paces each segment, also to itself. Accepted sockets inherit the choice.
    """
    with suppress(OSError, AttributeError, IndexError):  # not TCP, or not Linux: as the system has it
        address = str(sock.getsockname()[0]).removeprefix("::ffff:")
        if address == "::1" or address.startswith("127."):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _SIMPLE)
