"""The cores that one node joins, made from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maculaos.node.calls import Calls
from maculaos.node.choosing import Choosing
from maculaos.node.counters import Counters
from maculaos.node.dialler import Dialler
from maculaos.node.directory import Directory
from maculaos.node.letters import Letters
from maculaos.node.links import Links
from maculaos.node.messaging import Ground, Messaging
from maculaos.node.neighbourhood import Neighbourhood
from maculaos.node.offers import Offers
from maculaos.node.paths import Paths
from maculaos.node.relay import Relay
from maculaos.node.seeking import Seeking
from maculaos.rpc.pending import PendingCalls
from maculaos.swim.membership import Membership
from maculaos.swim.rumour import Health, Rumour
from maculaos.wire.messages import RpcCall

if TYPE_CHECKING:
    import random

    from maculaos.identity import Identity
    from maculaos.kademlia.signing import Notary
    from maculaos.settings import NodeSettings


@dataclass(frozen=True, slots=True)
class Cores:
    """Everything a node knows; each part changes only by its own methods."""

    membership: Membership
    links: Links
    dialler: Dialler
    neighbourhood: Neighbourhood
    directory: Directory
    relay: Relay
    paths: Paths
    messaging: Messaging
    calls: Calls
    counters: Counters


def make_cores(
    identity: Identity,
    settings: NodeSettings,
    notary: Notary,
    rng: random.Random,
    now: float,
) -> Cores:
    """The cores of a node that starts at ``now`` (monotonic seconds)."""
    node_id, limits = identity.node_id, settings.limits
    me = Rumour(0, Health.ALIVE, settings.listen.advertised, identity.name, node_id)
    counters = Counters()
    membership = Membership(me, settings.swim, limits.members, rng, now)
    links = Links(node_id, settings.link.handshake_timeout_s)
    dialler = Dialler(me, membership.members, settings, rng)
    dialler.configure(settings.peers, now)
    neighbourhood = Neighbourhood(identity, settings, membership, links, dialler, rng)
    relay = Relay(node_id, membership.members, neighbourhood.routing, counters)
    directory = Directory(membership, relay, notary, settings.kademlia, rng, now)
    paths = Paths(Letters(node_id, relay, counters, limits.members, rng, now))
    # Nobody who does not see a call can answer it: its number cannot be guessed.
    pending = PendingCalls[RpcCall](limits.pending_calls, first=rng.getrandbits(32))
    offers = Offers(limits, links, directory)
    seeking = Seeking(directory, paths, limits.pending_calls)
    choosing = Choosing(offers, seeking, links, paths, rng, pending.waiting_for)
    ground = Ground(
        membership=membership,
        links=links,
        routing=neighbourhood.routing,
        letters=paths.letters,
        directory=directory,
        counters=counters,
    )
    return Cores(
        membership=membership,
        links=links,
        dialler=dialler,
        neighbourhood=neighbourhood,
        directory=directory,
        relay=relay,
        paths=paths,
        messaging=Messaging(ground, settings, rng, now),
        calls=Calls(membership, links, paths, counters, choosing, pending),
        counters=counters,
    )
