"""A fleet: nodes of a throwaway realm on the loopback interface, each in a process of its own.

Everything lies in one private folder that goes at the end. Nodes run with the shipped settings.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maculaos.client import NodeUnreachable, connect
from maculaos.errors import UsageError
from maculaos.host.entropy import SystemEntropy
from maculaos.host.programs import Launch, Program, start_at_gate
from maculaos.loadtest.lossy import Proxies
from maculaos.security.authority import Request, create_realm, identity_files, issue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from maculaos.host.clock import Clock
    from maculaos.loadtest.scenario import Scenario

REALM: Final = "loadtest"
START_DEADLINE_S: Final = 60.0
_END_DEADLINE_S: Final = 5.0
_POLL_S: Final = 0.05
# The nodes that all others look for first.
_SEEDS: Final = 3
_HOST: Final = "127.0.0.1"


class Fleet:
    """Nodes by name; make one with ``fleet``."""

    def __init__(self, folder: Path, scenario: Scenario, clock: Clock) -> None:
        self._folder = folder
        self._scenario = scenario
        self._names = scenario.names
        self._clock = clock
        self._proxies: Proxies | None = None
        self._running: dict[str, Program] = {}
        self._fallen: dict[str, str] = {}
        # Whoever holds the writing end lives; when it is gone, the nodes end by themselves.
        self._alive, self._life = os.pipe()

    @property
    def sockets(self) -> tuple[Path, ...]:
        """See ``Site``."""
        return tuple(self._folder / f"{name}.sock" for name in self._names)

    def prepare(self) -> None:
        """Make the realm, the identities and the configurations."""
        now, entropy = self._clock.now(), SystemEntropy()
        authority, identities = self._folder / "authority", self._folder / "identities"
        create_realm(authority, REALM, now=now, entropy=entropy)
        ports = dialled = dict(zip(self._names, _free_ports(len(self._names)), strict=True))
        if self._scenario.has_loss:
            rng = random.Random(self._scenario.seed)  # noqa: S311  # a seed replays the losses
            self._proxies = Proxies(ports, rng)
            dialled = self._proxies.ports
        for name in self._names:
            issue(authority, identities, Request(name=name, days=2), now=now, entropy=entropy)
            text = self._configuration(name, ports[name], dialled)
            (self._folder / f"{name}.yaml").write_text(text)

    def _configuration(self, name: str, port: int, dialled: Mapping[str, int]) -> str:
        files = identity_files(self._folder / "identities", name)
        seeds = [dialled[each] for each in self._names[:_SEEDS] if each != name]
        peers = ", ".join(f"{_HOST}:{each}" for each in seeds)
        return (
            f"version: 1\nname: {name}\nrealm: {REALM}\n"
            f"listen: {{address: {_HOST}, port: {port}, "
            f'advertise: ["{_HOST}:{dialled[name]}"]}}\n'
            f"credentials:\n  certificate: {files.certificate}\n  key: {files.key}\n"
            f"  realm_ca: {files.realm_ca}\ncontrol_socket: {name}.sock\npeers: [{peers}]\n"
            "limits: {links_per_source: 10000, clients: 10000}\n"
        )

    async def start_all(self) -> None:
        """Start every node; returns when each knows all of them alive."""
        for name in self._names:
            self._launch(name)
        for name in self._names:
            await self._wait_ready(name, len(self._names))

    async def start(self, node: str) -> None:
        """See ``Site``."""
        self._launch(node)

    async def kill(self, node: str) -> None:
        """See ``Site``."""
        self.fallen()
        if program := self._running.pop(node, None):
            program.signal_group(signal.SIGKILL)
            await self._ended(program)

    def pause(self, node: str) -> None:
        """See ``Site``."""
        self._signal(node, signal.SIGSTOP)

    def resume(self, node: str) -> None:
        """See ``Site``."""
        self._signal(node, signal.SIGCONT)

    def lose(self, node: str, share: float) -> None:
        """See ``Site``."""
        if self._proxies is not None:
            self._proxies.lose(node, share)

    def fallen(self) -> dict[str, str]:
        """See ``Site``."""
        # Who ended is reaped, and asked and signalled no more: its process id is free.
        for name in [each for each, program in self._running.items() if program.has_ended()]:
            status = self._running.pop(name).reap()
            how = f"exit status {status}" if status >= 0 else f"signal {-status}"
            self._fallen.setdefault(name, f"{how}; {self._last_words(name)}")
        return dict(self._fallen)

    async def close(self) -> None:
        """End every node, by force: nobody is left who could miss it."""
        os.close(self._life)
        os.close(self._alive)
        self.fallen()
        for program in self._running.values():
            program.signal_group(signal.SIGKILL)
        for program in self._running.values():
            await self._ended(program)
        self._running.clear()
        if self._proxies is not None:
            self._proxies.close()

    def _signal(self, node: str, number: int) -> None:
        self.fallen()
        if program := self._running.get(node):
            program.signal_group(number)

    def _launch(self, name: str) -> None:
        log = os.open(self._folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        config = str(self._folder / f"{name}.yaml")
        argv = (sys.executable, "-m", "maculaos.loadtest.member", config, str(self._alive))
        launch = Launch(
            command=argv,
            environment=dict(os.environ),
            directory=self._folder,
            output=log,
            inherited=(self._alive,),
        )
        try:
            self._running[name] = program = start_at_gate(launch)
            program.release()
        finally:
            os.close(log)

    async def _wait_ready(self, name: str, members: int) -> None:
        """Wait until the node knows so many members alive; raises ``UsageError``."""
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                while not await self._knows(name, members):
                    for one, what in self.fallen().items():
                        raise UsageError(f"{one} did not start: {what}", "")
                    await self._clock.wait(_POLL_S)
        except TimeoutError:
            what = f"{name} does not know all nodes within {START_DEADLINE_S:g} s"
            raise UsageError(what, "the machine may be too busy: take fewer nodes") from None

    async def _knows(self, name: str, members: int) -> bool:
        with suppress(NodeUnreachable):
            async with connect(self._folder / f"{name}.sock", name="loadtest") as mesh:
                known = await mesh.members()
                return [each.get("health") for each in known] == ["alive"] * members
        return False

    async def _ended(self, program: Program) -> None:
        async with asyncio.timeout(_END_DEADLINE_S):
            while not program.has_ended():
                await self._clock.wait(_POLL_S / 10)
        program.reap()

    def _last_words(self, name: str) -> str:
        lines = (self._folder / f"{name}.log").read_text(errors="replace").splitlines()
        return f"its last words: {lines[-1]}" if lines else "it said nothing"


@asynccontextmanager
async def fleet(scenario: Scenario, clock: Clock) -> AsyncIterator[Fleet]:
    """A running fleet, and an end for everything of it."""
    # Paths of sockets are short, so not every folder for temporary files will do.
    folder = Path(tempfile.mkdtemp(prefix="macula-load-", dir="/tmp"))
    made = Fleet(folder, scenario, clock)
    try:
        made.prepare()
        await made.start_all()
        yield made
    finally:
        try:
            await made.close()
        finally:
            # Whoever is told twice to end does not wait for nodes, but keys go all the same.
            shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """UDP ports of the loopback interface that nobody uses now."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((_HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
