"""Which methods are offered here: by this node's clients, who tell it, and by its neighbours.

What clients of this node offer is told to every neighbour, and published in the distributed table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.effects import Send
from maculaos.rpc.desks import Desks
from maculaos.rpc.providers import Providers
from maculaos.wire.messages import RpcRegister, RpcUnregister
from maculaos.wire.registry import StreamClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maculaos.effects import Effect
    from maculaos.node.directory import Directory
    from maculaos.node.links import Links
    from maculaos.settings import LimitSettings

_CONTROL: Final = StreamClass.CONTROL
# Names for one frame: at most 255 bytes each, so that a frame stays below a megabyte.
_NAMES_PER_FRAME: Final = 4000


class Offers:
    """Methods of clients and of peers; the tables are bounded by ``limits.subscriptions``."""

    def __init__(self, limits: LimitSettings, links: Links, directory: Directory) -> None:
        self._links = links
        self._directory = directory
        self.clients = Providers(limits.subscriptions)
        # No peer alone can take what the others need.
        self.peers = Providers(2 * limits.subscriptions, share=limits.subscriptions)
        self.desks = Desks()

    def register(self, client: int, methods: tuple[str, ...], concurrency: int) -> list[Effect]:
        """A client offers methods, and takes so many calls of each at once; 0: all that come.

        Peers hear of methods that are new here. Raises as ``Providers.add``.
        """
        fresh = self.clients.add(client, methods)
        self.desks.set_up(client, methods, concurrency)
        if fresh:
            self._directory.announce((), fresh)
        return self._tell(map(RpcRegister, _batches(fresh)))

    def unregister(self, client: int, methods: tuple[str, ...]) -> list[Effect]:
        """A client offers methods no more."""
        self.desks.clear(client, methods)
        return self._withdraw(self.clients.remove(client, methods))

    def drop_client(self, client: int) -> list[Effect]:
        """A client is gone: peers call it no more."""
        self.desks.drop(client)
        return self._withdraw(self.clients.drop(client))

    def to_new_peer(self) -> Iterator[RpcRegister]:
        """What a new peer needs to know."""
        return map(RpcRegister, _batches(self.clients.methods))

    def _withdraw(self, orphaned: tuple[str, ...]) -> list[Effect]:
        """Nobody here answers these any more."""
        if orphaned:
            self._directory.withdraw((), orphaned)
        return self._tell(map(RpcUnregister, _batches(orphaned)))

    def _tell(self, messages: Iterable[RpcRegister | RpcUnregister]) -> list[Effect]:
        """Say these to every neighbour, each in their order."""
        numbers = self._links.numbers
        return [Send(link, message, _CONTROL) for message in messages for link in numbers]


def _batches(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Names in portions that fit a frame."""
    everything = tuple(names)
    for start in range(0, len(everything), _NAMES_PER_FRAME):
        yield everything[start : start + _NAMES_PER_FRAME]
