"""Asking one probe once: a good answer, or why not. A probe that hangs costs its timeout.

Redirections are not followed and bodies not read; of an answer no more than its first
``MOST_HEAD_BYTES`` are taken. What the other end says gets into reasons only in part, and without
control characters.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jails.runtime import JailError
from maculaos.client import connect
from maculaos.errors import MaculaError
from maculaos.host.threads import in_thread
from reconciler.probes.judge import Result
from reconciler.probes.spec import ExecProbe, HttpProbe, MeshProbe, Probe, TcpProbe

if TYPE_CHECKING:
    from collections.abc import Callable

    from jails.runtime import Runtime
    from maculaos.host.clock import Clock

AT_ONCE: Final = 32
COMMANDS_AT_ONCE: Final = 8
MOST_HEAD_BYTES: Final = 8192
LONGEST_REASON: Final = 200
_LOOPBACK: Final = "127.0.0.1"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r?\n")


class _Bad(Exception):
    """An answer that is not good, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an app is asked."""

    jail: str
    # Its IP address, as this machine reaches it.
    address: str = _LOOPBACK
    # The control socket of its node.
    socket: Path | None = None
    # Where it listens itself, by the name of the port, and by the number that the machine has.
    ports: Mapping[str | int, int] = field(default_factory=lambda: MappingProxyType({}))

    def port_of(self, probe: HttpProbe | TcpProbe) -> int:
        """The port to ask at: the app's own, unless a host is named whose port it is.

        Raises ``_Bad`` for a name that is no port's.
        """
        said = probe.port
        if isinstance(said, int):
            return said if probe.host else self.ports.get(said, said)
        if said not in self.ports:
            raise _Bad(f"the app has no port {said}")
        return self.ports[said]


class Prober:
    """Asks probes, a bounded number at a time; to be closed."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._slots = asyncio.Semaphore(AT_ONCE)
        # Held by commands until they end, whoever still waits for them.
        self._commands = asyncio.Semaphore(COMMANDS_AT_ONCE)
        # Jails in which a command of ours has not ended yet.
        self._busy: set[str] = set()
        self._is_closed = False

    async def ask(self, probe: Probe, place: Place) -> Result:
        """The answer to ``probe``; never raises but when cancelled."""
        async with self._slots:
            reason = await self._answer(probe, place)
        return Result(self._clock.monotonic(), not reason, _plain(reason))

    def close(self) -> None:
        """Begin nothing more; commands under way end by their own timeout."""
        self._is_closed = True

    async def _answer(self, probe: Probe, place: Place) -> str:
        """Why the answer is not good; empty if it is."""
        try:
            async with asyncio.timeout(probe.timeout_s):
                await self._ask(probe, place)
        except TimeoutError:
            return f"no answer within {probe.timeout_s:g} s"
        except OSError as error:
            return error.strerror or str(error) or "cannot be reached"
        except (_Bad, JailError, MaculaError) as error:
            return str(error) or "no good answer"
        return ""

    async def _ask(self, probe: Probe, place: Place) -> None:
        match probe:
            case HttpProbe():
                await _ask_http(probe, place)
            case TcpProbe():
                await _ask_tcp(probe, place)
            case ExecProbe():
                await self._ask_exec(probe, place)
            case MeshProbe():
                await _ask_mesh(probe, place)

    async def _ask_exec(self, probe: ExecProbe, place: Place) -> None:
        if place.jail in self._busy:
            raise _Bad("the command before has not ended yet")
        self._busy.add(place.jail)
        try:
            await self._commands.acquire()
        except BaseException:
            self._busy.discard(place.jail)
            raise
        if self._is_closed:
            self._ended(place.jail)
            return
        loop = asyncio.get_running_loop()

        def command() -> None:
            try:
                self._runtime.exec(place.jail, probe.command, probe.timeout_s)
            finally:
                _tell(loop, self._ended, place.jail)

        await in_thread(command)

    def _ended(self, jail: str) -> None:
        self._busy.discard(jail)
        self._commands.release()


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[str], None], jail: str) -> None:
    # The loop may be gone before a command that hung ends.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(what, jail)


async def _ask_http(probe: HttpProbe, place: Place) -> None:
    address = probe.host or place.address
    port = place.port_of(probe)
    reader, writer = await asyncio.open_connection(address, port, limit=MOST_HEAD_BYTES)
    try:
        writer.write(_request(probe, address, port))
        await writer.drain()
        line = await _first_line(reader)
    finally:
        await _hang_up(writer)
    matched = _STATUS_LINE.fullmatch(line)
    if matched is None:
        raise _Bad("what answers is no web server")
    if int(matched[1]) != probe.status:
        raise _Bad(f"answered {int(matched[1])}, not {probe.status}")


def _request(probe: HttpProbe, address: str, port: int) -> bytes:
    host = f"[{address}]" if ":" in address else address
    given = {name.lower() for name in probe.headers}
    own = {"Host": f"{host}:{port}", "User-Agent": "macula-reconciler", "Accept": "*/*"}
    headers = {name: value for name, value in own.items() if name.lower() not in given}
    lines = [f"GET {probe.path} HTTP/1.1", *_lines(headers), *_lines(probe.headers)]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("ascii")


def _lines(headers: dict[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


async def _first_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        raise _Bad("the connection ended without an answer") from error
    except asyncio.LimitOverrunError as error:
        raise _Bad("what answers is no web server") from error


async def _ask_tcp(probe: TcpProbe, place: Place) -> None:
    _, writer = await asyncio.open_connection(probe.host or place.address, place.port_of(probe))
    await _hang_up(writer)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """At once, whatever the other end still says."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def _ask_mesh(probe: MeshProbe, place: Place) -> None:
    if place.socket is None:
        raise _Bad("the app has no node to ask")
    async with connect(place.socket, name="reconciler", reconnect=False) as mesh:
        if probe.method is not None:
            await mesh.call(probe.method, None, probe.timeout_s)
            return
        members = await mesh.members()
    healths = [each.get("health") for each in members if each.get("name") == probe.member]
    if not healths:
        raise _Bad(f"{probe.member} is not known in the mesh")
    if "alive" not in healths:
        raise _Bad(f"{probe.member} is {healths[0]}")


def _plain(reason: str) -> str:
    """One line, without anything that a terminal obeys."""
    line = "".join(letter if letter.isprintable() else " " for letter in reason)
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 3]}..."
