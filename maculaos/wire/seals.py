"""Seals of envelopes: what is signed of one, in one form only.

``hops`` is left out: the nodes between change it. Who signs it puts a word and the realm in front,
so that no signature of one kind or realm is good for another.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maculaos.wire.table import Routed, Seal

# The number of letters that one envelope says were taken.
MAX_TAKEN: Final = 256
_NUMBERS: Final = struct.Struct(">QQQQQI")
_TAKEN: Final = struct.Struct(">Q")
_SIZE: Final = struct.Struct(">I")


def sealed_text(routed: Routed, seal: Seal) -> bytes:
    """What the signature is made over; each part of no fixed size comes behind its size.

    Raises ``struct.error`` for numbers below 0 or above 64 bits.
    """
    numbers = _NUMBERS.pack(
        seal.life, seal.number, seal.stamp_ms, seal.age_ms, seal.reader_life, len(seal.taken)
    )
    taken = b"".join(map(_TAKEN.pack, seal.taken))
    ends = routed.target, routed.source
    prefixed = b"".join(_SIZE.pack(len(part)) + part for part in (*ends, routed.frame))
    return numbers + taken + prefixed
