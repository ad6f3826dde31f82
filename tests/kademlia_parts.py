"""Parts for tests of Kademlia: contacts at chosen positions, and records with a cheap seal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from maculaos.identity import NodeId
from maculaos.kademlia.contact import Contact
from maculaos.kademlia.record import Kind, Record
from simulation.lookups import REALM, seal

if TYPE_CHECKING:
    import random


def contact_at(position: int, *addresses: str) -> Contact:
    """A contact whose node id is that number."""
    return Contact(NodeId(position.to_bytes(32)), addresses)


def contacts_at(positions: list[int]) -> list[Contact]:
    """Contacts without addresses."""
    return [contact_at(position) for position in positions]


def random_contact(rng: random.Random) -> Contact:
    """A contact anywhere."""
    return contact_at(rng.getrandbits(256), "10.0.0.1:4701")


def sealed(record: Record) -> Record:
    """The record as its publisher would sign it."""
    return replace(record, signature=seal(record.publisher, record.text(REALM)))


def record_of(
    publisher: int, key: int = 1, *, value: bytes = b"v", sequence: int = 1, expires_at: int = 3600
) -> Record:
    """A genuine record that was signed at the epoch, unless it expires later."""
    node_id = NodeId(publisher.to_bytes(32))
    draft = Record(key.to_bytes(32), Kind.TOPIC, value, node_id, sequence, expires_at, 3600)
    return sealed(draft)
