"""Explicit multicast (Xcast, RFC 5058): a run names its targets, and splits where ways part.

One copy goes over each link that leads to some of the targets. Whoever gets it takes itself out
and sends the rest on in the same way, so that each target is in one copy at a time: there are no
loops and no duplicates on any graph. A run to a linked target alone names nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from maculaos.effects import Effect, Send
from maculaos.errors import RemoteProtocolError
from maculaos.node.routing import MAX_HOPS
from maculaos.wire.events import TARGET_SIZE
from maculaos.wire.registry import MESSAGE_STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.identity import NodeId
    from maculaos.node.counters import Counters
    from maculaos.node.links import Link, Links
    from maculaos.node.routing import Routing
    from maculaos.wire.events import Events

# So many targets in one copy; more go in several.
MAX_TARGETS: Final = 1000
# The largest run leaves room for the names of so many in its frame; any smaller one for all.
_ALWAYS_FIT: Final = 50
_LARGE: Final = 15 * 1024 * 1024


class Multicast:
    """The ways of runs from and over the node ``me``."""

    def __init__(self, me: NodeId, links: Links, routing: Routing, counters: Counters) -> None:
        self._me = me[:TARGET_SIZE]
        self._links = links
        self._routing = routing
        self._counters = counters
        self._by_prefix: dict[bytes, NodeId] = {}

    def meet(self, node: NodeId) -> None:
        """That member may be a target."""
        self._by_prefix[node[:TARGET_SIZE]] = node

    def forget(self, node: NodeId) -> None:
        """Nobody remembers that member any more."""
        self._by_prefix.pop(node[:TARGET_SIZE], None)

    def turn(self) -> None:
        """What is sent again from now on goes another way than what was before."""
        self._routing.turn()

    def split(self, nodes: Iterable[NodeId]) -> tuple[tuple[int, ...], tuple[NodeId, ...]]:
        """The links to those that are linked, and the others."""
        linked, far = [], []
        for node in nodes:
            link = self._links.to(node)
            if link is None:
                far.append(node)
            else:
                linked.append(link.number)
        return tuple(linked), tuple(far)

    def send(
        self,
        run: Events,
        linked: Iterable[int],
        far: Iterable[NodeId] = (),
        *,
        is_again: bool = False,
    ) -> list[Effect]:
        """A run of this node to targets behind these links, and to others; not to itself.

        A run that is sent again goes another way to the others than before ``turn``.
        """
        stream, count = MESSAGE_STREAMS[run.priority], len(run.payloads)
        copies: dict[int, list[bytes]] = {}
        for node in far:
            link = self._routing.next_hop(node)
            if link is not None and is_again:
                link = self._routing.detour(link, turns=False) or link
            if link is not None:
                copies.setdefault(link.number, []).append(node[:TARGET_SIZE])
        effects: list[Effect] = []
        for number in linked:
            targets = copies.get(number)
            if targets is None:
                effects.append(Send(number, run, stream))
                self._counters.events_out += count
            else:
                # One copy for the neighbour and for those behind it.
                held = self._links.get(number)
                targets += [held.peer.node_id[:TARGET_SIZE]] if held is not None else []
        for number, targets in copies.items():
            effects += self._copies(run, number, targets, MAX_HOPS)
        return effects

    def pass_on(self, link: Link, run: Events) -> tuple[bool, list[Effect]]:
        """A run with targets came over ``link``: whether this node is one, and copies for others.

        Raises ``RemoteProtocolError`` for one that no honest neighbour sends.
        """
        targets = run.targets
        if len(targets) % TARGET_SIZE or len(targets) > MAX_TARGETS * TARGET_SIZE:
            raise RemoteProtocolError(f"targets of {len(targets)} bytes")
        if targets == self._me:
            return True, []
        every = [targets[at : at + TARGET_SIZE] for at in range(0, len(targets), TARGET_SIZE)]
        others = dict.fromkeys(every)
        is_here = self._me in others
        others.pop(self._me, None)
        if run.hops <= 1:
            self._counters.events_dropped += len(run.payloads) if others else 0
            return is_here, []
        copies, lost = self._parted(link, others)
        self._counters.events_dropped += len(lost) * len(run.payloads)
        effects: list[Effect] = []
        for number, some in copies.items():
            effects += self._copies(run, number, some, run.hops - 1)
        self._counters.events_passed_on += len(effects) * len(run.payloads)
        return is_here, effects

    def _parted(
        self, came_over: Link, targets: Iterable[bytes]
    ) -> tuple[dict[int, list[bytes]], list[bytes]]:
        """Targets by the link that leads to them, and those that none does."""
        copies: dict[int, list[bytes]] = {}
        lost: list[bytes] = []
        for target in targets:
            onward = self._onward(came_over, target)
            if onward is None:
                lost.append(target)
            else:
                copies.setdefault(onward.number, []).append(target)
        # All in one copy: who names a thousand that are not there shall not make as many.
        aside = self._routing.detour(came_over) if lost else None
        if aside is None:
            return copies, lost
        copies.setdefault(aside.number, []).extend(lost)
        return copies, []

    def _onward(self, came_over: Link, target: bytes) -> Link | None:
        """The next link to a target, if one is known that the run did not come over.

        A node that has just begun knows few members: others know the way.
        """
        node = self._by_prefix.get(target)
        onward = None if node is None else self._routing.next_hop(node)
        return None if onward is came_over else onward

    def _copies(self, run: Events, link: int, targets: list[bytes], hops: int) -> list[Effect]:
        stream = MESSAGE_STREAMS[run.priority]
        effects: list[Effect] = []
        most = MAX_TARGETS
        if len(targets) > _ALWAYS_FIT and sum(map(len, run.payloads)) > _LARGE:
            most = _ALWAYS_FIT
        for start in range(0, len(targets), most):
            named = b"".join(targets[start : start + most])
            copy = msgspec.structs.replace(run, targets=named, hops=hops)
            effects.append(Send(link, copy, stream))
            self._counters.events_out += len(run.payloads)
        return effects
