"""One mesh node, without its sockets: every event comes in by a method, effects come out.

``now`` is always monotonic seconds. Whoever carries out the effects asks ``next_deadline`` after
each call and calls ``advance`` by then. What peers and clients say is judged here: a peer that
breaks the protocol loses its link, and the node goes on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from maculaos.effects import CloseLink, Effect, Note
from maculaos.errors import MaculaError, RemoteProtocolError
from maculaos.identity import short
from maculaos.kademlia.requests import ValueFound
from maculaos.node.clients import Clients
from maculaos.node.cores import make_cores
from maculaos.node.links import GRACE_S, Link
from maculaos.node.peers import Peers
from maculaos.node.sayings import check_addresses
from maculaos.swim.rumour import Health, Rumour
from maculaos.wire.events import Events, Post, Receipt, Taken
from maculaos.wire.messages import RpcCall, RpcCancel, RpcCredit, RpcError, RpcResult
from maculaos.wire.registry import ErrorCode

if TYPE_CHECKING:
    import random

    from maculaos.identity import Identity, NodeId
    from maculaos.kademlia.record import Kind
    from maculaos.kademlia.signing import Notary
    from maculaos.node.letters import LetterSeal
    from maculaos.node.links import Introduction
    from maculaos.node.runs import EventSeal
    from maculaos.settings import NodeSettings
    from maculaos.wire.messages import Message

_ON_THEIR_WAY = frozenset({
    Post, Taken, Events, Receipt, RpcCall, RpcResult, RpcError, RpcCancel, RpcCredit,
})  # fmt: skip


# What still counts when it comes over a link that another one replaced: who sent it sends it no
# second time. Calls are asked after over the other link, and membership repeats itself.
_LEFT_BEHIND = frozenset({Events, Receipt})


class Node:
    """The decider of one node; see ``maculaos.effects`` for what it asks to be done."""

    def __init__(
        self,
        identity: Identity,
        settings: NodeSettings,
        notary: Notary,
        rng: random.Random,
        now: float,
        software: str,
    ) -> None:
        self._identity = identity
        self._link_limit = settings.limits.links
        self._cores = make_cores(identity, settings, notary, rng, now)
        self._clients = Clients(self._cores, settings.limits.clients, software, now)
        self._peers = Peers(self._cores, settings.limits.members, identity.realm)
        self._has_left = False
        # When something but events and calls is due; ``None`` if that has to be asked anew.
        self._rest_is_due: float | None = None

    @property
    def wanted(self) -> tuple[NodeId, ...]:
        """The members that this node wants to be linked with."""
        return self._cores.neighbourhood.topology.wanted

    def link_up(
        self,
        link: int,
        peer: Identity,
        introduction: Introduction,
        now: float,
    ) -> list[Effect]:
        """A link to an authenticated peer is up."""
        said = introduction
        refusal = self._refusal(link, peer)
        if refusal is not None:
            return self._refuse(refusal, said.dialled, now)
        try:
            addresses = check_addresses(said.addresses)
        except RemoteProtocolError as error:
            return [CloseLink(link, ErrorCode.MALFORMED, str(error))]
        rumour = Rumour(0, Health.ALIVE, addresses, peer.name, peer.node_id)
        new = Link(link, peer, said.is_outbound, now, said.life)
        return self._followed(self._settle(new, rumour, said.dialled, now), now)

    def link_down(
        self, link: int, reason: str, now: float, *, is_lost: bool = True
    ) -> list[Effect]:
        """A link is gone, whoever ended it; one that the node closed itself may be named too.

        One that the peer ended because topology needs it no more, or because it has no room, is
        not lost.
        """
        held = self._cores.links.get(link)
        if held is None:
            self._cores.links.ended(link)
            return []
        note = Note("link_down", (*_facts(held.peer), ("reason", reason)))
        return self._followed([note, *self._peers.unlink(held, now, is_lost=is_lost)], now)

    def dial_failed(
        self, address: str, reason: str, now: float, *, raises_doubt: bool = True
    ) -> list[Effect]:
        """A dial that the node asked for came to nothing; whether its member may be dead."""
        note = Note("dial_failed", (("address", address), ("reason", reason)))
        missed = self._cores.neighbourhood.dial_failed(address, now)
        doubted = self._doubt(missed, now) if raises_doubt else []
        return self._followed([note, *doubted], now)

    def dialled_self(self, address: str, now: float) -> list[Effect]:
        """A dial that the node asked for came back to itself."""
        note = Note("own_address", (("address", address),))
        missed = self._cores.neighbourhood.dialled_self(address, now)
        return self._followed([note, *self._doubt(missed, now)], now)

    def receive(self, link: int, message: Message, now: float) -> list[Effect]:
        """A peer says something."""
        links = self._cores.links
        held = links.get(link)
        if held is None and type(message) in _LEFT_BEHIND:
            held = links.successor(link)
        if held is None:
            self._cores.counters.messages_ignored += 1
            return []
        try:
            effects = self._peers.receive(held, message, now)
        except MaculaError as error:
            return self._followed(self._cut(held, error, now), now)
        return self._followed_if_needed(message, effects, now)

    def set_wall_clock(self, wall: float, now: float) -> None:
        """It is ``wall`` seconds since the epoch: signed records are judged by that."""
        self._rest_is_due = None
        self._cores.directory.kademlia.set_wall_clock(wall, now)
        self._cores.calls.set_wall_clock(wall, now)
        self._cores.messaging.set_wall_clock(wall, now)

    def seal_events(self, seal: EventSeal) -> None:
        """Sign and check events with ``seal``, as the settings say."""
        self._cores.messaging.seal(seal)

    def seal_letters(self, seal: LetterSeal) -> None:
        """Sign and check with ``seal`` what goes to members without a link, but questions."""
        self._cores.paths.letters.seal = seal

    def client_up(self, client: int, now: float) -> list[Effect]:
        """A client connected to this node."""
        del now  # in the interface so that every event has its time
        if self._has_left:
            self._clients.up(client)
            return self._clients.close_all()
        return self._clients.up(client)

    def client_down(self, client: int, now: float) -> list[Effect]:
        """A client is gone."""
        return self._followed(self._clients.down(client, now), now)

    def client_full(self, client: int) -> None:
        """The socket of a client is full: it is handed no events until ``client_room``."""
        self._cores.messaging.deliveries.hold(client)

    def client_room(self, client: int, now: float) -> list[Effect]:
        """There is room in the socket of a client again."""
        return self._followed(self._cores.messaging.client_room(client, now), now)

    def waits_for_clients(self, topic: str) -> bool:
        """Whether events of ``topic`` go to clients of this node only, whose sockets are full."""
        return self._cores.messaging.waits_for_clients(topic)

    def receive_from_client(self, client: int, message: Message, now: float) -> list[Effect]:
        """A client says something."""
        effects = self._clients.receive(client, message, now)
        return self._followed_if_needed(message, effects, now)

    def set_peers(self, peers: tuple[str, ...], now: float) -> list[Effect]:
        """The configured addresses changed; links that are up stay."""
        self._cores.dialler.configure(peers, now)
        return self._dial(now)

    def discovered(self, source: str, addresses: tuple[str, ...], now: float) -> list[Effect]:
        """A way of discovery finds these addresses now, in place of what it found before."""
        self._cores.dialler.discovered(source, addresses, now)
        return self._dial(now)

    def set_addresses(self, addresses: tuple[str, ...], now: float) -> list[Effect]:
        """This node listens elsewhere: it is to be dialled at these addresses from now on."""
        cores = self._cores
        cores.dialler.moved(addresses)
        cores.directory.moved(addresses)
        told = self._peers.carry(cores.membership.set_addresses(addresses, now), now)
        return self._followed(told, now)

    def find_records(self, key: bytes, now: float) -> list[Effect]:
        """Look in the distributed table; ``RecordsFound`` tells what is said under ``key``."""
        self._cores.directory.find_records(key, now)
        return self._followed([], now)

    def say(self, kind: Kind, key: bytes, value: bytes, now: float) -> list[Effect]:
        """Say ``value`` under ``key`` in the distributed table."""
        self._cores.directory.say(kind, key, value, now)
        return self._followed([], now)

    def leave(self, now: float) -> list[Effect]:
        """Go away for good: tell every peer, then close every link and client."""
        if self._has_left:
            return []
        self._has_left = True
        effects = self._peers.carry(self._cores.membership.leave(), now)
        for link in tuple(self._cores.links):
            effects.append(CloseLink(link.number, ErrorCode.SHUTTING_DOWN, "leaving"))
            self._cores.links.remove(link)
        return [*effects, *self._clients.close_all()]

    def advance(self, now: float) -> list[Effect]:
        """Do what is due by now."""
        if self._has_left:
            return []
        cores = self._cores
        effects = self._peers.carry(cores.membership.advance(now), now)
        effects += cores.calls.advance(now)
        effects += cores.messaging.advance(now)
        effects += self._doubt(cores.neighbourhood.advance(now), now)
        cores.directory.advance(now)
        return [*self._followed(effects, now), *self._dial(now)]

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity after ``leave``."""
        if self._has_left:
            return math.inf
        cores = self._cores
        if self._rest_is_due is None:
            self._rest_is_due = min(
                cores.membership.next_deadline(),
                cores.directory.next_deadline(),
                cores.neighbourhood.next_deadline(),
            )
        return min(self._rest_is_due, cores.calls.next_deadline(), cores.messaging.next_deadline())

    def _refusal(self, link: int, peer: Identity) -> CloseLink | None:
        """Why this node does not want that link, if so."""
        links = self._cores.links
        if self._has_left:
            return CloseLink(link, ErrorCode.SHUTTING_DOWN, "leaving")
        if peer.node_id == self._identity.node_id:
            return CloseLink(link, ErrorCode.SELF_DIALLED, "this is the same node")
        if peer.realm != self._identity.realm:
            return CloseLink(link, ErrorCode.WRONG_REALM, f"this is realm {self._identity.realm}")
        if len(links) >= self._link_limit and links.to(peer.node_id) is None:
            return CloseLink(link, ErrorCode.LIMIT_EXCEEDED, f"{self._link_limit} links already")
        return None

    def _refuse(self, refusal: CloseLink, dialled: str | None, now: float) -> list[Effect]:
        cores = self._cores
        cores.counters.links_refused += 1
        missed: tuple[NodeId, ...] = ()
        if refusal.code is ErrorCode.SELF_DIALLED:
            missed = cores.neighbourhood.dialled_self(dialled, now)
        elif dialled is not None:
            missed = cores.neighbourhood.dial_failed(dialled, now)
        return self._followed([refusal, *self._doubt(missed, now)], now)

    def _settle(self, new: Link, rumour: Rumour, dialled: str | None, now: float) -> list[Effect]:
        """Keep one link to that peer: the new one or the one there is."""
        links = self._cores.links
        old = links.to(new.peer.node_id)
        if old is None:
            return self._peers.link(new, rumour, dialled, now)
        loser = links.loser(old, new)
        # Of a peer that started again, nothing can come over the old link.
        grace_s = GRACE_S if old.life == new.life else 0.0
        detail = "there is another link"
        closed = CloseLink(loser.number, ErrorCode.DUPLICATE_LINK, detail, grace_s)
        links.replaced(loser)
        if loser is new:
            self._cores.neighbourhood.linked(old, dialled, now)
            return [closed]
        replaced = self._peers.replace(old, new, now)
        return [closed, *replaced, *self._peers.link(new, rumour, dialled, now)]

    def _cut(self, link: Link, error: MaculaError, now: float) -> list[Effect]:
        """A peer broke the protocol: end the link, and go on."""
        self._cores.counters.peers_malformed += 1
        facts = (*_facts(link.peer), ("error", str(error)))
        closed = CloseLink(link.number, ErrorCode.MALFORMED, str(error))
        return [Note("peer_malformed", facts), closed, *self._peers.unlink(link, now)]

    def _doubt(self, missed: tuple[NodeId, ...], now: float) -> list[Effect]:
        """Members that did not answer at any address: others are asked about them."""
        effects: list[Effect] = []
        for node_id in missed:
            effects += self._peers.carry(self._cores.membership.unreachable(node_id, now), now)
        return effects

    def _followed_if_needed(
        self, message: Message, effects: list[Effect], now: float
    ) -> list[Effect]:
        """The same, but quick for what changes nothing else: events and calls on their way."""
        cores = self._cores
        is_quick = type(message) in _ON_THEIR_WAY and not cores.directory.is_touched
        if is_quick and not cores.neighbourhood.has_requests:
            return effects
        return self._followed(effects, now)

    def _followed(self, effects: list[Effect], now: float) -> list[Effect]:
        """``effects``, and what the table and topology want after them."""
        neighbourhood = self._cores.neighbourhood
        self._rest_is_due = None
        if self._has_left:
            return effects
        while self._cores.directory.is_touched:
            effects += self._consult(now)
        if not neighbourhood.has_requests:
            return effects
        for link in neighbourhood.take_spare(now):
            effects.append(CloseLink(link.number, ErrorCode.SPARE_LINK, "not needed"))
            effects += self._peers.unlink(link, now, is_lost=False)
        return [*effects, *self._dial(now)]

    def _consult(self, now: float) -> list[Effect]:
        """What the distributed table wants to be sent, and what came of searches in it."""
        cores = self._cores
        effects = cores.directory.carry(now)
        for result in cores.directory.take_results():
            if isinstance(result, ValueFound):
                effects += cores.calls.found(result, now)
            effects += self._clients.found(result)
        return effects

    def _dial(self, now: float) -> list[Effect]:
        self._rest_is_due = None
        if self._has_left:
            return []
        return self._cores.dialler.dial_due(now, len(self._cores.links))


def _facts(peer: Identity) -> tuple[tuple[str, str], ...]:
    return (("peer", peer.name), ("node_id", short(peer.node_id)))
