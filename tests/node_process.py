"""Real ``macula`` processes for tests: nodes in the background, verbs in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credentials import RealmFolder, make_realm
from maculaos.client import connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from maculaos.client import Mesh

MACULA = (sys.executable, "-c", "from maculaos.cli import main; main()")
DEADLINE_S = 20.0


def free_port() -> int:
    """A UDP port of the loopback interface that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(what: Callable[[], bool], saying: str) -> None:
    """Wait until ``what`` holds; fail with ``saying`` if it does not in time."""
    limit = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < limit, f"not within {DEADLINE_S:g} s: {saying}"
        time.sleep(0.02)


@dataclass
class Yard:
    """A folder with a realm, and the nodes that were started in it."""

    folder: Path
    realm: RealmFolder
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def configure(self, name: str, port: int, peers: tuple[int, ...] = (), more: str = "") -> Path:
        """Write the configuration of a node, and issue its identity if it has none."""
        if not self.realm.settings_of(name).key.exists():
            self.realm.issue(name)
        files = self.realm.settings_of(name)
        config = self.folder / f"{name}.yaml"
        config.write_text(
            f"version: 1\nname: {name}\nrealm: {self.realm.name}\nlisten: {{port: {port}}}\n"
            f"credentials:\n  certificate: {files.certificate}\n  key: {files.key}\n"
            f"  realm_ca: {files.realm_ca}\ncontrol_socket: {name}.sock\n"
            f"swim: {{probe_interval_s: 0.2, probe_timeout_s: 0.1}}\n"
            f"peers: [{', '.join(f'127.0.0.1:{peer}' for peer in peers)}]\n{more}"
        )
        return config

    def socket(self, name: str) -> Path:
        """The control socket of a node."""
        return self.folder / f"{name}.sock"

    def start(self, name: str) -> subprocess.Popen[str]:
        """Start a configured node and wait until it is ready."""
        log = self.folder / f"{name}.log"
        with log.open("w") as file:
            node = subprocess.Popen(
                [*MACULA, "start", "--config", str(self.folder / f"{name}.yaml")],
                stderr=file,
                text=True,
            )
        self.running.append(node)
        eventually(lambda: " ready " in log.read_text() or node.poll() is not None, f"{name} ready")
        assert node.poll() is None, log.read_text()
        return node

    def log(self, name: str) -> str:
        """What a node has logged since it was started last."""
        return (self.folder / f"{name}.log").read_text()

    def ask(self, name: str, question: Callable[[Mesh], Awaitable[Any]]) -> Any:
        """What the node ``name`` answers a program: the quick way, where no verb is at stake."""

        async def main() -> Any:
            async with asyncio.timeout(DEADLINE_S), connect(self.socket(name)) as mesh:
                return await question(mesh)

        return asyncio.run(main())

    def macula(self, name: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a verb on the node ``name``."""
        return macula(*words, socket_path=self.socket(name), stdin=stdin)

    def background(self, name: str, *words: str) -> subprocess.Popen[str]:
        """Start a verb on the node ``name`` that goes on, and wait until it says so."""
        verb = subprocess.Popen(
            [*MACULA, *words],
            env={**os.environ, "MACULA_SOCKET": str(self.socket(name))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(verb)
        assert verb.stderr is not None
        assert verb.stderr.readline(), "it ended without a word"
        return verb

    def stop_all(self) -> None:
        """End what is left, by force."""
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.communicate(timeout=DEADLINE_S)


def macula(
    *words: str, socket_path: Path | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    named = {} if socket_path is None else {"MACULA_SOCKET": str(socket_path)}
    return subprocess.run(
        [*MACULA, *words],
        env={**os.environ, **named},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@contextmanager
def yard() -> Iterator[Yard]:
    """A folder with a short name, and an end for everything in it."""
    folder = Path(tempfile.mkdtemp(prefix="yard", dir="/tmp"))  # sockets: short
    made = Yard(folder, make_realm(folder))
    try:
        yield made
    finally:
        made.stop_all()
        shutil.rmtree(folder)
