"""A node inside of an application: the same daemon, in the application's own process and loop.

Its control socket listens as ever, so that the commands of operators reach it. It leaves the
signals of the process alone, and writes its log to the logger ``maculaos.node``. Who uses it goes
through ``maculaos.client``: ``connect(embedded=...)``.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maculaos.daemon import Daemon
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.host.logbook import Logbook

if TYPE_CHECKING:
    from maculaos.control.inside import Inside, Program
    from maculaos.settings import NodeSettings
    from maculaos.wire.messages import HandshakeAck, Message

_LOG: Final = logging.getLogger("maculaos.node")


class _LogLines:
    """Lines of the node's log as records of the application's; the level is in the line."""

    def write(self, line: str, /) -> None:
        """Take one line."""
        _stamp, level, said = line.rstrip("\n").split(" ", 2)
        _LOG.log(logging.getLevelName(level.upper()), "%s", said)

    def flush(self) -> None:
        """Nothing waits here."""


class EmbeddedNode:
    """A running node, as one program speaks with it: see ``maculaos.client.transport``."""

    def __init__(self, daemon: Daemon, running: asyncio.Task[None]) -> None:
        self.ack: HandshakeAck
        self._daemon = daemon
        self._running = running
        self._inside: Inside

    @property
    def is_full(self) -> bool:
        """See ``Transport.is_full``."""
        return self._inside.is_full

    def enter(self, program: Program, name: str) -> None:
        """Let the program in."""
        self.ack, self._inside = self._daemon.enter(program, name)

    def send(self, message: Message) -> None:
        """See ``Transport.send``; nothing is encoded, the node gets the message itself."""
        self._daemon.client_message(self._inside.number, message)

    async def close(self) -> None:
        """Let the node leave the mesh and stop; raises what a bug in it raised."""
        self._inside.close()
        self._daemon.stop("its program ends")
        await self._running


async def start(source: Path | str | NodeSettings, name: str, program: Program) -> EmbeddedNode:
    """Start a node and let the program in.

    ``source`` is its configuration, or the path of the file. Raises ``UsageError`` or
    ``InvalidDocument`` for what keeps it from starting.
    """
    clock = SystemClock()
    settings = Path(source) if isinstance(source, str) else source
    daemon = Daemon(settings, Logbook(_LogLines(), clock), clock, SystemEntropy())
    running = asyncio.create_task(daemon.run(is_embedded=True))
    ready = asyncio.create_task(daemon.ready.wait())
    try:
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
            raise UsageError("the node stopped as soon as it started", "look at its log")
        node = EmbeddedNode(daemon, running)
        node.enter(program, name)
    except BaseException:
        running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running
        raise
    finally:
        ready.cancel()
    return node
