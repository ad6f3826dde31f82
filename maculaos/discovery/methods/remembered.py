"""Peers remembered on disk: where others were when this node was linked with them.

The file is this node's own (0600), replaced as a whole, and never more than a hint: a node that
lost it, or that finds garbage there, starts without it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from maculaos.discovery.candidates import LIFETIME_MAX_S, Hint
from maculaos.discovery.memory import MAX_SIZE, Memory, decode, encode
from maculaos.host.files import remove_leftovers, write_atomically
from maculaos.host.threads import in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.discovery.method import Sink, Surroundings
    from maculaos.settings import NodeSettings

# How long the last write may take when the node stops.
_CLOSE_S: Final = 1.5


class Method:
    """See ``DiscoveryMethod``."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._settings = around.settings.discovery.remembered
        self._path = file_of(around.settings)
        self._realm = around.identity.realm
        self._memory = Memory()
        self._written = b""
        self._learned = 0

    async def run(self, sink: Sink) -> None:
        """See ``DiscoveryMethod.run``; raises ``OSError`` if the file cannot be used."""
        self._written = await in_thread(_read, self._path)
        self._memory = decode(self._written, self._realm)
        sink.name(Hint(each, LIFETIME_MAX_S) for each in self._memory.addresses())
        try:
            while True:
                await self._wait()
                self._learn()
                await self._write()
                sink.name(Hint(each, LIFETIME_MAX_S) for each in self._memory.addresses())
        finally:
            self._learn()
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._write()

    async def _wait(self) -> None:
        """Until a link came up, and those that come with it; or until times are to be renewed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.interval_s):
                await self._around.linked.wait(self._learned)
        await self._around.clock.wait(self._settings.settle_s)

    def _learn(self) -> None:
        now, linked = self._around.clock.now(), self._around.linked
        for node_id, addresses in (*linked.since(self._learned), *linked.now()):
            self._memory.linked(node_id, addresses, now)
        self._learned = linked.count

    async def _write(self) -> None:
        content = encode(self._memory, self._realm)
        if content != self._written:
            await in_thread(write_atomically, self._path, content, mode=0o600)
            self._written = content


def file_of(settings: NodeSettings) -> Path:
    """Where the node with these settings remembers its peers."""
    socket = settings.control_socket
    return settings.discovery.remembered.file or socket.with_name(f"{socket.name}.peers")


def _read(path: Path) -> bytes:
    """What the file holds, and one byte more than it may at most; nothing if there is none.

    Clears away what a node that was killed while it wrote left beside it.
    """
    with suppress(OSError):
        remove_leftovers(path)
    try:
        with path.open("rb") as file:
            return file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        return b""
