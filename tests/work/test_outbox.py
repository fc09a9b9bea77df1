"""What leaves the hub: it waits, can be withdrawn, arrives under one key, and says what nobody knows."""

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import text

from tests.work.bad_input import Faces
from tests.work.world import World
from tokenhub.adapters.notify.webhook import WebhookCarrier, is_public
from tokenhub.bootstrap.worker import CARRIERS
from tokenhub.kernel.clock import now_ms
from tokenhub.work.delivery import Address, Deliverer

HOUR_MS = 3_600_000


class Receiver(ThreadingHTTPServer):
    """A real server that answers as it is told to, one word for each request; the last word stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.words = ["200"]
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/in?a=1"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        word = self.server.words[0] if len(self.server.words) == 1 else self.server.words.pop(0)
        if word == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if word == "hang":
            time.sleep(3)
            return
        if word == "drip":
            for _ in range(30):
                self.wfile.write(b"H")
                time.sleep(0.1)
            return
        self.send_response(int(word))
        if word == "302":
            self.send_header("location", "http://127.0.0.1:1/")
        self.send_header("content-length", "4")
        self.end_headers()
        self.wfile.write(b"said")

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Later:
    """The machine's clock, moved on."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return now_ms() + self.ahead_ms


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def carried(world: World, receiver: Receiver) -> tuple[Deliverer, Later]:
    """A carrier that may reach this machine, on a clock that can be moved."""
    with world.database.write("hub") as connection:  # what the world has waiting is no part of these tests
        connection.execute(text("DELETE FROM outbox WHERE state = 'waiting'"))
    clock = Later()
    return Deliverer(world.database, WebhookCarrier(["127.0.0.1"], deadline_s=1.0), clock=clock), clock


def hook(world: World, receiver: Receiver, **more: Any) -> str:
    settings = world.settings
    object.__setattr__(settings, "outbox_private_hosts", "127.0.0.1")
    made = world.do("ana", "hook.create", name="out", url=receiver.url, **more)
    world.ids["hook_secret"] = made["secret"]
    return str(made["id"])


def test_it_waits_and_can_be_withdrawn(
    world: World, receiver: Receiver, carried: tuple[Deliverer, Later]
) -> None:
    deliverer, clock = carried
    hook(world, receiver)
    one = world.do("ana", "hook.send", hook="out", text="stays")
    two = world.do("ana", "hook.send", hook="out", text="goes")
    assert deliverer.run() == 0, "nothing leaves before its time"
    assert world.do("ana", "outbox.unsend", letter=one["id"])["state"] == "withdrawn"
    clock.ahead_ms = 30_000
    assert deliverer.run() == 1
    headers, body = receiver.got[0]
    assert json.loads(body)["text"] == "goes" and json.loads(body)["from"] == "ana"
    assert headers["idempotency-key"] == two["id"]
    signed = f"{headers['x-tokenhub-timestamp']}.".encode() + body
    assert (
        headers["x-tokenhub-signature"]
        == "sha256=" + hmac.new(world.ids["hook_secret"].encode(), signed, hashlib.sha256).hexdigest()
    )
    late = world.call("ana", "outbox.unsend", letter=two["id"])
    assert late.error is not None and late.error.code == "already_sent"
    assert {item["id"]: item["state"] for item in world.do("ana", "outbox.list")["items"]} == {
        one["id"]: "withdrawn",
        two["id"]: "delivered",
    }


@pytest.mark.parametrize(
    ("words", "once", "state", "got", "unknowns"),
    [
        (["500", "429", "200"], False, "delivered", 3, 0),
        (["400"], False, "failed", 1, 0),
        (["302"], False, "failed", 1, 0),
        (["cut", "200"], False, "delivered", 2, 1),
        (["hang", "200"], False, "delivered", 2, 1),
        (["drip", "200"], False, "delivered", 2, 1),
        (["cut"], True, "unknown", 1, 1),
        (["500"], False, "failed", 8, 0),
        (["cut", "500"], False, "unknown", 8, 1),
    ],
)
def test_what_becomes_of_an_attempt(
    world: World, receiver: Receiver, carried: tuple[Deliverer, Later],
    words: list[str], once: bool, state: str, got: int, unknowns: int,
) -> None:  # fmt: skip
    deliverer, clock = carried
    hook(world, receiver, once=once)
    receiver.words = list(words)
    sent = world.do("ana", "hook.send", hook="out", text="x")
    for _ in range(12):
        clock.ahead_ms += HOUR_MS
        deliverer.run()
    letter = world.do("ana", "outbox.show", letter=sent["id"])
    assert (letter["state"], letter["unknowns"]) == (state, unknowns), letter
    assert len(receiver.got) == got
    assert {headers["idempotency-key"] for headers, _ in receiver.got} == {sent["id"]}, (
        "every attempt has the same key"
    )
    told = [item for item in world.do("ana", "notice.list")["items"] if item["kind"] == "undelivered"]
    assert len(told) == (state != "delivered")
    if state != "delivered":
        receiver.words = ["200"]
        again = world.do("ana", "outbox.resend", letter=sent["id"])
        assert again["state"] == "waiting"


