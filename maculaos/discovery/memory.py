"""The peers worth remembering over a restart, and the form in which a file keeps them.

The last 64 that this node was linked with, each with its addresses and the time of its last link.
What a file says is a hint like any other: whatever is wrong in it is left out, and costs nothing
but itself. No file is read or written here.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final

from maculaos.discovery.candidates import dialable
from maculaos.identity import NODE_ID_SIZE, NodeId

MAX_PEERS: Final = 64
MAX_ADDRESSES: Final = 9
# More than 64 peers with addresses of full length take; what is longer is none of ours.
MAX_SIZE: Final = 512 * 1024
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Remembered:
    """One peer; ``linked_at`` is when it was linked last, in seconds since the epoch."""

    node_id: NodeId
    addresses: tuple[str, ...]
    linked_at: float


class Memory:
    """Peers by the time of their last link; the one that is longest ago makes room."""

    def __init__(self, peers: tuple[Remembered, ...] = ()) -> None:
        self._peers: dict[NodeId, Remembered] = {}
        for peer in sorted(peers, key=lambda each: each.linked_at):
            self.linked(peer.node_id, peer.addresses, peer.linked_at)

    def linked(self, node_id: NodeId, addresses: tuple[str, ...], now: float) -> None:
        """A link to that peer is up; ``addresses`` are where it may be found again."""
        usable = dict.fromkeys(filter(None, map(dialable, addresses)))
        if not usable:
            return
        # Moved to the end: the order is that of the last links, whatever clocks have said.
        self._peers.pop(node_id, None)
        self._peers[node_id] = Remembered(node_id, tuple(usable)[:MAX_ADDRESSES], now)
        if len(self._peers) > MAX_PEERS:
            del self._peers[next(iter(self._peers))]

    def latest_first(self) -> tuple[Remembered, ...]:
        """Every peer, the one that was linked last before the others."""
        return tuple(reversed(self._peers.values()))

    def addresses(self) -> tuple[str, ...]:
        """Where to look: first one address of each peer, then the others of each."""
        peers = self.latest_first()
        turns = range(MAX_ADDRESSES)
        found = (p.addresses[turn] for turn in turns for p in peers if turn < len(p.addresses))
        return tuple(dict.fromkeys(found))


def encode(memory: Memory, realm: str) -> bytes:
    """``memory`` as a file keeps it."""
    peers = [
        {
            "node_id": peer.node_id.hex(),
            "addresses": list(peer.addresses),
            "linked_at": round(peer.linked_at, 3),
        }
        for peer in memory.latest_first()
    ]
    said = {"version": _VERSION, "realm": realm, "peers": peers}
    return (json.dumps(said, indent=1) + "\n").encode()


def decode(content: bytes, realm: str) -> Memory:
    """What can be believed of ``content``; an empty memory if that is nothing."""
    if len(content) > MAX_SIZE:
        return Memory()
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return Memory()
    if not isinstance(said, dict) or said.get("version") != _VERSION or said.get("realm") != realm:
        return Memory()
    peers = said.get("peers")
    # The file has the latest first: of two that were linked at one moment, too.
    found = map(_peer, reversed(peers)) if isinstance(peers, list) else ()
    return Memory(tuple(peer for peer in found if peer is not None))


def _peer(said: Any) -> Remembered | None:
    try:
        known = NodeId(bytes.fromhex(said["node_id"]))
        addresses, moment = said["addresses"], float(said["linked_at"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    # A moment that is no number compares with nothing, and would spoil the order.
    if len(known) != NODE_ID_SIZE or math.isnan(moment) or not isinstance(addresses, list):
        return None
    written = tuple(each for each in addresses if isinstance(each, str))
    return Remembered(known, written, moment)
