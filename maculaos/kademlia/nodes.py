"""Where nodes are: each node publishes its addresses under its own node id, and nobody else can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maculaos.kademlia.contact import Contact, read_addresses, write_addresses
from maculaos.kademlia.record import Kind, node_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maculaos.identity import NodeId
    from maculaos.kademlia.kademlia import Kademlia
    from maculaos.kademlia.record import Record
    from maculaos.kademlia.requests import ValueFound


class NodeDirectory:
    """Node id -> addresses."""

    def __init__(self, kademlia: Kademlia) -> None:
        self._kademlia = kademlia

    def announce(self, addresses: Sequence[str], now: float) -> Record:
        """Publish where this node is. Raises ``CannotPublish``."""
        me = self._kademlia.me.node_id
        return self._kademlia.publish(Kind.NODE, node_key(me), write_addresses(addresses), now)

    def find(self, node_id: NodeId, now: float) -> int:
        """Look for the addresses of ``node_id``: all copies are read, and the newest counts."""
        return self._kademlia.find_value(node_key(node_id), now)

    @staticmethod
    def read(found: ValueFound, node_id: NodeId) -> Contact | None:
        """Where ``node_id`` says it is; ``None`` if it says nothing."""
        for record in found.records:
            if record.kind == Kind.NODE and record.publisher == node_id:
                return Contact(node_id, read_addresses(record.value))
        return None
