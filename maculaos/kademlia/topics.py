"""Who is interested in a topic: each such node publishes itself under the topic's key.

A registry of exact topics; wildcards and the events themselves are not its business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.kademlia.contact import Contact, read_addresses, write_addresses
from maculaos.kademlia.record import Kind, key_of

if TYPE_CHECKING:
    from maculaos.kademlia.kademlia import Kademlia
    from maculaos.kademlia.record import Record
    from maculaos.kademlia.requests import ValueFound


def topic_key(topic: str) -> bytes:
    """The key of a topic."""
    return key_of(b"topic", topic.encode())


class TopicRegistry:
    """Topic -> nodes that want its events."""

    def __init__(self, kademlia: Kademlia) -> None:
        self._kademlia = kademlia

    def join(self, topic: str, now: float) -> Record:
        """Say that this node wants the events of ``topic``. Raises ``CannotPublish``."""
        value = write_addresses(self._kademlia.me.addresses)
        return self._kademlia.publish(Kind.TOPIC, topic_key(topic), value, now)

    def leave(self, topic: str, now: float) -> bool:
        """Take that back; whether it was said."""
        return self._kademlia.withdraw(topic_key(topic), now)

    def find(self, topic: str, now: float) -> int:
        """Look for all who want the events of ``topic``."""
        return self._kademlia.find_value(topic_key(topic), now)

    @staticmethod
    def read(found: ValueFound) -> tuple[Contact, ...]:
        """Who wants the events, in the order of their node ids."""
        return tuple(
            Contact(record.publisher, read_addresses(record.value))
            for record in found.records
            if record.kind == Kind.TOPIC
        )
