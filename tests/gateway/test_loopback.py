"""Connections within this machine are not paced; others stay as the system has them."""

import socket

import pytest

from tokenhub.maas.gateway.loopback import no_pacing

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "TCP_CONGESTION"), reason="Linux names congestion control"
)


def control(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.mark.parametrize(("host", "simple"), [("127.0.0.1", True), ("127.0.0.9", True), ("0.0.0.0", False)])
def test_what_is_accepted_on_the_loopback_has_the_simple_control(host: str, simple: bool) -> None:
    with socket.socket() as listener:
        usual = control(listener)
        listener.bind((host, 0))
        no_pacing(listener)
        listener.listen()
        reached = "127.0.0.1" if host == "0.0.0.0" else host
        with socket.create_connection((reached, listener.getsockname()[1])) as client:
            accepted, _ = listener.accept()
            with accepted:
                assert control(accepted) == (b"reno" if simple else usual)
            no_pacing(client)
            assert control(client) == b"reno"


def test_what_is_no_tcp_socket_is_left_alone() -> None:
    one, other = socket.socketpair()
    no_pacing(one)
    one.close()
    other.close()
    no_pacing(one)
