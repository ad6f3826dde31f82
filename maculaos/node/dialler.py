"""Whom to dial: the addresses an operator named, and those of every member without link.

A member that is gone is dialled for ever, with growing waits, so that a partition heals however
long it was; one that left is not. The larger node id waits a moment before it dials a new member,
because the smaller one most likely dials too.

What an operator named and where somebody was linked once is kept apart from hearsay, so that a
peer that talks of thousands of members crowds out none of them. An address of hearsay only is
given up with the tombstone of its member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.discovery.dials import Dials, Phase
from maculaos.discovery.static import StaticPeers
from maculaos.effects import Dial, Effect
from maculaos.swim.rumour import Health, Rumour

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from maculaos.identity import NodeId
    from maculaos.node.links import Link
    from maculaos.settings import NodeSettings

# The addresses of one member are raced with this stagger (RFC 8305, section 5).
STAGGER_S: Final = 0.25
# Beside those of members: configured and joined addresses.
_STATIC_ROOM: Final = 2000
# One lost packet is no reason to accuse a member.
_FAILURES_BEFORE_ACCUSATION: Final = 2


class Dialler:
    """Keeps the dials in step with configuration, members and links."""

    def __init__(self, me: Rumour, settings: NodeSettings, rng: random.Random) -> None:
        self._me = me
        self._link_limit = settings.limits.links
        self._pending_limit = settings.limits.pending_handshakes
        self._head_start_s = 2 * settings.link.reconnect_base_s
        self._heard_limit = settings.limits.members
        # Named by an operator, or linked once; and what others say.
        self._known = Dials(settings.link, self._heard_limit + _STATIC_ROOM, rng)
        self._heard = Dials(settings.link, self._heard_limit, rng)
        self._static = StaticPeers()
        self._own_addresses = dict.fromkeys(me.addresses)
        self._member_at: dict[str, NodeId] = {}
        # Addresses taken for linked because theirs was the only dial under way.
        self._guessed: dict[str, None] = {}

    def configure(self, peers: Iterable[str], now: float) -> None:
        """The configured addresses are these now."""
        added, removed = self._static.configure(peers)
        for address in added:
            self._want(address, now)
        for address in removed:
            if address not in self._member_at:
                self._unwant(address)

    def join(self, address: str, now: float) -> None:
        """An operator names one more; raises ``TooManyPeers``."""
        self._static.join(address)
        self._want(address, now)

    def not_a_peer(self, dialled: str | None) -> None:
        """This node itself answered at that address: never dial it again."""
        if dialled is not None:
            self._own_addresses[dialled] = None
            self._unwant(dialled)

    def dialled_by(self, addresses: tuple[str, ...], dialled: str | None) -> str | None:
        """Which dial an outbound link came from, if that can be told."""
        if dialled is not None:
            return dialled
        for address in addresses:
            if self._book(address).phase(address) is Phase.DIALLING:
                return address
        guess = self._sole_dialling()
        if guess is not None:
            self._guessed[guess] = None
        return guess

    def member_changed(
        self, before: Rumour | None, after: Rumour, link: Link | None, now: float
    ) -> None:
        """A member is new, moved, came back or left."""
        is_wanted = after.health is not Health.LEFT
        current = after.addresses if is_wanted else ()
        for address in before.addresses if before else ():
            if address not in current:
                self._let_go(address, after.node_id)
        head_start_s = 0.0 if self._me.node_id < after.node_id else self._head_start_s
        for turn, address in enumerate(current):
            self._member_at[address] = after.node_id
            self._want(address, now + head_start_s + turn * STAGGER_S)
        if link is not None:
            self.linked(link, current, now)

    def forgotten(self, member: Rumour) -> None:
        """A tombstone expired; an address where somebody was stays wanted, others were talk."""
        for address in member.addresses:
            if self._member_at.get(address) == member.node_id:
                del self._member_at[address]
                self._heard.unwant(address)

    def linked(self, link: Link, addresses: Iterable[str], now: float) -> None:
        """Whoever listens at ``addresses`` is at the other end of ``link``."""
        for address in addresses:
            link.addresses[address] = None
            if address in self._heard and len(self._known) < self._heard_limit:
                self._heard.unwant(address)
                self._known.want(address, now)
            self._book(address).linked(address, now)

    def link_lost(self, link: Link, now: float) -> None:
        """Dial again whoever was at the other end."""
        for address in link.addresses:
            self._guessed.pop(address, None)
            self._book(address).lost(address, now)

    def failed(self, address: str, now: float) -> NodeId | None:
        """A dial came to nothing; return the member that seems out of reach, if one does."""
        book = self._book(address)
        failures = book.failed(address, now)
        if address in self._guessed:
            # The link came from another dial: this address has none, and is dialled again.
            del self._guessed[address]
            book.lost(address, now)
        if failures < _FAILURES_BEFORE_ACCUSATION:
            return None
        return self._member_at.get(address)

    def dial_due(self, now: float, links: int) -> list[Effect]:
        """The dials to start now, with that many links up."""
        if self.next_deadline() > now:
            return []
        heard = self._heard.count_dialling()
        room = min(self._pending_limit, self._link_limit - links)
        room -= self._known.count_dialling() + heard
        known = self._known.take_due(now, room)
        # The other half of the room is never filled by hearsay.
        heard_room = min(room - len(known), (self._pending_limit + 1) // 2 - heard)
        return [Dial(address) for address in (*known, *self._heard.take_due(now, heard_room))]

    def next_deadline(self) -> float:
        """When there is something to dial; infinity if never."""
        return min(self._known.next_deadline(), self._heard.next_deadline())

    def _want(self, address: str, due: float) -> None:
        if address in self._own_addresses:
            return
        if address in self._static:
            self._heard.unwant(address)
            self._known.want(address, due)
        elif address in self._known:
            self._known.want(address, due)
        elif address in self._heard or len(self._heard) < self._heard_limit:
            self._heard.want(address, due)

    def _unwant(self, address: str) -> None:
        self._known.unwant(address)
        self._heard.unwant(address)

    def _book(self, address: str) -> Dials:
        return self._known if address in self._known else self._heard

    def _sole_dialling(self) -> str | None:
        """The one address being dialled; ``None`` if there is none or more than one."""
        if self._known.count_dialling() + self._heard.count_dialling() != 1:
            return None
        return self._known.sole_dialling() or self._heard.sole_dialling()

    def _let_go(self, address: str, node_id: NodeId) -> None:
        """A member is no longer at ``address``."""
        if self._member_at.get(address) == node_id:
            del self._member_at[address]
            if address not in self._static:
                self._unwant(address)
