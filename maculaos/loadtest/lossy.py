"""Lossy paths: datagrams between nodes pass through here, and some are thrown away at random.

It needs no right and no tool of the system, and so works everywhere. Each node is dialled at a
proxy of its own, which hands datagrams on to the node and answers back; what one node sends to
another one thus crosses one proxy, whoever dialled. Order is kept, nothing is delayed.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

_HOST: Final = "127.0.0.1"
_SIZE: Final = 65_536
# Datagrams of one socket in one turn of the loop; others want their turn, too.
_TURN: Final = 64
# As many peers of one node as there may be nodes, and some that came back at another port.
_FLOWS_MAX: Final = 1024
_BUFFER: Final = 1 << 20

Address = tuple[str, int]


class Proxies:
    """A proxy for each node; ``nodes`` are their names and the ports that they listen at."""

    def __init__(self, nodes: Mapping[str, int], rng: random.Random) -> None:
        self._rng = rng
        self._shares = dict.fromkeys(nodes, 0.0)
        self._names = {port: name for name, port in nodes.items()}
        self._proxies = {name: _Proxy(self, name, port) for name, port in nodes.items()}
        #: How many datagrams were thrown away.
        self.lost = 0

    @property
    def ports(self) -> dict[str, int]:
        """Where each node is dialled."""
        return {name: proxy.port for name, proxy in self._proxies.items()}

    def lose(self, node: str, share: float) -> None:
        """Throw away that share (0 to 1) of what goes to and from ``node``."""
        self._shares[node] = share

    def passes(self, node: str, peer: Address) -> bool:
        """Whether the next datagram between the two gets through."""
        other = self._shares.get(self._names.get(peer[1], ""), 0.0)
        chance = (1 - self._shares[node]) * (1 - other)
        if chance >= 1 or self._rng.random() < chance:
            return True
        self.lost += 1
        return False

    def close(self) -> None:
        """Carry nothing any more."""
        for proxy in self._proxies.values():
            proxy.close()


class _Proxy:
    """Where one node is dialled; has a socket towards the node for each peer."""

    def __init__(self, owner: Proxies, name: str, node_port: int) -> None:
        self._owner = owner
        self._name = name
        self._node: Address = (_HOST, node_port)
        self._flows: dict[Address, socket.socket] = {}
        self._socket = _bound()
        self.port: int = self._socket.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._socket, _each, self._socket, self._inward)

    def close(self) -> None:
        """Close every socket."""
        loop = asyncio.get_running_loop()
        for each in (self._socket, *self._flows.values()):
            loop.remove_reader(each)
            each.close()

    def _inward(self, datagram: bytes, peer: Address) -> None:
        """From a peer to the node."""
        flow = self._flows.get(peer) or self._open(peer)
        if flow is not None and self._owner.passes(self._name, peer):
            _send(flow, datagram, self._node)

    def _outward(self, datagram: bytes, peer: Address) -> None:
        """From the node to a peer."""
        if self._owner.passes(self._name, peer):
            _send(self._socket, datagram, peer)

    def _open(self, peer: Address) -> socket.socket | None:
        if len(self._flows) >= _FLOWS_MAX:
            return None
        flow = self._flows[peer] = _bound()

        def back(datagram: bytes, sender: Address) -> None:
            if sender == self._node:
                self._outward(datagram, peer)

        asyncio.get_running_loop().add_reader(flow, _each, flow, back)
        return flow


def _bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    made.bind((_HOST, 0))
    return made


def _each(source: socket.socket, take: Callable[[bytes, Address], None]) -> None:
    """Hand over what has come, up to a bound."""
    # A peer that is gone shows as a refusal of what was sent to it before.
    with suppress(BlockingIOError, ConnectionRefusedError):
        for _ in range(_TURN):
            take(*source.recvfrom(_SIZE))


def _send(through: socket.socket, datagram: bytes, to: Address) -> None:
    # A full buffer loses datagrams, as in any network.
    with suppress(BlockingIOError, ConnectionRefusedError):
        through.sendto(datagram, to)
