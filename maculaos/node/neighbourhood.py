"""Whom this node is linked with: what topology wants, brought to the dialler and to the links.

The topology names members, the dialler knows addresses, the links are numbers: this module tells
each what it needs to know of the others. What topology asks is gathered, and carried out once at
the end of each event of the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.node.routing import Routing
from maculaos.swim.rumour import Health
from maculaos.topology.neighbours import STABLE_AFTER_S, Neighbours, Request, Spare, Want

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from maculaos.identity import Identity, NodeId
    from maculaos.node.dialler import Dialler
    from maculaos.node.links import Link, Links
    from maculaos.settings import NodeSettings
    from maculaos.swim.membership import Membership
    from maculaos.swim.rumour import Rumour


class Neighbourhood:
    """The topology of one node and its dialler; times are monotonic seconds."""

    def __init__(
        self,
        identity: Identity,
        settings: NodeSettings,
        membership: Membership,
        links: Links,
        dialler: Dialler,
        rng: random.Random,
    ) -> None:
        self.rings = (identity.realm, settings.topology.degree)
        self._membership = membership
        self._links = links
        self._dialler = dialler
        self.topology = Neighbours(
            identity.node_id,
            identity.realm,
            settings.topology,
            settings.limits.members,
            rng,
            links_max=settings.limits.links,
        )
        self.routing = Routing(identity.node_id, links, self.topology.rings, membership.members)
        self._asked: list[Request] = []

    @property
    def has_requests(self) -> bool:
        """Whether ``take_spare`` has something to do."""
        return bool(self._asked)

    def member_changed(self, before: Rumour | None, after: Rumour, now: float) -> None:
        """The view of another member changed."""
        if before is None or before.health is not after.health:
            self.routing.changed()
        if not after.health.is_gone:
            link = self._links.to(after.node_id)
            self._dialler.member_present(after, link, now)
        was_present = before is not None and not before.health.is_gone
        if after.health.is_gone == (not was_present) and before is not None:
            return
        if after.health.is_gone:
            self._dialler.member_gone(after.node_id, now)
            has_left = after.health is Health.LEFT
            self.topology.member_down(after.node_id, now, has_left=has_left)
        else:
            self.topology.member_up(after.node_id, now)

    def forgotten(self, member: Rumour) -> None:
        """The tombstone of a member expired: nobody knows any more where it was."""
        self.topology.give_up(member.node_id)

    def linked(self, link: Link, dialled: str | None, now: float) -> None:
        """A link is up, or took the place of another one to the same peer."""
        member = self._membership.members.get(link.peer.node_id)
        if member is not None:
            self._dialler.member_present(member, link, now)
        self._missed(self._dialler.linked(link, dialled, now), now)
        self.routing.changed()
        node_id = link.peer.node_id
        self._ask(self.topology.link_up(node_id, now, is_outbound=link.is_outbound))

    def unlinked(self, link: Link, now: float, *, is_lost: bool) -> None:
        """The only link to that peer is gone."""
        self.routing.changed()
        node_id, is_alone = link.peer.node_id, not len(self._links)
        # Who was turned away asks again, but not at once.
        was_brief = now - link.since < STABLE_AFTER_S
        self._dialler.link_lost(link, now, is_lost=is_lost or (is_alone and was_brief))
        if is_alone:
            self._dialler.alone(now)
        is_missed = was_brief and node_id in self.topology.wanted
        self._ask(self.topology.link_down(node_id, now, is_lost=is_lost or is_missed))

    def dial_failed(self, address: str, now: float) -> tuple[NodeId, ...]:
        """A dial came to nothing; who is out of reach by that."""
        return self._missed(self._dialler.failed(address, now), now)

    def dialled_self(self, address: str | None, now: float) -> tuple[NodeId, ...]:
        """This node itself answered at that address; who is out of reach by that."""
        return self._missed(self._dialler.not_a_peer(address, now), now)

    def advance(self, now: float) -> tuple[NodeId, ...]:
        """Do what is due; who is out of reach because nothing was heard of a dial."""
        self.routing.advance(now)
        self._ask(self.topology.advance(now))
        return self._missed(self._dialler.take_silent(now), now)

    def take_spare(self, now: float) -> list[Link]:
        """Bring what was asked to the dialler; return the links that are to be closed."""
        spare = []
        while self._asked:
            asked, self._asked = self._asked, []
            for request in asked:
                match request:
                    case Want(node_id):
                        self._pursue(node_id, now)
                    case Spare(node_id):
                        link = self._links.to(node_id)
                        spare += [] if link is None else [link]
        return spare

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return min(self.topology.next_deadline(), self._dialler.next_deadline())

    def _pursue(self, node_id: NodeId, now: float) -> None:
        if self._links.to(node_id) is not None:
            return
        member = self._membership.members.get(node_id)
        if member is None or not self._dialler.pursue(node_id, member.addresses, now):
            self._ask(self.topology.unreachable(node_id, now))

    def _missed(self, nodes: Iterable[NodeId], now: float) -> tuple[NodeId, ...]:
        missed = tuple(node_id for node_id in nodes if self._links.to(node_id) is None)
        for node_id in missed:
            self._ask(self.topology.unreachable(node_id, now))
        return missed

    def _ask(self, requests: Iterable[Request]) -> None:
        self._asked += requests
