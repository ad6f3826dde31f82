"""Drivers, brokers and daemons as processes: started, spoken to by lines of JSON, and ended."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT: Final = Path(__file__).resolve().parents[2]
#: The interpreter of peers that have an environment of their own: ``make bench-peers``.
PEERS_PYTHON: Final = ROOT / "var" / "peers" / "bin" / "python"
OUR_PYTHON: Final = Path(sys.executable)
_PATIENCE_S: Final = 90.0
_END_S: Final = 10.0
# Below those that systems give to whoever wants any.
_PORTS: Final = range(20_000, 30_000)
# What a process may say in one line.
_LINE_BYTES: Final = 1 << 20


class PartFailed(RuntimeError):
    """A process ended, or said nothing in time; the text has its last words."""


class Part:
    """One process of a measurement."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """Seconds of the CPU that it took until now; raises ``PartFailed``."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.NoSuchProcess:
            raise self.failed("ended") from None
        return float(times.user + times.system)

    async def hear(self) -> dict[str, Any]:
        """The next line that it says; raises ``PartFailed``."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                line = await self._out.readline()
        except TimeoutError:
            raise self.failed("says nothing") from None
        if not line:
            raise self.failed("ended")
        said: dict[str, Any] = json.loads(line)
        return said

    def failed(self, how: str) -> PartFailed:
        """What to raise of it: how it failed, and its last words."""
        return PartFailed(f"{self.name} {how}\n{self._log.read_text(errors='replace')[-3000:]}")

    def tell(self, *words: object) -> None:
        """Give it a line."""
        writer = self._process.stdin
        if writer is not None:
            writer.write((" ".join(map(str, words)) + "\n").encode())

    async def end(self) -> None:
        """Stop it, by force if it does not listen."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    @property
    def _out(self) -> asyncio.StreamReader:
        out = self._process.stdout
        if out is None:
            raise PartFailed(f"{self.name} has no output")
        return out


@asynccontextmanager
async def part(name: str, command: list[str], folder: Path) -> AsyncIterator[Part]:
    """Run ``command`` until the block ends; its errors go to a file in ``folder``."""
    log = folder / f"{name}.log"
    paths = [str(ROOT), str(ROOT / "benchmarks")]
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=_LINE_BYTES,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
    running = Part(name, process, log)
    try:
        yield running
    finally:
        await running.end()


def free_ports(count: int, kind: socket.SocketKind = socket.SOCK_DGRAM) -> list[int]:
    """Ports of this machine that nobody listens on now, nor gets from the system as any free one.

    Raises ``RuntimeError`` if there are not so many.
    """
    tried = random.Random().sample(_PORTS, len(_PORTS))  # noqa: S311  # no secret
    with ExitStack() as held:
        found = []
        for port in tried:
            taken = held.enter_context(socket.socket(socket.AF_INET, kind))
            with suppress(OSError):
                taken.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"no {count} free ports")
