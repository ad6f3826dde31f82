"""Whom to dial: the addresses an operator named, and members that somebody here wants.

A named address is dialled, with growing waits and for ever, while nobody is known to live there.
Once a link showed whose it is, the address rests as long as that member is alive: the topology
says whom to be linked with. A node without any link dials all its named addresses again.

A member is dialled once each time it is wanted, all its addresses side by side; the larger node id
waits a moment, because the smaller one most likely dials too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.discovery.dials import Dials
from maculaos.discovery.races import STAGGER_S, Races
from maculaos.discovery.static import StaticPeers
from maculaos.effects import Dial, Effect
from maculaos.wire.messages import Digest

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from maculaos.identity import NodeId
    from maculaos.node.links import Link
    from maculaos.settings import NodeSettings
    from maculaos.swim.members import Members
    from maculaos.swim.rumour import Rumour

# Configured and joined addresses.
_NAMED_ROOM: Final = 2000
# Dials whose outcome nobody reports are given up after so many handshake timeouts.
_PATIENCE: Final = 2
# So many addresses of a list are dialled at the same time.
_AT_ONCE: Final = 3


class Dialler:
    """The dials of one node, ``me``; times are monotonic seconds."""

    def __init__(
        self, me: Rumour, members: Members, settings: NodeSettings, rng: random.Random
    ) -> None:
        self._me = me
        self._members = members
        self._link_limit = settings.limits.links
        self._pending_limit = settings.limits.pending_handshakes
        self._head_start_s = 2 * settings.link.reconnect_base_s
        self._named = Dials(settings.link, _NAMED_ROOM, rng)
        self._races = Races(_PATIENCE * settings.link.handshake_timeout_s)
        self._static = StaticPeers()
        self._own_addresses = dict.fromkeys(me.addresses)
        # Where somebody was linked: who dials there again most likely has a ticket.
        self._met: dict[str, None] = {}
        # Who was linked last at a named address.
        self._resident: dict[str, NodeId] = {}

    def configure(self, peers: Iterable[str], now: float) -> None:
        """The configured addresses are these now."""
        self._follow(self._static.configure(peers), now)

    def discovered(self, source: str, addresses: Iterable[str], now: float) -> None:
        """These are the addresses that ``source`` finds now, in place of what it found before."""
        self._follow(self._static.find(source, addresses), now)

    def join(self, address: str, now: float) -> None:
        """An operator names one more; raises ``TooManyPeers``."""
        self._static.join(address)
        self._want(address, now)

    def moved(self, addresses: Iterable[str]) -> None:
        """This node is to be dialled at these addresses now."""
        self._own_addresses = dict.fromkeys(addresses)
        for address in self._own_addresses:
            self._named.unwant(address)

    def not_a_peer(self, dialled: str | None, now: float) -> tuple[NodeId, ...]:
        """This node itself answered at that address: who is not to be reached because of that."""
        if dialled is None:
            return ()
        self._own_addresses[dialled] = None
        self._named.unwant(dialled)
        return self._races.failed(dialled, now)

    def pursue(
        self, node_id: NodeId, addresses: Iterable[str], now: float, *, is_urgent: bool = False
    ) -> bool:
        """Dial a member once; whether it has any address. ``failed`` tells if none answers."""
        foreign = [each for each in addresses if each not in self._own_addresses]
        if not foreign:
            return False
        waits = not is_urgent and self._me.node_id > node_id
        self._races.start(node_id, foreign, now + self._head_start_s if waits else now)
        return True

    def linked(self, link: Link, dialled: str | None, now: float) -> tuple[NodeId, ...]:
        """That link is up; who is missed at the address that was dialled for it."""
        self._races.end(link.peer.node_id)
        if dialled is not None:
            link.addresses[dialled] = None
            self._meet(dialled)
        for address in link.addresses:
            if address in self._static:
                self._resident[address] = link.peer.node_id
                self._named.want(address, now)
                self._named.linked(address, now)
        return () if dialled is None else self._races.failed(dialled, now)

    def member_present(self, member: Rumour, link: Link | None, now: float) -> None:
        """That member is alive, it is said: its named addresses rest."""
        for address in member.addresses:
            if address in self._static:
                self._resident[address] = member.node_id
                if link is None:
                    self._named.unwant(address)
                else:
                    link.addresses[address] = None
                    self._named.want(address, now)
                    self._named.linked(address, now)

    def link_lost(self, link: Link, now: float, *, is_lost: bool) -> None:
        """A link is gone; its named addresses rest if both ends know that its peer lives."""
        for address in link.addresses:
            if is_lost:
                self._named.lost(address, now)
            else:
                self._named.unwant(address)

    def member_gone(self, node_id: NodeId, now: float) -> None:
        """That member is dead, or left: somebody else may live at its addresses."""
        self._races.end(node_id)
        for address, resident in self._resident.items():
            if resident == node_id and address not in self._named:
                self._want(address, now)

    def alone(self, now: float) -> None:
        """No link is left: look for anybody."""
        self._want_some([each for each in self._static if each not in self._named], now)

    def failed(self, address: str, now: float) -> tuple[NodeId, ...]:
        """A dial came to nothing; which members are out of reach by that."""
        self._named.failed(address, now)
        return self._races.failed(address, now)

    def take_silent(self, now: float) -> tuple[NodeId, ...]:
        """Which members are out of reach because nothing was heard of their dials."""
        if self._races.next_deadline() > now:
            return ()
        return self._races.take_silent(now)

    def dial_due(self, now: float, links: int) -> list[Effect]:
        """The dials to start now, with that many links up.

        Who comes back compares views with its first words: with a ticket they go with the first
        datagram. Between strangers that waits for the link: what is new by then would be missed.
        """
        if self.next_deadline() > now:
            return []
        room = min(self._pending_limit, self._link_limit - links)
        racing = self._races.count_dialling()
        room -= self._named.count_dialling() + racing
        named = self._named.take_due(now, room)
        # Members may be hearsay: half of the room is left for what an operator named.
        half = (self._pending_limit + 1) // 2
        raced = self._races.take_due(now, min(room - len(named), half - racing))
        opening = (Digest(*self._members.opening()),)
        return [
            Dial(address, opening if address in self._met else ())
            for address in dict.fromkeys((*named, *raced))
        ]

    def next_deadline(self) -> float:
        """When there is something to dial, or to give up; infinity if never."""
        return min(self._named.next_deadline(), self._races.next_deadline())

    def _follow(self, change: tuple[tuple[str, ...], tuple[str, ...]], now: float) -> None:
        """Dial what is new, and no more what nobody names."""
        added, removed = change
        living = self._living() if added else {}
        self._resident |= {each: living[each] for each in added if each in living}
        self._want_some([each for each in added if each not in living], now)
        for address in removed:
            self._named.unwant(address)
            self._resident.pop(address, None)

    def _want_some(self, addresses: list[str], now: float) -> None:
        """Dial a few at once and the others one by one, for as long as nobody is known to be there.

        The first link tells who lives at most of them: a node that comes back with a list of all
        its peers must not greet all of them at the same time.
        """
        for number, address in enumerate(addresses):
            self._want(address, now + max(0, number + 1 - _AT_ONCE) * STAGGER_S)

    def _living(self) -> dict[str, NodeId]:
        """Where members are that are alive, as they say."""
        return {
            address: member.node_id
            for member in self._members
            if not member.health.is_gone
            for address in member.addresses
        }

    def _meet(self, address: str) -> None:
        """Remember that address; the one that was met longest ago makes room."""
        self._met.pop(address, None)
        self._met[address] = None
        if len(self._met) > _NAMED_ROOM:
            del self._met[next(iter(self._met))]

    def _want(self, address: str, now: float) -> None:
        if address not in self._own_addresses:
            self._named.want(address, now)
