"""Who answers a method: each provider publishes itself under the method's key.

Which provider is called, and what becomes of the call, is not its business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.kademlia.contact import Contact, read_addresses, write_addresses
from maculaos.kademlia.record import Kind, key_of

if TYPE_CHECKING:
    from maculaos.kademlia.kademlia import Kademlia
    from maculaos.kademlia.record import Record
    from maculaos.kademlia.requests import ValueFound


def method_key(method: str) -> bytes:
    """The key of a method."""
    return key_of(b"method", method.encode())


class MethodRegistry:
    """Method -> nodes that answer it."""

    def __init__(self, kademlia: Kademlia) -> None:
        self._kademlia = kademlia

    def offer(self, method: str, now: float) -> Record:
        """Say that this node answers ``method``. Raises ``CannotPublish``."""
        value = write_addresses(self._kademlia.me.addresses)
        return self._kademlia.publish(Kind.METHOD, method_key(method), value, now)

    def withdraw(self, method: str, now: float) -> bool:
        """Take that back; whether it was said."""
        return self._kademlia.withdraw(method_key(method), now)

    def find(self, method: str, now: float, *, enough: int = 0) -> int:
        """Look for providers of ``method``; with ``enough``, only for so many of them."""
        return self._kademlia.find_value(method_key(method), now, enough=enough)

    @staticmethod
    def read(found: ValueFound) -> tuple[Contact, ...]:
        """Who answers the method, in the order of their node ids."""
        return tuple(
            Contact(record.publisher, read_addresses(record.value))
            for record in found.records
            if record.kind == Kind.METHOD
        )