def test_a_carrier_that_dies_leaves_an_unknown_and_nothing_is_lost(
    world: World, receiver: Receiver, carried: tuple[Deliverer, Later]
) -> None:
    from tokenhub.db import outbox

    deliverer, clock = carried
    hook(world, receiver)
    sent = world.do("ana", "hook.send", hook="out", text="x")
    clock.ahead_ms = 30_000
    with world.database.write("hub") as connection:
        assert outbox.claim(connection, runner="killed", at_ms=clock.now_ms()) is not None
    assert deliverer.run() == 0, "it is the dead one's until its lease ends"
    clock.ahead_ms += outbox.LEASE_MS + 1000
    assert deliverer.run() == 1
    letter = world.do("ana", "outbox.show", letter=sent["id"])
    assert (letter["state"], letter["attempts"], letter["unknowns"]) == ("delivered", 2, 1)


def test_two_carriers_never_send_the_same(
    world: World, receiver: Receiver, carried: tuple[Deliverer, Later]
) -> None:
    _, clock = carried
    hook(world, receiver)
    for number in range(20):
        world.do("ana", "hook.send", hook="out", text=str(number))
    clock.ahead_ms = 30_000
    many = [Deliverer(world.database, WebhookCarrier(["127.0.0.1"]), clock=clock) for _ in range(3)]
    threads = [threading.Thread(target=one.run) for one in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(json.loads(body)["text"] for _, body in receiver.got) == sorted(map(str, range(20)))


def test_notices_go_out_and_a_recall_stops_them(
    world: World, receiver: Receiver, carried: tuple[Deliverer, Later]
) -> None:
    deliverer, clock = carried
    hook(world, receiver, kinds=["message", "assigned"])
    wrong = world.do("bob", "message.send", text="wrong", to="ana")
    world.do("bob", "message.send", text="right", to="ana")
    world.do("bob", "message.recall", message=wrong["id"])
    world.do("bob", "task.create", title="not this one", assignee="ana")
    undo = world.ids["last"]
    world.do("bob", "audit.undo", audit=undo)
    world.do("bob", "task.create", title="this one", assignee="ana")
    clock.ahead_ms = 30_000
    deliverer.run()
    assert [json.loads(body)["text"] for _, body in receiver.got] == ["right", "this one"]


def test_an_undo_leaves_what_has_left(
    world: World, receiver: Receiver, carried: tuple[Deliverer, Later]
) -> None:
    deliverer, clock = carried
    hook(world, receiver, kinds=["assigned"])
    world.do("bob", "task.create", title="gone out", assignee="ana")
    undo = world.ids["last"]
    clock.ahead_ms = 30_000
    deliverer.run()
    assert world.call("bob", "audit.undo", audit=undo).ok
    assert world.call("bob", "task.show", task="gone out").error is not None
    assert world.do("bob", "outbox.list")["items"][0]["state"] == "delivered"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
     "2002:7f00:1::", "ff02::1", "::", "240.0.0.1", "nonsense", "fe80::1%eth0"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_addresses_that_are_public() -> None:
    assert (
        is_public("93.184.216.34") and is_public("2606:2800:220:1::1") and is_public("::ffff:93.184.216.34")
    )


@pytest.mark.parametrize(
    "name", ["localhost", "127.0.0.1", "[::1]", "0", "2130706433", "0x7f000001", "127.1"]
)
def test_nothing_of_this_machine_is_reached(receiver: Receiver, name: str) -> None:
    url = receiver.url.replace("127.0.0.1", name)
    attempt = WebhookCarrier().carry(Address(url, "s"), "k", {})
    assert attempt.outcome in ("refused", "later") and not receiver.got, attempt


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/x", "http://127.0.0.1/", "http://localhost:8080/", "http://[::1]/", "file:///etc/passwd", "http://",
     "http://user:pass@example.org/", "http://169.254.169.254/latest", "https://example.org/#x", "http://example.org:99999/",
     "javascript:alert(1)", "http://exa mple.org/", "http://db.internal/"],
)  # fmt: skip
def test_a_url_that_cannot_be_a_hook(unchanged: Faces, url: str) -> None:
    answer = unchanged.world.call("ana", "hook.create", name="x", url=url)
    assert answer.error is not None and answer.error.code in ("invalid_url", "invalid_argument"), answer


