"""Ways to a node: over its control socket, or in this very process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from maculaos import __version__
from maculaos.client.connection import Connection
from maculaos.client.mesh import Mesh
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from types import TracebackType

    from maculaos.client.transport import Receiver, Transport

SOCKET_VARIABLE: Final = "MACULA_SOCKET"
_SOFTWARE: Final = f"maculaos/{__version__}"


class Connecting:
    """What ``connect`` returns: can be awaited, or used in ``async with``."""

    def __init__(self, way: Way, *, patience_s: float, reconnect: bool) -> None:
        self._way = way
        self._patience_s = patience_s
        self._reconnect = reconnect
        self._mesh: Mesh | None = None

    def __await__(self) -> Generator[Any, None, Mesh]:
        return self._begin().__await__()

    async def __aenter__(self) -> Mesh:
        self._mesh = await self
        return self._mesh

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._mesh is not None:
            await self._mesh.close()

    async def _begin(self) -> Mesh:
        mesh = Mesh(self._way.open, self._way.where, reconnect=self._reconnect)
        await mesh.begin(self._patience_s)
        return mesh


class Way:
    """How to come to a node again and again."""

    def __init__(self, path: Path | str, name: str) -> None:
        self.where = f"on {path}"
        self._path = path
        self._name = name

    async def open(self, receiver: Receiver) -> Transport:
        """A new connection to its control socket; raises ``NodeUnreachable``."""
        return await Connection.open(self._path, self._name, _SOFTWARE, receiver)


class InsideWay(Way):
    """A node in this process: it starts with the connection and ends with it."""

    def __init__(self, source: Any, name: str) -> None:
        super().__init__("", name)
        self.where = "in this process"
        self._source = source

    async def open(self, receiver: Receiver) -> Transport:
        """Start the node; raises ``UsageError`` for what keeps it from starting."""
        # Here, because a program that speaks with the node of its machine needs no QUIC.
        from maculaos.embedded import start

        return await start(self._source, self._name, receiver)


def connect(  # each is a word of its own to whoever connects
    socket_path: Path | str | None = None,
    *,
    name: str = "",
    patience_s: float = 0.0,
    reconnect: bool = True,
    embedded: Any = None,
) -> Connecting:
    """Connect to a node: await the result, or use it in ``async with``.

    The node is the one whose control socket is ``socket_path`` (else: ``MACULA_SOCKET``), or,
    with ``embedded``, a new one in this process; that is the path of its configuration, or its
    ``NodeSettings``. ``name`` tells the node's log who this is. For ``patience_s`` seconds a node
    that does not answer yet is tried again; without ``reconnect`` one that goes later is not
    looked for. Raises ``NodeUnreachable`` if no node answers, ``UsageError`` if none is named.
    """
    if embedded is not None:
        if socket_path is not None:
            raise UsageError("two nodes are named", "give a socket, or embedded, not both")
        way = InsideWay(embedded, name or "program")
        return Connecting(way, patience_s=0.0, reconnect=False)
    path = socket_path or os.environ.get(SOCKET_VARIABLE)
    if not path:
        raise UsageError("no node is named", f"give its socket, or set {SOCKET_VARIABLE}")
    return Connecting(Way(path, name or "program"), patience_s=patience_s, reconnect=reconnect)
