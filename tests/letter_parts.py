"""Letters of members without a link, written and brought by hand; for tests."""

from __future__ import annotations

import random

from bare_node import identity
from maculaos.effects import Effect, Send
from maculaos.node.counters import Counters
from maculaos.node.letters import Letters
from maculaos.node.relay import Relay
from maculaos.node.routing import Routing
from maculaos.topology.rings import Rings
from maculaos.wire.table import Routed
from node_parts import links_of, members_of, names, node_id
from simulation.hosts import LetterSealOf
from simulation.world import REALM

# When a node that starts at 0 starts, in seconds since the epoch.
WALL = 1000.0


def letters_of(me: str, *linked: str, now: float = 0.0, seed: int = 1) -> Letters:
    """The letters of a node that starts at ``now``, among ``me`` and ``m0`` to ``m9``."""
    there = (*names(10), "me")
    members, rings = members_of(*there), Rings(REALM, 6, map(node_id, there))
    routing, counters = Routing(node_id(me), links_of(me, *linked), rings, members), Counters()
    rng = random.Random(seed)  # a seed replays the run
    relay = Relay(node_id(me), members, routing, counters)
    letters = Letters(node_id(me), relay, counters, 100, rng, now)
    letters.seal = LetterSealOf(identity(me))
    letters.set_wall_clock(WALL + now, now)
    return letters


def only_routed(effects: list[Effect] | None) -> Routed:
    """The one envelope that is sent."""
    assert effects is not None
    (sent,) = effects
    assert isinstance(sent, Send)
    assert isinstance(sent.message, Routed)
    return sent.message
