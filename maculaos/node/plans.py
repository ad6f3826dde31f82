"""Where events of a topic go: worked out once, and anew when somebody wants something else.

Links count, too: whoever is linked gets a copy of his own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Raw

from maculaos.identity import NodeId
from maculaos.pubsub.realm_interest import MAX_WEIGHT
from maculaos.pubsub.topics import check_topic
from maculaos.pubsub.tree import TopicMemo
from maculaos.wire.values import encode_value

if TYPE_CHECKING:
    from maculaos.node.deliveries import Deliveries
    from maculaos.node.multicast import Multicast
    from maculaos.pubsub.realm_interest import RealmInterest


@dataclass(frozen=True, slots=True)
class Plan:
    """Where events of one topic go."""

    # Other nodes; the links to those that are linked, and those that are not.
    nodes: tuple[NodeId, ...]
    linked: tuple[int, ...]
    far: tuple[NodeId, ...]
    # Whether clients of this node want them, too.
    is_here: bool
    # The nodes that a shared subscription spreads over; one that is there twice gets twice as much.
    groups: tuple[tuple[str, tuple[NodeId, ...]], ...]
    # How many take part, and what a publisher is told whom nobody is to confirm anything.
    targets: int
    answer: Raw


@lru_cache(maxsize=1024)
def counted(targets: int, confirmed: int) -> Raw:
    """What a publisher is told: how many take part, and how many of them confirmed."""
    return encode_value([targets, confirmed])


class Plans:
    """The plans of node ``me``."""

    def __init__(
        self, me: NodeId, realm: RealmInterest, deliveries: Deliveries, multicast: Multicast
    ) -> None:
        self._me = me
        self._realm = realm
        self._deliveries = deliveries
        self.multicast = multicast
        self._known: TopicMemo[Plan] = TopicMemo()
        self.clear = self._known.clear

    def plan(self, topic: str) -> Plan:
        """Where events of ``topic`` go; raises ``InvalidTopic``."""
        return self._known.get(topic) or self._known.put(topic, self._make(topic))

    def members_of(self, topic: str, group: str) -> tuple[NodeId, ...]:
        """The nodes that a shared subscription spreads events of ``topic`` over."""
        return dict(self.plan(topic).groups).get(group, ())

    def _make(self, topic: str) -> Plan:
        check_topic(topic)
        plain: dict[NodeId, None] = {}
        shares: dict[str, dict[NodeId, int]] = {}
        for node, group, weight in self._realm.match(topic):
            if group:
                # However many patterns of a node mean the topic, its share has one bound.
                of_group = shares.setdefault(group, {})
                of_group[node] = min(of_group.get(node, 0) + weight, MAX_WEIGHT)
            else:
                plain[node] = None
        audience = self._deliveries.audience(topic)
        for group, members in audience.groups.items():
            shares.setdefault(group, {})[self._me] = min(len(members), MAX_WEIGHT)
        groups = {
            group: [node for node, weight in of_group.items() for _ in range(weight)]
            for group, of_group in shares.items()
        }
        linked, far = self.multicast.split(plain)
        targets = len(plain) + bool(audience.plain) + len(groups)
        return Plan(
            nodes=tuple(plain),
            linked=linked,
            far=far,
            is_here=bool(audience.plain),
            groups=tuple((group, tuple(nodes)) for group, nodes in groups.items()),
            targets=targets,
            answer=counted(targets, 0),
        )