def test_nobody_sees_or_uses_what_is_not_theirs(world: World, receiver: Receiver) -> None:
    hook(world, receiver)
    sent = world.do("ana", "hook.send", hook="out", text="x")
    for by in ("bob", "eve"):
        for command, raw in (("hook.send", {"hook": "out", "text": "y"}), ("outbox.show", {"letter": sent["id"]}),
                             ("outbox.unsend", {"letter": sent["id"]})):  # fmt: skip
            answer = world.call(by, command, **raw)
            assert answer.error is not None and answer.error.status == 404, (by, command)
    assert world.do("admin", "outbox.show", letter=sent["id"])["actor"] == "ana", "an administrator sees it"
    listed = world.do("bob", "hook.list")["items"]
    assert [(item["name"], item["url"]) for item in listed] == [("chat", "")], (
        "for everyone, but without its address"
    )
    everyone = world.call("bob", "hook.create", name="mine", url="https://example.org/", everyone=True)
    assert everyone.error is not None and everyone.error.status == 403


def test_a_slow_receiver_delays_nobody_but_itself(
    world: World, receiver: Receiver, carried: tuple[Deliverer, Later]
) -> None:
    """As many letters for it as there are carriers, and one for somebody else behind them."""
    _, clock = carried
    receiver.words = ["hang"]
    hook(world, receiver)
    quick = Receiver()
    serving = threading.Thread(target=quick.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    world.do("bob", "hook.create", name="quick", url=quick.url)
    for number in range(CARRIERS + 1):
        world.do("ana", "hook.send", hook="out", text=str(number))
    world.do("bob", "hook.send", hook="quick", text="in time")
    clock.ahead_ms = 30_000
    carrier = WebhookCarrier(["127.0.0.1"], deadline_s=1.0)
    many = [Deliverer(world.database, carrier, clock=clock) for _ in range(CARRIERS)]
    threads = [threading.Thread(target=one.run) for one in many]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + 0.8  # the slow one is given up after a second
    while not quick.got and time.monotonic() < ends:
        time.sleep(0.01)
    assert [json.loads(body)["text"] for _, body in quick.got] == ["in time"]
    assert len(receiver.got) == 1, "one at a time for each receiver"
    with world.database.write("hub") as connection:  # the rest of the slow one's would take as many seconds
        connection.execute(text("DELETE FROM outbox WHERE state = 'waiting'"))
    for thread in threads:
        thread.join()
    quick.shutdown()
    quick.server_close()


def test_one_sender_takes_only_some_of_the_carriers(world: World, carried: tuple[Deliverer, Later]) -> None:
    """However many hooks they have; the hub's own reminders are for everyone, and leave one carrier free."""
    from tokenhub.db import outbox

    with world.database.write("hub") as connection:
        org_id = world.people["ana"].org_id
        for number in range(5):
            for actor in (world.people["ana"].actor, outbox.HUB):
                told: dict[str, Any] = {
                    "channel": "webhook",
                    "target": f"{actor}{number}",
                    "subject": "",
                    "payload": {},
                }
                outbox.add(connection, org_id=org_id, actor_id=actor, at_ms=1, wait_ms=0, **told)
        taken = [outbox.claim(connection, runner="one", at_ms=2) for _ in range(10)]
        senders = [letter.actor_id for letter in taken if letter is not None]
    assert (senders.count(world.people["ana"].actor), senders.count(outbox.HUB)) == (2, 3)


@pytest.mark.parametrize("deed", ["agent.stop", "grant.revoke"])
def test_what_an_agent_put_in_does_not_leave_after_its_stop(
    world: World, receiver: Receiver, carried: tuple[Deliverer, Later], deed: str
) -> None:
    deliverer, clock = carried
    hook(world, receiver, kinds=["assigned"])
    world.do("agent", "task.create", title="by the agent", assignee="ana")
    world.do("bob", "task.create", title="by a person", assignee="ana")
    world.do(
        "admin", deed, **({"agent": "helper"} if deed == "agent.stop" else {"grant": world.ids["grant"]})
    )
    clock.ahead_ms = 30_000
    deliverer.run()
    assert [json.loads(body)["text"] for _, body in receiver.got] == ["by a person"]
    letters = {item["text"]: item for item in world.do("admin", "outbox.list", all=True)["items"]}
    assert letters["by the agent"]["state"] == "failed" and "stopped" in letters["by the agent"]["error"]
    told = [item["kind"] for item in world.do("admin", "notice.list")["items"]]
    assert "undelivered" in told, "the person for whom it acts"
    world.do("admin", "outbox.resend", letter=letters["by the agent"]["id"])
    clock.ahead_ms += HOUR_MS
    deliverer.run()
    assert [json.loads(body)["text"] for _, body in receiver.got] == ["by a person", "by the agent"], (
        "a person's word"
    )
