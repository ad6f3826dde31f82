"""Ways to members without a link: the next neighbour on a short way through the graph of links.

Every node works out the graph of its realm from the members (``maculaos.topology.rings``), so a
short way through it is found without asking: a search in breadth from the own neighbours. Views
differ for moments, and some links are missing: each hop looks anew, and a message that went over
``MAX_HOPS`` links is dropped. A way over a suspect is taken only where there is no other: most
suspects are dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.swim.rumour import Health

if TYPE_CHECKING:
    from maculaos.identity import NodeId
    from maculaos.node.links import Link, Links
    from maculaos.swim.members import Members
    from maculaos.topology.rings import Rings

MAX_HOPS: Final = 16
# The ways are worked out anew at most this often, in seconds: while members come and go, an old
# way that leads nowhere costs one message, and a new one for every change would cost much more.
# Who came in the meantime is reached by the way to one of its neighbours.
KEEP_S: Final = 1.0


class Routing:
    """The ways of the node ``me``; times are monotonic seconds."""

    def __init__(self, me: NodeId, links: Links, rings: Rings, members: Members) -> None:
        self._me = me
        self._links = links
        self._rings = rings
        self._members = members
        self._ways: dict[NodeId, NodeId] = {}
        self._turn = 0
        self._is_stale = True
        self._is_due = True
        self._due_at = 0.0

    def changed(self) -> None:
        """Members or links are other ones now."""
        self._is_stale = True

    def advance(self, now: float) -> None:
        """Let time pass; called at least about every second."""
        if self._is_stale and now >= self._due_at:
            self._is_due, self._due_at = True, now + KEEP_S

    def next_hop(self, target: NodeId) -> Link | None:
        """The link that leads to ``target``: its own, or one that is nearer; ``None``: no way."""
        direct = self._links.to(target)
        if direct is not None:
            return direct
        if self._is_due:
            self._make()
        neighbour = self._ways.get(target) or self._way_to_newcomer(target)
        if neighbour is None:
            return None
        # A neighbour that is gone since ways were worked out costs a longer way, not the message.
        return self._links.to(neighbour) or self.detour(None)

    def turn(self) -> None:
        """The next detour is another one."""
        self._turn += 1

    def detour(self, avoided: Link | None, *, turns: bool = True) -> Link | None:
        """Some other link than that one, each in turn; ``None`` if there is no other.

        The same again and again while it ``turns`` not: what goes over it keeps its order.
        """
        others = [link for link in self._links if link is not avoided]
        if not others:
            return None
        self._turn += turns
        return others[self._turn % len(others)]

    def _way_to_newcomer(self, target: NodeId) -> NodeId | None:
        """The way to one of its neighbours, for who came since ways were worked out."""
        if not self._is_stale or not self._members.is_present(target):
            return None
        ways = (self._ways.get(near) for near in self._rings.neighbours(target))
        found = next(filter(None, ways), None)
        if found is not None:
            self._ways[target] = found
        return found

    def _make(self) -> None:
        """Search in breadth: every member by the first neighbour that reaches it."""
        ways = {link.peer.node_id: link.peer.node_id for link in self._links}
        doubted = self._spread(ways, list(ways), avoids_suspects=True)
        self._spread(ways, doubted, avoids_suspects=False)
        self._ways = ways
        self._is_stale = self._is_due = False

    def _spread(
        self, ways: dict[NodeId, NodeId], frontier: list[NodeId], *, avoids_suspects: bool
    ) -> list[NodeId]:
        """Reach further from these, into ``ways``; return the suspects that were not gone over."""
        doubted = []
        while frontier:
            further = []
            for node_id in frontier:
                if avoids_suspects and self._is_suspect(node_id):
                    doubted.append(node_id)
                    continue
                for other in self._rings.neighbours(node_id):
                    if other not in ways and other != self._me:
                        ways[other] = ways[node_id]
                        further.append(other)
            frontier = further
        return doubted

    def _is_suspect(self, node_id: NodeId) -> bool:
        member = self._members.get(node_id)
        return member is not None and member.health is Health.SUSPECT
