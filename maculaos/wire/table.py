"""Bodies of the distributed table: finding nodes and records, storing records, and the envelope.

They follow the rules of ``messages``: MessagePack arrays whose fields are only ever appended.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from maculaos.wire.seals import MAX_TAKEN

# Where a node may be reached.
MAX_ADDRESSES: Final = 8
# As many as a bucket may be set to hold; and records of one answer, which are bounded in bytes.
MAX_CONTACTS: Final = 64
MAX_RECORDS: Final = 256

Addresses: TypeAlias = Annotated[tuple[str, ...], Meta(max_length=MAX_ADDRESSES)]


class Contact(Struct, frozen=True, array_like=True):
    """A node and where it may be reached."""

    node_id: bytes
    addresses: Addresses


class Record(Struct, frozen=True, array_like=True):
    """What ``publisher`` says under ``key``, signed; times in seconds since the epoch."""

    key: bytes
    kind: int
    value: bytes
    publisher: bytes
    sequence: int
    expires_at: int
    ttl_s: int
    credential: bytes
    signature: bytes


Contacts: TypeAlias = Annotated[tuple[Contact, ...], Meta(max_length=MAX_CONTACTS)]


class FindNode(Struct, frozen=True, array_like=True):
    """Which nodes are closest to ``target``?"""

    request: int
    target: bytes


class Nodes(Struct, frozen=True, array_like=True):
    """The answer to FIND_NODE, the closest first."""

    request: int
    contacts: Contacts


class FindValue(Struct, frozen=True, array_like=True):
    """What is said under ``key``, and which nodes are closest to it?"""

    request: int
    key: bytes


class Values(Struct, frozen=True, array_like=True):
    """The answer to FIND_VALUE."""

    request: int
    records: Annotated[tuple[Record, ...], Meta(max_length=MAX_RECORDS)]
    contacts: Contacts


class Store(Struct, frozen=True, array_like=True):
    """Hold this record."""

    request: int
    record: Record


class Stored(Struct, frozen=True, array_like=True):
    """The answer to STORE: 0, or why not."""

    request: int
    verdict: int


class Seal(Struct, frozen=True, array_like=True):
    """What makes an envelope a letter: its source signed it, and it is read once."""

    # Drawn by the source at its start.
    life: int
    # Of this letter among those to its reader; 0: there is none, only what was ``taken``.
    number: int
    # When it was sent, in milliseconds since the epoch; how long before that it was sent first.
    stamp_ms: int
    age_ms: int
    # The numbers of letters that the source took from the target.
    taken: Annotated[tuple[int, ...], Meta(max_length=MAX_TAKEN)] = ()
    # Of the source; see ``wire.seals``.
    public_key: bytes = b""
    signature: bytes = b""
    # The life of the target that the source knew when it wrote the letter; 0: none.
    reader_life: int = 0


class Routed(Struct, frozen=True, array_like=True):
    """A frame from ``source`` on its way to ``target``, over nodes between them."""

    target: bytes
    source: bytes
    # So many more links it may travel.
    hops: int
    frame: bytes
    seal: Seal | None = None
