"""The front as a program of its own: real sockets on both sides, files that change meanwhile."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from frontyard import ask, until
from maculaos.host.files import write_atomically
from rolloutyard import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOPBACK = "127.0.0.1"
# What the front may take to switch by itself, and what a busy machine adds.
SWITCH_S = 0.1
BUSY_S = 1.0


@dataclass
class Yard:
    """A front with its folder; every instance is a socket of the test."""

    root: Path
    process: subprocess.Popen[bytes] | None = None
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def control(self) -> Path:
        return self.root / "front.control"

    @property
    def log(self) -> str:
        return (self.root / "log").read_text()

    def start(self, *words: str) -> None:
        argv = [sys.executable, "-I", "-m", "reconciler.front"]
        argv += ["--traffic", str(self.root / "traffic.d"), "--control", str(self.control)]
        argv += ["--listen", LOOPBACK, "--connections", "50", "--idle-s", "60", *words]
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        until(lambda: self.report() is not None)

    def end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(10) == 0, self.log
        self.held.close()
        shutil.rmtree(self.root)

    def show(self, port: int, *active: int, app: str = "shop", **said: Any) -> None:
        """Say where the traffic of ``port`` goes: to ports of instances."""
        protocol = said.pop("protocol", "tcp")

        def line(own: int) -> dict[str, Any]:
            at = {"web": {"protocol": protocol, "listen": port, "port": own}}
            name = f"blue-{own}"
            return {"instance": name, "jail": name, "version": "v1", "address": "", "ports": at}

        resting = [line(own) for own in said.pop("resting", ())]
        content = {"version": 1, "app": app, "active": [line(own) for own in active]}
        content |= {"resting": resting, "linger_s": 0.2, **said}
        (self.root / "traffic.d").mkdir(exist_ok=True)
        write_atomically(self.root / "traffic.d" / f"{app}.json", json.dumps(content).encode())

    def report(self) -> dict[str, Any] | None:
        try:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(5)
                asked.connect(str(self.control))
                asked.sendall(b"look\n")
                with asked.makefile("rb") as answer:
                    said: dict[str, Any] = json.loads(answer.readline())
                    return said
        except OSError:
            return None

    def open(self) -> int:
        """How many connections there are, by the front's own count."""
        said = self.report()
        assert said is not None
        return sum(each["open"] for each in said["connections"])

    def speaker(self, word: str) -> int:
        """An instance that answers each connection with ``word``; returns its port."""
        return self.instance(lambda one: _speak(one, word))

    def instance(self, serve: Callable[[socket.socket], None]) -> int:
        server = self.held.enter_context(socket.create_server((LOOPBACK, 0)))

        def accept() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                one.settimeout(20)
                threading.Thread(target=_served, args=(serve, one), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        self.held.callback(server.shutdown, socket.SHUT_RDWR)
        return int(server.getsockname()[1])

    def connect(self, port: int) -> socket.socket:
        one = socket.create_connection((LOOPBACK, port), timeout=10)
        self.held.callback(one.close)
        return one


def _served(serve: Callable[[socket.socket], None], one: socket.socket) -> None:
    with one:
        try:
            serve(one)
        except OSError:
            return


def _speak(one: socket.socket, word: str) -> None:
    while one.recv(4096):
        one.sendall(f"{word}\n".encode())


@pytest.fixture
def yard() -> Iterator[Yard]:
    yard = Yard(Path(tempfile.mkdtemp(prefix="front-", dir="/tmp")))
    try:
        yield yard
    finally:
        yard.end()


@contextmanager
def running(yard: Yard, *words: str) -> Iterator[None]:
    yard.start(*words)
    yield


def test_new_connections_go_to_whom_the_file_names_within_a_tenth_of_a_second(yard: Yard) -> None:
    port, one, other = free_port(), yard.speaker("one"), yard.speaker("other")
    yard.show(port, one)
    yard.start()
    assert ask(port) == "one"
    took = []
    for turn in range(6):
        wanted, word = ((other, "other"), (one, "one"))[turn % 2]
        yard.show(port, wanted)
        since = time.monotonic()
        until(lambda word=word: ask(port) == word)  # type: ignore[misc]  # called at once
        took.append(time.monotonic() - since)
    assert min(took) < SWITCH_S
    assert max(took) < SWITCH_S + BUSY_S


def test_open_connection_stays_while_its_instance_rests_and_is_cut_once_that_is_gone(
    yard: Yard,
) -> None:
    port, one, other = free_port(), yard.speaker("one"), yard.speaker("other")
    yard.show(port, one)
    yard.start()
    kept = yard.connect(port)
    kept.sendall(b"?")
    assert kept.recv(99) == b"one\n"
    yard.show(port, other, resting=[one])
    until(lambda: ask(port) == "other")
    kept.sendall(b"?")
    assert kept.recv(99) == b"one\n"
    yard.show(port, other)
    until(lambda: yard.open() == 0)
    with pytest.raises(ConnectionResetError):
        kept.recv(99)


def test_end_that_has_said_all_still_hears_the_answer(yard: Yard) -> None:
    def total(one: socket.socket) -> None:
        count = 0
        while part := one.recv(65_536):
            count += len(part)
        one.sendall(b"%d" % count)

    port = free_port()
    yard.show(port, yard.instance(total))
    yard.start()
    client = yard.connect(port)
    sent = b"x" * 3_000_000
    client.sendall(sent)
    client.shutdown(socket.SHUT_WR)
    assert client.recv(99) == b"%d" % len(sent)
    assert client.recv(99) == b""
    until(lambda: yard.open() == 0)


def test_instance_that_says_all_at_once_still_hears_its_client(yard: Yard) -> None:
    heard: list[bytes] = []

    def speak_first(one: socket.socket) -> None:
        one.sendall(b"done")
        one.shutdown(socket.SHUT_WR)
        while part := one.recv(99):
            heard.append(part)
        heard.append(b".")

    port = free_port()
    yard.show(port, yard.instance(speak_first))
    yard.start()
    client = yard.connect(port)
    assert client.recv(99) == b"done"
    assert client.recv(99) == b""
    client.sendall(b"thanks")
    client.close()
    until(lambda: b"".join(heard) == b"thanks.")


def test_who_does_not_read_holds_up_the_sender_and_costs_no_memory(yard: Yard) -> None:
    stop = threading.Event()

    def never_read(one: socket.socket) -> None:
        del one
        stop.wait(30)

    port = free_port()
    yard.show(port, yard.instance(never_read))
    yard.start()
    client = yard.connect(port)
    client.setblocking(False)
    sent, chunk = 0, b"x" * 65_536
    while select.select([], [client], [], 0.5)[1]:
        sent += client.send(chunk)
    stop.set()
    # Buffers of four sockets in the kernel, and one of the front's.
    assert sent < 32 * 1024 * 1024


def test_instance_that_breaks_off_is_no_end_of_an_answer(yard: Yard) -> None:
    def break_off(one: socket.socket) -> None:
        one.recv(99)
        one.sendall(b"half an ans")
        time.sleep(0.1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    port = free_port()
    yard.show(port, yard.instance(break_off))
    yard.start()
    client = yard.connect(port)
    client.sendall(b"?")
    assert client.recv(99) == b"half an ans"
    with pytest.raises(ConnectionResetError):
        client.recv(99)


def test_instance_that_refuses_is_passed_over_without_the_client_noticing(yard: Yard) -> None:
    port, dead = free_port(), free_port()
    yard.show(port, dead, yard.speaker("one"))
    yard.start()
    assert {ask(port) for _ in range(20)} == {"one"}
    said = yard.report()
    assert said is not None
    failed = {each["instance"]: each["failed"] for each in said["connections"]}
    assert failed[f"blue-{dead}"] >= 1


def test_client_waits_for_an_instance_that_comes_soon(yard: Yard) -> None:
    port, one = free_port(), yard.speaker("one")
    yard.show(port, resting=[one])
    yard.start()
    client = yard.connect(port)
    client.sendall(b"?")
    assert not select.select([client], [], [], 0.3)[0]
    yard.show(port, one)
    assert client.recv(99) == b"one\n"


def test_least_connections_go_first(yard: Yard) -> None:
    port, one, other = free_port(), yard.speaker("one"), yard.speaker("other")
    yard.show(port, one, other)
    yard.start()
    said = []
    for _ in range(10):
        client = yard.connect(port)
        client.sendall(b"?")
        said.append(client.recv(99))
    assert said.count(b"one\n") == said.count(b"other\n") == 5


def test_more_connections_than_there_is_room_for_are_turned_away(yard: Yard) -> None:
    port = free_port()
    yard.show(port, yard.speaker("one"))
    yard.start("--connections", "3")
    kept = [yard.connect(port) for _ in range(3)]
    for client in kept:
        client.sendall(b"?")
        assert client.recv(99) == b"one\n"
    with pytest.raises(OSError, match=r"reset|half"):
        ask(port)
    kept.pop().close()
    until(lambda: yard.open() == 2)
    assert ask(port) == "one"
    said = yard.report()
    assert said is not None
    assert said["refused"] == 1


def test_silent_connection_is_ended(yard: Yard) -> None:
    port = free_port()
    yard.show(port, yard.speaker("one"))
    yard.start("--idle-s", "0.3")
    client = yard.connect(port)
    with pytest.raises(ConnectionResetError):
        client.recv(99)
    assert yard.open() == 0


def test_port_of_a_stranger_is_told_and_taken_once_it_is_free_while_others_work(
    yard: Yard,
) -> None:
    own = yard.speaker("one")
    with socket.create_server((LOOPBACK, 0)) as stranger:
        taken, port = stranger.getsockname()[1], free_port()
        yard.show(taken, own)
        yard.show(port, own, app="store")
        yard.start()
        assert ask(port) == "one"
        said = yard.report()
        assert said is not None
        problems = {each["app"]: each["problem"] for each in said["ports"]}
        assert problems == {"shop": "taken by another program", "store": ""}
        line = f"app shop: port web: {LOOPBACK}:{taken}/tcp: taken by another program\n"
        assert yard.log.count(line) == 1
    until(lambda: _answers(taken) == "one")


def _answers(port: int) -> str:
    try:
        return ask(port)
    except OSError:
        return ""


def test_port_below_1024_is_not_even_tried_unless_it_is_asked_for(yard: Yard) -> None:
    yard.show(1023, yard.speaker("one"))
    yard.start()
    said = yard.report()
    assert said is not None
    assert said["ports"][0]["problem"] == "below 1024 takes front.privileged: true"


def test_file_that_is_wrong_is_told_and_changes_nothing(yard: Yard) -> None:
    port = free_port()
    yard.show(port, yard.speaker("one"))
    yard.start()
    (yard.root / "traffic.d" / "shop.json").write_text("{")
    said = yard.report()
    assert said is not None
    assert said["problems"][0].startswith("app shop: not JSON")
    assert ask(port) == "one"


def test_app_that_is_gone_is_not_listened_for(yard: Yard) -> None:
    port = free_port()
    yard.show(port, yard.speaker("one"))
    yard.start()
    kept = yard.connect(port)
    kept.sendall(b"?")
    assert kept.recv(99) == b"one\n"
    shutil.rmtree(yard.root / "traffic.d")
    until(lambda: _answers(port) == "")
    with pytest.raises(ConnectionRefusedError):
        ask(port)
    with pytest.raises(ConnectionResetError):
        kept.recv(99)
    yard.show(port, yard.speaker("two"))
    until(lambda: _answers(port) == "two")


def test_datagrams_come_and_go_and_a_sender_stays_with_its_instance(yard: Yard) -> None:
    def instance(word: bytes) -> tuple[int, socket.socket]:
        made = yard.held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.bind((LOOPBACK, 0))

        def answer() -> None:
            while True:
                try:
                    data, source = made.recvfrom(4096)
                    if source is None:
                        # It was closed while nothing came.
                        return
                    made.sendto(word + data, source)
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        return int(made.getsockname()[1]), made

    port, (one, _), (other, _) = free_port(), instance(b"one "), instance(b"other ")
    yard.show(port, one, other, protocol="udp")
    yard.start()
    senders = [yard.held.enter_context(_sender(port)) for _ in range(4)]
    first = [_said(each) for each in senders]
    assert sorted(first) == [b"one ?", b"one ?", b"other ?", b"other ?"]
    assert [_said(each) for each in senders] == first
    yard.show(port, other, resting=[one], protocol="udp")
    yard.report()
    assert [_said(each) for each in senders] == first
    yard.show(port, other, protocol="udp")
    yard.report()
    assert {_said(each) for each in senders} == {b"other ?"}
    assert yard.open() == 4


@contextmanager
def _sender(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(5)
        made.connect((LOOPBACK, port))
        yield made


def _said(sender: socket.socket) -> bytes:
    sender.send(b"?")
    return sender.recv(99)


def test_second_front_after_a_kill_takes_over_at_once(yard: Yard) -> None:
    port = free_port()
    yard.show(port, yard.speaker("one"))
    yard.start()
    assert ask(port) == "one"
    assert yard.process is not None
    os.kill(yard.process.pid, signal.SIGKILL)
    yard.process.wait(10)
    yard.start()
    assert ask(port) == "one"
