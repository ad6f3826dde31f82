"""Whom to dial: the addresses an operator named, and those of every member without link.

A member that is gone is dialled for ever, with growing waits, so that a partition heals however
long it was; one that left is not. The larger node id waits a moment before it dials a new member,
because the smaller one most likely dials too.
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
        self._dials = Dials(settings.link, settings.limits.members + _STATIC_ROOM, rng)
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
                self._dials.unwant(address)

    def join(self, address: str, now: float) -> None:
        """An operator names one more; raises ``TooManyPeers``."""
        self._static.join(address)
        self._want(address, now)

    def not_a_peer(self, dialled: str | None) -> None:
        """This node itself answered at that address: never dial it again."""
        if dialled is not None:
            self._own_addresses[dialled] = None
            self._dials.unwant(dialled)

    def dialled_by(self, addresses: tuple[str, ...], dialled: str | None) -> str | None:
        """Which dial an outbound link came from, if that can be told."""
        if dialled is not None:
            return dialled
        for address in addresses:
            if self._dials.phase(address) is Phase.DIALLING:
                return address
        guess = self._dials.sole_dialling()
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
        """A tombstone expired; the address stays wanted, in case the node comes back."""
        for address in member.addresses:
            if self._member_at.get(address) == member.node_id:
                del self._member_at[address]

    def linked(self, link: Link, addresses: Iterable[str], now: float) -> None:
        """Whoever listens at ``addresses`` is at the other end of ``link``."""
        for address in addresses:
            link.addresses[address] = None
            self._dials.linked(address, now)

    def link_lost(self, link: Link, now: float) -> None:
        """Dial again whoever was at the other end."""
        for address in link.addresses:
            self._guessed.pop(address, None)
            self._dials.lost(address, now)

    def failed(self, address: str, now: float) -> NodeId | None:
        """A dial came to nothing; return the member that seems out of reach, if one does."""
        failures = self._dials.failed(address, now)
        if address in self._guessed:
            # The link came from another dial: this address has none, and is dialled again.
            del self._guessed[address]
            self._dials.lost(address, now)
        if failures < _FAILURES_BEFORE_ACCUSATION:
            return None
        return self._member_at.get(address)

    def dial_due(self, now: float, links: int) -> list[Effect]:
        """The dials to start now, with that many links up."""
        if self.next_deadline() > now:
            return []
        room = min(self._pending_limit, self._link_limit - links) - self._dials.count_dialling()
        return [Dial(address) for address in self._dials.take_due(now, room)]

    def next_deadline(self) -> float:
        """When there is something to dial; infinity if never."""
        return self._dials.next_deadline()

    def _want(self, address: str, due: float) -> None:
        if address not in self._own_addresses:
            self._dials.want(address, due)

    def _let_go(self, address: str, node_id: NodeId) -> None:
        """A member is no longer at ``address``."""
        if self._member_at.get(address) == node_id:
            del self._member_at[address]
            if address not in self._static:
                self._dials.unwant(address)
