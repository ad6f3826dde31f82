"""Apps behind a front, in tests: programs that say their version, and clients that never rest.

Everything is real: processes, sockets, and a client that counts what it was answered.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciling import Bench

# Answers each connection with its version, argv[2], and its instance; whoever says nothing waits.
SAYS = """
import os, socket, sys, threading
with socket.create_server(("127.0.0.1", int(os.environ["MACULA_PORT_WEB"]))) as server:
    said = f"{sys.argv[2]} {os.environ['MACULA_INSTANCE']}\\n".encode()
    def answer(one):
        with one:
            asked = one.recv(4096)
            while asked:
                one.sendall(said)
                asked = one.recv(4096)
    while True:
        one, _ = server.accept()
        threading.Thread(target=answer, args=(one,), daemon=True).start()
"""
# Listens, and ends soon after.
SAYS_AND_CRASHES = "import threading, os; threading.Timer(0.4, os._exit, [3]).start()\n" + SAYS
# Answers each datagram with its version.
SAYS_DATAGRAMS = """
import os, socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(os.environ["MACULA_PORT_WEB"])))
while True:
    _, source = server.recvfrom(4096)
    server.sendto(sys.argv[2].encode(), source)
"""
RATE_HZ = 50
# A busy machine needs its time; what fails here fails by its end, not by a deadline.
UNHURRIED = {"min_healthy_time_s": 0.5, "healthy_deadline_s": 30.0, "progress_deadline_s": 60.0}
HEALTH = {"interval_s": 0.3, "timeout_s": 0.3, "failures": 3}
PATIENCE_S = 8.0


def served(version: str, port: int, code: str = SAYS, **said: Any) -> str:
    """The file of the app ``shop``, behind ``port``."""
    command = [sys.executable, "-I", "-S", "-c", code, "shop", version]
    strategy = {**UNHURRIED, "drain_s": 1.0, **said.pop("strategy", {})}
    ports = [{"name": "web", "port": port, **said.pop("with_port", {})}]
    spec = {"version": 1, "name": "shop", "node": "n1", "command": command, "ports": ports}
    health = {"health": {"tcp": {"port": "web", **HEALTH}}}
    if ports[0].get("protocol") == "udp":
        health = {}
    restart = {"restart": {"policy": "on-failure", "base_s": 0.05, "max_s": 0.2}}
    return yaml.safe_dump({**spec, "strategy": strategy, **health, **restart, **said})


@dataclass
class Client:
    """Asks on and on, each time by a connection of its own; what failed is kept with its cause."""

    port: int
    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            try:
                self.answers.append(ask(self.port))
            except OSError as error:
                self.failures.append(f"after {len(self.answers)}: {error!r}")
            due = max(due + 1 / RATE_HZ, time.monotonic())
            self._stopping.wait(due - time.monotonic())

    def stop(self) -> None:
        self._stopping.set()

    def versions(self) -> list[str]:
        """Each version once, in the order of its first answer."""
        return list(dict.fromkeys(answer.split()[0] for answer in self.answers))

    def since(self, count: int) -> set[str]:
        """The versions that answered after so many answers."""
        return {answer.split()[0] for answer in self.answers[count:]}


def ask(port: int, timeout_s: float = PATIENCE_S) -> str:
    """One answer; raises ``OSError`` if there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as one:
        one.settimeout(timeout_s)
        one.sendall(b"who?\n")
        one.shutdown(socket.SHUT_WR)
        said = b""
        while part := one.recv(4096):
            said += part
    if not said.endswith(b"\n"):
        raise ConnectionError(f"half an answer: {said!r}")
    return said.decode().strip()


def until(condition: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait until ``condition``; fail if it does not come."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within_s:g} s"
        time.sleep(0.005)


@contextmanager
def asking(port: int) -> Iterator[Client]:
    """A client at work; it is stopped at the end."""
    client = Client(port)
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        yield client
    finally:
        client.stop()
        thread.join()


def front_pid(bench: Bench) -> int | None:
    """The process of the front, by its words; None if there is none."""
    control = str(bench.root / "run/front.control")
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "reconciler.front" in words and control in words:
            return int(file.parent.name)
    return None


def kill_front(bench: Bench) -> int:
    """By force; returns what it was."""
    pid = front_pid(bench)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def traffic(bench: Bench) -> dict[str, Any]:
    """What the traffic file of the app says; nothing if there is none."""
    try:
        said: dict[str, Any] = json.loads((bench.root / "run/traffic.d/shop.json").read_text())
    except FileNotFoundError:
        return {}
    return said
