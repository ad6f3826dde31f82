"""One ring: the members of a realm in the order of a hash, each beside its neighbours.

It knows nothing of other rings, of links, or of who can be reached.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.identity import NodeId


# Cached so that many nodes of one process share what they all know.
@lru_cache(maxsize=1 << 15)
def position(ring: int, realm: str, node_id: NodeId) -> bytes:
    """Where a node stands on a ring: SHA-256 of ring (one byte), realm (UTF-8) and node id."""
    return hashlib.sha256(bytes((ring,)) + realm.encode() + node_id).digest()


class Ring:
    """The ring of one number; adding and removing is a binary search and one move in memory."""

    __slots__ = ("_nodes", "_number", "_positions", "_realm")

    def __init__(self, number: int, realm: str) -> None:
        self._number = number
        self._realm = realm
        self._positions: list[bytes] = []
        self._nodes: list[NodeId] = []

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._nodes)

    def __contains__(self, node_id: NodeId) -> bool:
        index = bisect_left(self._positions, self.place(node_id))
        return index < len(self._nodes) and self._nodes[index] == node_id

    def place(self, node_id: NodeId) -> bytes:
        """Where that node stands, or would stand."""
        return position(self._number, self._realm, node_id)

    def fill(self, nodes: list[NodeId]) -> None:
        """Hold exactly ``nodes``, each of which is named once."""
        self._nodes = sorted(nodes, key=self.place)
        self._positions = [self.place(node_id) for node_id in self._nodes]

    def add(self, node_id: NodeId) -> tuple[NodeId, NodeId]:
        """Take in a node that is not here; return those it now stands between."""
        place = self.place(node_id)
        index = bisect_left(self._positions, place)
        self._positions.insert(index, place)
        self._nodes.insert(index, node_id)
        return self._beside(index)

    def remove(self, node_id: NodeId) -> tuple[NodeId, NodeId]:
        """Drop a node that is here; return those it stood between."""
        index = self._index(node_id)
        between = self._beside(index)
        del self._positions[index]
        del self._nodes[index]
        return between

    def around(self, node_id: NodeId) -> tuple[NodeId, NodeId]:
        """The predecessor and the successor of a node that is here."""
        return self._beside(self._index(node_id))

    def walk(self, start: NodeId, step: int) -> Iterator[NodeId]:
        """The others, from beside ``start`` once around; ``step`` is 1 or -1."""
        index, count = self._index(start), len(self._nodes)
        for turn in range(1, count):
            yield self._nodes[(index + step * turn) % count]

    def _index(self, node_id: NodeId) -> int:
        return bisect_left(self._positions, self.place(node_id))

    def _beside(self, index: int) -> tuple[NodeId, NodeId]:
        nodes = self._nodes
        return nodes[index - 1], nodes[(index + 1) % len(nodes)]
