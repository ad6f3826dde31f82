"""XOR distance (P. Maymounkov, D. Mazieres, "Kademlia", 2002, section 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maculaos.identity import NodeId


def distance(one: NodeId, other: NodeId) -> int:
    """How far apart two node ids are: their exclusive or, read as a big-endian number."""
    return int.from_bytes(one) ^ int.from_bytes(other)
