"""Events on their way: from a publishing client to every node and client that wants them.

Every node is linked to every other, so an event takes one hop at most and is never passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.effects import Effect, Send, SendToClient
from maculaos.errors import RemoteProtocolError
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

    from maculaos.identity import NodeId
    from maculaos.node.counters import Counters
    from maculaos.node.links import Link, Links

DONE: Final = encode_value(None)
# A burst over two links of one pair is far shorter than this.
_SEEN_LIMIT: Final = 8192
# Topics for one frame: at most 255 bytes each, so that a frame stays below a megabyte.
_TOPICS_PER_FRAME: Final = 4000
_MESSAGES: Final = StreamClass.MESSAGES
_CONTROL: Final = StreamClass.CONTROL


class Events:
    """Subscriptions of clients and of peers, and what follows from them."""

    def __init__(
        self, me: NodeId, limit: int, links: Links, counters: Counters, rng: random.Random
    ) -> None:
        self._me = bytes(me)
        self._links = links
        self._counters = counters
        self.clients = Interest(limit)
        # No peer alone can take what the others need.
        self.peers = Interest(2 * limit, share=limit)
        self._seen = SeenCache(_SEEN_LIMIT)
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
        links = self.peers.sources(topic)
        if not (clients or links):
            # A topic that somebody wants was checked when it was subscribed to.
            try:
                check_topic(topic)
            except InvalidTopic as error:
                invalid = RpcErrorCode.INVALID_REQUEST
                return [SendToClient(client, RpcError(message.request, invalid, str(error)))]
        self._sequence += 1
        event = Event(topic, self._me, self._sequence, message.payload)
        effects: list[Effect] = [Send(link, event, _MESSAGES) for link in links]
        effects += [SendToClient(each, event) for each in clients]
        effects.append(SendToClient(client, RpcResult(message.request, DONE)))
        self._counters.events_published += 1
        self._counters.events_out += len(links)
        self._counters.events_delivered += len(clients)
        return effects

    def receive(self, link: Link, event: Event) -> list[Effect]:
        """A peer publishes: hand the event to the clients that want it, once."""
        if event.publisher != link.peer.node_id:
            raise RemoteProtocolError("an event in the name of another node")
        self._counters.events_in += 1
        clients = self.clients.sources(event.topic)
        if not clients or not self._seen.is_new(event.publisher, event.sequence):
            self._counters.events_dropped += 1
            return []
        self._counters.events_delivered += len(clients)
        return [SendToClient(client, event) for client in clients]

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

    def _announce(self, message: Subscribe | Unsubscribe) -> list[Effect]:
        if not message.topics:
            return []
        return [Send(link, message, _CONTROL) for link in self._links.numbers]


def refusal(client: int, error: Exception) -> SendToClient:
    """The answer to a client's frame that asks for something impossible and has no number."""
    return SendToClient(client, Error(ErrorCode.MALFORMED, str(error)))


def batches(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Names in portions that fit a frame."""
    everything = tuple(names)
    for start in range(0, len(everything), _TOPICS_PER_FRAME):
        yield everything[start : start + _TOPICS_PER_FRAME]
