"""A crowd of real nodes on one machine: some in each process, real QUIC between all, one seed.

What they say of each other is asked over their control sockets. A process that is killed takes its
nodes with it, all at once and without a word.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from credentials import RealmFolder, make_realm
from maculaos.client import Mesh, NodeUnreachable, connect
from maculaos.identity import NodeId
from maculaos.topology.rings import Rings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

DEGREE = 6
PROGRAM = (sys.executable, str(Path(__file__).with_name("crowd_process.py")))
PATIENCE_S = 60.0
_POLL_S = 0.05


class View(NamedTuple):
    """What one node says of the realm; ``linked`` and ``alive`` are names, its own left out."""

    name: str
    healths: dict[str, str]
    linked: frozenset[str]

    @property
    def alive(self) -> frozenset[str]:
        """Whom it believes to be there, itself included."""
        return frozenset(name for name, health in self.healths.items() if health == "alive")


@dataclass
class Crowd:
    """Configured nodes, ``names``; the first is the seed that all others know."""

    folder: Path
    realm: RealmFolder
    names: tuple[str, ...]
    node_ids: dict[str, NodeId]
    processes: dict[tuple[str, ...], subprocess.Popen[str]] = field(default_factory=dict)
    meshes: dict[str, Mesh] = field(default_factory=dict)

    async def load(self, *groups: tuple[str, ...], inside: tuple[str, ...] = ()) -> None:
        """A process for each group, ready to start these nodes; ``inside`` is a command to run it.

        Such a command must become the program, as ``ip netns exec`` does.
        """
        processes = [self._process(group, inside) for group in groups]
        for process in processes:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "loaded\n"

    async def start(self, *groups: tuple[str, ...]) -> None:
        """Let the loaded nodes start, and connect to each."""
        for group in groups or tuple(self.processes):
            stdin = self.processes[group].stdin
            assert stdin is not None
            stdin.write("go\n")
            stdin.flush()
        names = [name for group in groups or tuple(self.processes) for name in group]
        await asyncio.gather(*map(self._connect, names))

    async def kill(self, *groups: tuple[str, ...]) -> None:
        """``kill -9``: these nodes are gone at once."""
        for group in groups:
            process = self.processes.pop(group)
            process.kill()
            process.communicate()
            for name in group:
                await self._disconnect(name)

    async def view(self, name: str) -> View:
        """What that node says now."""
        told = await self.meshes[name].members()
        healths = {each["name"]: str(each["health"]) for each in told}
        linked = frozenset(each["name"] for each in told if each["linked"])
        return View(name, healths, linked)

    async def until(self, holds: Callable[[View], bool], within_s: float, saying: str) -> float:
        """Wait until that holds for the view of every node; return the seconds it took.

        A node for which it held is asked again at the end, when all the others had their turn.
        """
        began = time.monotonic()
        waiting = dict.fromkeys(self.meshes)
        while waiting:
            views = await asyncio.gather(*map(self.view, waiting))
            failing = [view for view in views if not holds(view)]
            took_s = time.monotonic() - began
            assert took_s < within_s or not failing, f"not in {within_s:g} s: {saying}: {failing}"
            if not failing and len(waiting) < len(self.meshes):
                waiting = dict.fromkeys(self.meshes)
                continue
            waiting = dict.fromkeys(view.name for view in failing)
            await asyncio.sleep(_POLL_S)
        return took_s

    def wanted(self, names: Iterable[str]) -> dict[str, frozenset[str]]:
        """Who is to be linked with whom, if exactly these are there."""
        ids = {self.node_ids[name]: name for name in names}
        graph = Rings(self.realm.name, DEGREE, ids).adjacency()
        return {ids[one]: frozenset(ids[each] for each in near) for one, near in graph.items()}

    def nearest(self, target: str, names: Iterable[str]) -> list[str]:
        """These by brute force: the nearest to ``target`` by XOR distance first."""
        goal = int.from_bytes(self.node_ids[target])
        return sorted(names, key=lambda name: int.from_bytes(self.node_ids[name]) ^ goal)

    def has_formed(self, names: Iterable[str]) -> Callable[[View], bool]:
        """Whether a node sees exactly these alive and has every link that it is to have."""
        there = frozenset(names)
        wanted = self.wanted(there)
        return lambda view: view.alive == there and wanted[view.name] <= view.linked

    def resident_kib(self, group: tuple[str, ...]) -> int:
        """Resident memory of the process of these nodes."""
        words = Path(f"/proc/{self.processes[group].pid}/statm").read_text().split()
        return int(words[1]) * 4

    def cpu_s(self, group: tuple[str, ...]) -> float:
        """What the process of these nodes has used of the CPU so far."""
        stat = Path(f"/proc/{self.processes[group].pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / 100

    def log(self, name: str) -> str:
        """Everything a node has logged, over all its lives."""
        return (self.folder / f"{name}.log").read_text()

    def _process(self, group: tuple[str, ...], inside: tuple[str, ...]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            (*inside, *PROGRAM, str(self.folder), *group),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes[group] = process
        return process

    async def _connect(self, name: str) -> None:
        path = self.folder / f"{name}.sock"
        self.meshes[name] = await connect(path, name="crowd", patience_s=PATIENCE_S)

    async def _disconnect(self, name: str) -> None:
        mesh = self.meshes.pop(name)
        with suppress(NodeUnreachable):
            await mesh.close()

    async def end(self) -> None:
        """Kill what is left."""
        for group in tuple(self.processes):
            self.processes[group].kill()
        for name in tuple(self.meshes):
            await self._disconnect(name)
        for process in self.processes.values():
            process.communicate()


@asynccontextmanager
async def crowd(
    count: int, more: str = "", hosts: tuple[str, ...] = ("127.0.0.1",)
) -> AsyncIterator[Crowd]:
    """``count`` nodes that are configured, none of them started; ``more`` is for their files.

    They listen at ``hosts``, one after the other.
    """
    folder = Path(tempfile.mkdtemp(prefix="crowd", dir="/tmp"))  # sockets: short
    try:
        made = _configured(folder, count, more, hosts)
        try:
            yield made
        finally:
            await made.end()
    finally:
        shutil.rmtree(folder)


def _configured(folder: Path, count: int, more: str, hosts: tuple[str, ...]) -> Crowd:
    realm = make_realm(folder)
    names = tuple(f"n{number}" for number in range(count))
    ports = dict(zip(names, _free_ports(count), strict=True))
    node_ids: dict[str, NodeId] = {}
    for number, (name, port) in enumerate(ports.items()):
        host = hosts[number % len(hosts)]
        files = realm.issue(name)
        node_ids[name] = realm.credentials(name).identity.node_id
        seed = "" if name == names[0] else f"{hosts[0]}:{ports[names[0]]}"
        (folder / f"{name}.yaml").write_text(
            f"version: 1\nname: {name}\nrealm: {realm.name}\n"
            f"listen: {{address: {host}, port: {port}}}\n"
            f"credentials:\n  certificate: {files.certificate}\n  key: {files.key}\n"
            f"  realm_ca: {files.realm_ca}\ncontrol_socket: {name}.sock\n"
            f"peers: [{seed}]\n{more}"
        )
    return Crowd(folder, realm, names, node_ids)


def _free_ports(count: int) -> list[int]:
    """UDP ports of the loopback interface that nobody uses now, all different."""
    with ExitStack() as held:
        ports = []
        for _ in range(count):
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
        return ports


def found_names(answer: dict[str, Any]) -> list[str]:
    """The names in an answer to ``find``."""
    return [one["name"] for one in answer["nodes"]]
