"""XOR distance (P. Maymounkov, D. Mazieres, "Kademlia", 2002, section 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maculaos.identity import NodeId

ID_BYTES: Final = 32
ID_BITS: Final = 8 * ID_BYTES


def distance(one: NodeId, other: NodeId) -> int:
    """How far apart two node ids are: their exclusive or, read as a big-endian number."""
    return int.from_bytes(one) ^ int.from_bytes(other)


def bucket_index(one: int, other: int) -> int:
    """The number of the bucket for ``other`` at ``one``, 0 to 255; -1 if they are the same.

    Bucket ``i`` holds what lies at a distance of ``2**i`` up to, but without, ``2**(i + 1)``.
    """
    return (one ^ other).bit_length() - 1
