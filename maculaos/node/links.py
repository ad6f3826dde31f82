"""The links of this node, one for each linked peer, and how two of one pair settle.

Both ends decide alike without talking: of two simultaneous dials the one by the smaller node id
stays. A link to another life of the peer, or one that comes long after the other, is no
simultaneous dial: the peer started again, or lost the old one. Then the newer wins, and nobody is
locked out until a timeout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maculaos.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from maculaos.identity import NodeId

# A link that was replaced is read for so long: its peer may have learnt of the other one later,
# and what either end said before is on its way.
GRACE_S: Final = 1.0
# Replaced links that are remembered; who dials again and again does not make a node hold more.
_REPLACED_MAX: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """What the shell knows of a new link besides who the peer is."""

    # What the peer advertises in its handshake.
    addresses: tuple[str, ...]
    is_outbound: bool
    # What this node dialled to get the link; None if the peer dialled.
    dialled: str | None = None
    # A number that the peer draws at every start; 0 if it did not say.
    life: int = 0


@dataclass(slots=True, eq=False)
class Link:
    """One established link; ``since`` is in monotonic seconds."""

    number: int
    peer: Identity
    is_outbound: bool
    since: float
    life: int = 0
    # What this node dialled, or would dial, to get this link.
    addresses: dict[str, None] = field(default_factory=dict)
    # How often this peer complained of frames of ours.
    complaints: int = 0


class Links:
    """Links by number and by peer; ``simultaneous_s`` is how long two dials may overlap."""

    def __init__(self, me: NodeId, simultaneous_s: float) -> None:
        self._me = me
        self._simultaneous_s = simultaneous_s
        self._by_number: dict[int, Link] = {}
        self._by_peer: dict[NodeId, Link] = {}
        # The peers of links that are closed because another one took over, by number.
        self._replaced: dict[int, NodeId] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Link]:
        return iter(self._by_number.values())

    @property
    def numbers(self) -> Collection[int]:
        """The numbers of all links."""
        return self._by_number.keys()

    def get(self, number: int) -> Link | None:
        """The link of that number, if it is up."""
        return self._by_number.get(number)

    def to(self, node_id: NodeId) -> Link | None:
        """The link to that peer, if there is one."""
        return self._by_peer.get(node_id)

    def add(self, link: Link) -> None:
        """Keep a link; its peer must have none."""
        self._by_number[link.number] = link
        self._by_peer[link.peer.node_id] = link

    def remove(self, link: Link) -> None:
        """Forget a link."""
        self._by_number.pop(link.number, None)
        if self._by_peer.get(link.peer.node_id) is link:
            del self._by_peer[link.peer.node_id]

    def replaced(self, link: Link) -> None:
        """Another link to its peer took the place of that one, which is about to end."""
        self._replaced[link.number] = link.peer.node_id
        if len(self._replaced) > _REPLACED_MAX:
            del self._replaced[next(iter(self._replaced))]

    def successor(self, number: int) -> Link | None:
        """The link that took the place of that one."""
        peer = self._replaced.get(number)
        return None if peer is None else self._by_peer.get(peer)

    def ended(self, number: int) -> None:
        """That link is over: nothing more comes over it, if it was replaced."""
        self._replaced.pop(number, None)

    def loser(self, old: Link, new: Link) -> Link:
        """Which of two links to one peer is to be closed."""
        is_same_dialler = old.is_outbound == new.is_outbound
        if is_same_dialler or old.life != new.life or new.since - old.since > self._simultaneous_s:
            return old
        keeps_outbound = self._me < new.peer.node_id
        return old if new.is_outbound == keeps_outbound else new
