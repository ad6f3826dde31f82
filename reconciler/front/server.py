"""The front at work: listens where the routes say, switches when they change, says how it stands.

One event loop. A port that cannot be listened at is told, and tried again; the others go on.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.front.balance import Balance
from reconciler.front.bounds import Room
from reconciler.front.folder import Folder
from reconciler.front.routes import Place, claims
from reconciler.front.tcp import TcpPort
from reconciler.front.udp import UdpPort

if TYPE_CHECKING:
    from maculaos.host.clock import Clock
    from reconciler.front.routes import Route

# How often the folder is looked at, how often what is idle is looked for.
GLANCE_S: Final = 0.05
SWEEP_S: Final = 0.5
# A port that could not be had is tried again this often.
RETRY_S: Final = 1.0
FIRST_PLAIN_PORT: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """What one front is to do."""

    traffic: Path
    listen: str
    connections: int
    idle_s: float
    is_privileged: bool = False


@dataclass(slots=True)
class _Gate:
    """One place that is listened at, or ought to be."""

    app: str
    name: str
    place: Place
    balance: Balance
    port: TcpPort | UdpPort
    # Why it is not listened at; empty if it is.
    problem: str = "not opened yet"
    retry_at: float = 0.0
    # How long what is open may last once its instance is gone.
    linger_s: float = 0.0


class Front:
    """Forwards until it is cancelled."""

    def __init__(self, duties: Duties, clock: Clock) -> None:
        self._duties = duties
        self._clock = clock
        self._folder = Folder(duties.traffic)
        self._room = Room(most=duties.connections, idle_s=duties.idle_s)
        self._gates: dict[Place, _Gate] = {}
        # Closed, with connections that go on.
        self._closed: list[_Gate] = []
        self._contested: dict[str, str] = {}

    async def run(self) -> None:
        """Look, switch and sweep, on and on."""
        sweep_at = 0.0
        try:
            while True:
                await self.glance()
                now = self._clock.monotonic()
                if now >= sweep_at:
                    self._sweep(now)
                    sweep_at = now + SWEEP_S
                await asyncio.sleep(GLANCE_S)
        finally:
            for gate in (*self._gates.values(), *self._closed):
                await gate.port.close()
                gate.port.cut()

    async def glance(self, *, is_asked: bool = False) -> None:
        """Take up what the files say now."""
        now = self._clock.monotonic()
        if self._folder.glance(is_asked=is_asked):
            await self._switch(now)
        for gate in self._gates.values():
            if gate.problem and now >= gate.retry_at:
                self._open(gate, now)

    async def _switch(self, now: float) -> None:
        owners = {place: gate.app for place, gate in self._gates.items()}
        granted = claims(self._folder.routes, owners)
        for place, gate in [*self._gates.items()]:
            route = granted.get(place)
            if route is None or route.app != gate.app:
                await self._close(place, gate, now)
        for place, route in granted.items():
            self._take_up(place, route, now)
        self._contested = {
            f"{app} {route.name}": f"app {app}: port {route.name}: {place[1]} is of another app"
            for app, routes in self._folder.routes.items()
            for place, route in routes.items()
            if granted[place].app != app
        }

    def _take_up(self, place: Place, route: Route, now: float) -> None:
        gate = self._gates.get(place)
        if gate is None:
            balance = Balance()
            port: TcpPort | UdpPort
            if place[0] == "tcp":
                port = TcpPort(balance, self._room, self._clock)
            else:
                port = UdpPort(balance, self._clock)
            gate = _Gate(route.app, route.name, place, balance, port)
            self._gates[place] = gate
            self._open(gate, now)
        gate.name, gate.linger_s = route.name, route.linger_s
        gate.balance.switch(route.active, route.resting, route.linger_s, now)
        gate.port.switched()

    async def _close(self, place: Place, gate: _Gate, now: float) -> None:
        del self._gates[place]
        await gate.port.close()
        gate.balance.switch((), (), gate.linger_s, now)
        self._closed.append(gate)

    def _open(self, gate: _Gate, now: float) -> None:
        before, gate.retry_at = gate.problem, now + RETRY_S
        kind, number = gate.place
        try:
            if number < FIRST_PLAIN_PORT and not self._duties.is_privileged:
                raise PermissionError(errno.EACCES, "below 1024 takes front.privileged: true")
            gate.port.listen(_bound(self._duties.listen, number, kind))
        except OSError as error:
            gate.problem = self._why(error)
            if gate.problem != before:
                _say(f"app {gate.app}: port {gate.name}: {self._at(gate)}: {gate.problem}")
        else:
            gate.problem = ""
            _say(f"app {gate.app}: port {gate.name}: listening at {self._at(gate)}")

    def _why(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return "taken by another program"
        return error.strerror or str(error)

    def _at(self, gate: _Gate) -> str:
        listen = self._duties.listen
        host = f"[{listen}]" if ":" in listen else listen
        return f"{host}:{gate.place[1]}/{gate.place[0]}"

    def _sweep(self, now: float) -> None:
        for gate in (*self._gates.values(), *self._closed):
            gate.port.sweep(now)
        self._closed = [gate for gate in self._closed if gate.balance.open()]

    def report(self) -> dict[str, Any]:
        """How it stands, for who asks: see ``reconciler.front.standing``."""
        return {
            "seen": dict(self._folder.seen),
            "ports": [self._port(gate) for _, gate in sorted(self._gates.items())],
            "problems": [
                *(f"app {app}: {why}" for app, why in sorted(self._folder.problems.items())),
                *self._contested.values(),
            ],
            "connections": self._connections(),
            "refused": self._room.refused,
        }

    def _port(self, gate: _Gate) -> dict[str, Any]:
        return {"app": gate.app, "name": gate.name, "at": self._at(gate), "problem": gate.problem}

    def _connections(self) -> list[dict[str, Any]]:
        sums: dict[tuple[str, str], list[int]] = {}
        for gate in (*self._gates.values(), *self._closed):
            for instance, counts in gate.balance.counts().items():
                so_far = sums.setdefault((gate.app, instance), [0, 0, 0])
                sums[gate.app, instance] = [a + b for a, b in zip(so_far, counts, strict=True)]
        return [
            {"app": app, "instance": instance, "open": now, "total": total, "failed": failed}
            for (app, instance), (now, total, failed) in sorted(sums.items())
        ]


def _bound(address: str, port: int, kind: str) -> socket.socket:
    """A socket bound there, non-blocking; raises ``OSError``."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    of = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(family, of)
    try:
        made.setblocking(False)
        if kind == "tcp":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # :: stands for every address, those of IPv4 too.
            with suppress(OSError):
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((address, port))
        if kind == "tcp":
            made.listen()
    except OSError:
        made.close()
        raise
    return made


def _say(line: str) -> None:
    """A line for the log."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
