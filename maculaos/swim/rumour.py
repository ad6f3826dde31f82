"""What one node says of another, and which of two sayings is believed.

One total order replaces all the special cases: the higher incarnation wins, and at equal
incarnation the worse news wins (SWIM, section 4.2). So believing commutes, and nodes that heard
the same rumours in any order, any number of times, hold the same view.

Only the node itself raises its incarnation: to refute bad news, and to announce what is new about
itself.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from maculaos.identity import NodeId

# Nobody gets here in earnest: at a thousand refutations a second it takes 8,900 years.
MAX_INCARNATION: Final = 2**48
# What a node may tell of itself beside its name and addresses, in bytes.
MAX_METADATA_SIZE: Final = 512
# The accuser where there is none: good news, and bad news that nobody answers for.
NOBODY: Final = NodeId(b"")
# Numbers, lengths and the node id of a rumour as the wire carries it, in bytes; never less.
_OVERHEAD: Final = 60


class Health(IntEnum):
    """How a member is doing; worse news compares greater."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3

    @property
    def is_gone(self) -> bool:
        """Whether the member takes no part any more, until it says otherwise."""
        return self >= Health.DEAD


class Rumour(NamedTuple):
    """A saying about ``node_id``; the order of the fields is the order of precedence.

    Addresses, name and metadata only decide between sayings that no honest node makes both. The
    accuser is who says it, of a suspect or a dead member; it is no part of what is said. A tuple,
    because rumours are compared by the million.
    """

    incarnation: int
    health: Health
    addresses: tuple[str, ...]
    name: str
    node_id: NodeId
    metadata: bytes = b""
    accuser: NodeId = NOBODY

    @property
    def said(self) -> tuple[object, ...]:
        """What is said, whoever says it."""
        return self[:6]

    @property
    def size(self) -> int:
        """An upper bound of the bytes it takes on the wire."""
        texts = sum(len(address) + 3 for address in self.addresses) + len(self.name)
        return _OVERHEAD + texts + len(self.metadata) + len(self.accuser)


def beats(heard: Rumour, held: Rumour) -> bool:
    """Whether ``heard``, about the same node, says more than what is held."""
    return heard[:6] > held[:6]


def believe(held: Rumour, heard: Rumour) -> Rumour:
    """The one of two rumours about the same node that holds from now on."""
    return heard if beats(heard, held) else held


@lru_cache(maxsize=1 << 15)
def fingerprint(rumour: Rumour) -> int:
    """A number of 64 bits for who the member is and what it says of itself; 0 if it is gone.

    A suspect has the fingerprint that it has alive: whether a suspicion comes to something shows
    soon enough, and two views that differ in nothing else need no repair. The first 8 bytes of
    BLAKE2b (RFC 7693) with a digest of 8 bytes, over what docs/protocol.md says.
    """
    if rumour.health >= Health.DEAD:
        return 0
    words = (rumour.name, *rumour.addresses)
    text = "\n".join(words).encode()
    number = rumour.incarnation.to_bytes(8, "big")
    said = b"".join((rumour.node_id, number, text, b"\n\n", rumour.metadata))
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big")
