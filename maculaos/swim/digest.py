"""The digest of a view: 256 numbers that differ where two views differ.

A member belongs to the bucket that the first byte of its node id names. The number of a bucket is
the exclusive or of the fingerprints of its members, and that of the view the exclusive or of all:
the order in which members came does not matter, and a change costs two operations. It detects
accidents; who forges rumours can forge digests too, and deceives nobody but itself.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from maculaos.swim.rumour import fingerprint

if TYPE_CHECKING:
    from maculaos.swim.rumour import Rumour

BUCKETS: Final = 256
_PACKED: Final = struct.Struct(f">{BUCKETS}Q")
DIGEST_SIZE: Final = _PACKED.size
ALL_BUCKETS: Final = bytes(range(BUCKETS))


class Digest:
    """The digest of one view; members that are gone count for nothing."""

    __slots__ = ("_buckets", "total")

    def __init__(self) -> None:
        self.total = 0
        self._buckets = [0] * BUCKETS

    def toggle(self, rumour: Rumour) -> None:
        """Put a member in, or take out what was put in."""
        number = fingerprint(rumour)
        self.total ^= number
        self._buckets[rumour.node_id[0]] ^= number

    def replace(self, before: Rumour, after: Rumour) -> None:
        """Another rumour holds of the same member."""
        change = fingerprint(before) ^ fingerprint(after)
        self.total ^= change
        self._buckets[after.node_id[0]] ^= change

    def packed(self) -> bytes:
        """The numbers of all buckets, 64 bits each, big-endian."""
        return _PACKED.pack(*self._buckets)

    def differing(self, packed: bytes) -> bytes:
        """The buckets, a byte each, in which another view differs; ``packed`` is its digest."""
        pairs = zip(self._buckets, _PACKED.unpack(packed), strict=True)
        return bytes(bucket for bucket, (own, other) in enumerate(pairs) if own != other)
