"""Events on their way: from a publishing client to every node and client that wants them.

A node that is linked to every member sends an event to those who want it, and nobody passes it on.
Otherwise the event floods the graph of links: whoever sees it for the first time hands it on, so
that it reaches everybody while the graph is connected, and is delivered once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from maculaos.effects import Effect, Send, SendToClient
from maculaos.errors import RemoteProtocolError
from maculaos.kademlia.rates import Allowance
from maculaos.pubsub.interest import Interest
from maculaos.pubsub.seen import SeenCache
from maculaos.pubsub.topics import InvalidTopic, check_topic
from maculaos.wire.messages import (
    Error,
    Event,
    Publish,
    RpcError,
    RpcResult,
    Subscribe,
    Unsubscribe,
)
from maculaos.wire.registry import ErrorCode, RpcErrorCode, StreamClass
from maculaos.wire.values import MAX_VALUE_SIZE, encode_value

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator

    from maculaos.node.counters import Counters
    from maculaos.node.directory import Directory
    from maculaos.node.links import Link, Links
    from maculaos.settings import NodeSettings
    from maculaos.swim.membership import Membership

DONE: Final = encode_value(None)
# A burst over two links of one pair is far shorter than this.
_SEEN_LIMIT: Final = 8192
# Topics for one frame: at most 255 bytes each, so that a frame stays below a megabyte.
_TOPICS_PER_FRAME: Final = 4000
# Flooding events a second that are taken from one neighbour: the copies that a node sends for one
# are as many as its links, and what is seen is remembered for longer than a copy travels.
_FLOODED_PER_SECOND: Final = 5_000
# A flood ends after so many links; a graph of topology has a far smaller diameter.
MAX_HOPS: Final = 16
_MESSAGES: Final = StreamClass.MESSAGES
_CONTROL: Final = StreamClass.CONTROL


class EventSeal(Protocol):
    """Signatures of events, made as this node and checked as of any other."""

    def sign(self, event: Event) -> Event:
        """The same event, signed by its publisher, this node."""
        ...

    def is_genuine(self, event: Event) -> bool:
        """Whether the publisher of an event signed it."""
        ...


class Events:
    """Subscriptions of clients and of peers, and what follows from them."""

    def __init__(
        self,
        membership: Membership,
        settings: NodeSettings,
        links: Links,
        directory: Directory,
        counters: Counters,
        rng: random.Random,
    ) -> None:
        self._me = bytes(membership.me.node_id)
        self._members = membership.members
        self._links = links
        self._directory = directory
        self._counters = counters
        self._wants = settings.events
        self.seal: EventSeal | None = None
        limit = settings.limits.subscriptions
        self.clients = Interest(limit)
        # No peer alone can take what the others need.
        self.peers = Interest(2 * limit, share=limit)
        self._seen = SeenCache(_SEEN_LIMIT)
        self._flooded = Allowance(_FLOODED_PER_SECOND)
        # A restarted publisher must not repeat numbers that others remember having seen.
        self._sequence = rng.getrandbits(48)

    def publish(self, client: int, message: Publish) -> list[Effect]:
        """A client publishes: hand on to whom it concerns, then confirm."""
        topic = message.topic
        if len(message.payload) > MAX_VALUE_SIZE:
            detail = f"a value has at most {MAX_VALUE_SIZE} bytes"
            refused = RpcError(message.request, RpcErrorCode.INVALID_REQUEST, detail)
            return [SendToClient(client, refused)]
        clients = self.clients.sources(topic)
        hops = 0 if self._is_fully_linked() else MAX_HOPS
        links = self._links.numbers if hops else self.peers.sources(topic)
        if not (clients or links) or hops:
            # A topic that somebody wants was checked when it was subscribed to.
            try:
                check_topic(topic)
            except InvalidTopic as error:
                invalid = RpcErrorCode.INVALID_REQUEST
                return [SendToClient(client, RpcError(message.request, invalid, str(error)))]
        self._sequence += 1
        event = Event(topic, self._me, self._sequence, message.payload, hops)
        if self.seal is not None and self._wants.sign:
            event = self.seal.sign(event)
        effects: list[Effect] = [Send(link, event, _MESSAGES) for link in links]
        effects += [SendToClient(each, event) for each in clients]
        effects.append(SendToClient(client, RpcResult(message.request, DONE)))
        self._counters.events_published += 1
        self._counters.events_out += len(links)
        self._counters.events_delivered += len(clients)
        return effects

    def receive(self, link: Link, event: Event, now: float) -> list[Effect]:
        """A peer hands over an event: on to clients that want it and to other links, once."""
        _check_hops(link, event)
        self._counters.events_in += 1
        if event.hops and not self._flooded.take(link.peer.node_id, now):
            self._counters.events_dropped += 1
            return []
        clients = self.clients.sources(event.topic)
        is_wanted = bool(clients) or event.hops > 1
        is_own = event.publisher == self._me
        # What is forged must not be remembered in the place of what is genuine.
        if is_own or not self._is_believed(event):
            self._counters.events_refused += not is_own
            return []
        if not is_wanted or not self._seen.is_new(event.publisher, event.sequence):
            self._counters.events_dropped += 1
            return []
        self._counters.events_delivered += len(clients)
        delivered = [SendToClient(client, event) for client in clients]
        return [*delivered, *self._pass_on(link, event)]

    def subscribe(self, client: int, topics: tuple[str, ...]) -> list[Effect]:
        """A client wants topics; peers hear of those that are new here. Raises as ``Interest``."""
        return self._announce(Subscribe(self.clients.add(client, topics)))

    def unsubscribe(self, client: int, topics: tuple[str, ...]) -> list[Effect]:
        """A client no longer wants topics."""
        return self._announce(Unsubscribe(self.clients.remove(client, topics)))

    def client_down(self, client: int) -> list[Effect]:
        """A client is gone with all it wanted."""
        return self._announce(Unsubscribe(self.clients.drop(client)))

    def interest(self) -> Iterator[Subscribe]:
        """What a new peer needs to know."""
        for batch in batches(self.clients.topics):
            yield Subscribe(batch)

    def _pass_on(self, link: Link, event: Event) -> list[Effect]:
        if event.hops <= 1:
            return []
        further = msgspec.structs.replace(event, hops=event.hops - 1)
        others = [number for number in self._links.numbers if number != link.number]
        self._counters.events_out += len(others)
        return [Send(number, further, _MESSAGES) for number in others]

    def _is_believed(self, event: Event) -> bool:
        """Whether an event may be taken up, as far as its signature is concerned."""
        if not (event.public_key or event.signature):
            return not self._wants.require_signature
        return self.seal is None or self.seal.is_genuine(event)

    def _is_fully_linked(self) -> bool:
        """Whether every member that may be there is a neighbour."""
        return len(self._links) >= self._members.count_present()

    def _announce(self, message: Subscribe | Unsubscribe) -> list[Effect]:
        if not message.topics:
            return []
        if isinstance(message, Subscribe):
            self._directory.announce(message.topics, ())
        else:
            self._directory.withdraw(message.topics, ())
        return [Send(link, message, _CONTROL) for link in self._links.numbers]


def _check_hops(link: Link, event: Event) -> None:
    """Raise ``RemoteProtocolError`` unless the peer published the event or may pass it on."""
    if not 0 <= event.hops <= MAX_HOPS:
        raise RemoteProtocolError(f"an event travels over at most {MAX_HOPS} links")
    if event.hops in (0, MAX_HOPS) and event.publisher != link.peer.node_id:
        raise RemoteProtocolError("an event in the name of another node")


def refusal(client: int, error: Exception) -> SendToClient:
    """The answer to a client's frame that asks for something impossible and has no number."""
    return SendToClient(client, Error(ErrorCode.MALFORMED, str(error)))


def batches(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Names in portions that fit a frame."""
    everything = tuple(names)
    for start in range(0, len(everything), _TOPICS_PER_FRAME):
        yield everything[start : start + _TOPICS_PER_FRAME]
