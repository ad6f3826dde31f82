"""The cores that one node joins, made from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maculaos.node.calls import Calls
from maculaos.node.counters import Counters
from maculaos.node.dialler import Dialler
from maculaos.node.events import Events
from maculaos.node.links import Links
from maculaos.swim.membership import Membership
from maculaos.swim.rumour import Health, Rumour

if TYPE_CHECKING:
    import random

    from maculaos.identity import Identity
    from maculaos.settings import NodeSettings


@dataclass(frozen=True, slots=True)
class Cores:
    """Everything a node knows; each part changes only by its own methods."""

    membership: Membership
    links: Links
    dialler: Dialler
    events: Events
    calls: Calls
    counters: Counters


def make_cores(identity: Identity, settings: NodeSettings, rng: random.Random, now: float) -> Cores:
    """The cores of a node that starts at ``now`` (monotonic seconds)."""
    node_id, limits = identity.node_id, settings.limits
    me = Rumour(0, Health.ALIVE, settings.listen.advertised, identity.name, node_id)
    counters = Counters()
    links = Links(node_id, settings.link.handshake_timeout_s)
    dialler = Dialler(me, settings, rng)
    dialler.configure(settings.peers, now)
    return Cores(
        membership=Membership(me, settings.swim, limits.members, rng, now),
        links=links,
        dialler=dialler,
        events=Events(node_id, limits.subscriptions, links, counters, rng),
        calls=Calls(node_id, limits, links, counters),
        counters=counters,
    )
