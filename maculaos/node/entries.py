"""Contacts and records as the wire carries them, and back; what a peer says is checked here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.errors import RemoteProtocolError
from maculaos.identity import NODE_ID_SIZE, NodeId
from maculaos.kademlia.contact import Contact, InvalidContact
from maculaos.kademlia.record import InvalidRecord, Record
from maculaos.wire import table

if TYPE_CHECKING:
    from collections.abc import Iterable

# As many as a bucket may be set to hold; and records of one answer, which are bounded in bytes.
MAX_CONTACTS: Final = 64
MAX_RECORDS: Final = 256


def contacts_to_wire(contacts: Iterable[Contact]) -> tuple[table.Contact, ...]:
    """The wire form of contacts."""
    return tuple(table.Contact(each.node_id, each.addresses) for each in contacts)


def contacts_from_wire(entries: tuple[table.Contact, ...]) -> tuple[Contact, ...]:
    """The contacts a peer told of; raises ``RemoteProtocolError`` for absurd ones, or too many."""
    if len(entries) > MAX_CONTACTS:
        raise RemoteProtocolError(f"{len(entries)} contacts, at most {MAX_CONTACTS} are taken")
    try:
        return tuple(Contact(NodeId(each.node_id), each.addresses) for each in entries)
    except InvalidContact as error:
        raise RemoteProtocolError(str(error)) from error


def record_to_wire(record: Record) -> table.Record:
    """The wire form of a record."""
    return table.Record(
        record.key,
        int(record.kind),
        record.value,
        record.publisher,
        record.sequence,
        record.expires_at,
        record.ttl_s,
        record.credential,
        record.signature,
    )


def records_from_wire(entries: tuple[table.Record, ...]) -> tuple[Record, ...]:
    """The records a peer sent; raises ``RemoteProtocolError`` for absurd ones, or too many."""
    if len(entries) > MAX_RECORDS:
        raise RemoteProtocolError(f"{len(entries)} records, at most {MAX_RECORDS} are taken")
    return tuple(map(record_from_wire, entries))


def record_from_wire(entry: table.Record) -> Record:
    """One record; raises ``RemoteProtocolError`` if a field is out of its bounds."""
    try:
        return Record(
            key=entry.key,
            kind=entry.kind,
            value=entry.value,
            publisher=NodeId(entry.publisher),
            sequence=entry.sequence,
            expires_at=entry.expires_at,
            ttl_s=entry.ttl_s,
            credential=entry.credential,
            signature=entry.signature,
        )
    except InvalidRecord as error:
        raise RemoteProtocolError(str(error)) from error


def node_id_from_wire(said: bytes) -> NodeId:
    """A node id; raises ``RemoteProtocolError`` if it has another size."""
    if len(said) != NODE_ID_SIZE:
        raise RemoteProtocolError(f"a node id of {len(said)} bytes")
    return NodeId(said)
