"""A contact: a node as Kademlia knows it, by node id and addresses.

A contact says where a node may be, never that it is there: only a link proves that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maculaos.addresses import InvalidAddress, parse_address
from maculaos.errors import MaculaError
from maculaos.identity import NodeId
from maculaos.kademlia.distance import ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable


MAX_ADDRESSES: Final = 8
# A host name of 253 characters, a colon and a port.
MAX_ADDRESS_SIZE: Final = 259


class InvalidContact(MaculaError, ValueError):
    """A node id of a wrong size, or more or longer addresses than a node may have."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A node and its addresses (``host:port``); ``position`` is its node id as a number."""

    node_id: NodeId
    addresses: tuple[str, ...] = ()
    position: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.node_id) != ID_BYTES:
            raise InvalidContact(f"a node id has {ID_BYTES} bytes, got {len(self.node_id)}")
        if len(self.addresses) > MAX_ADDRESSES:
            raise InvalidContact(f"a contact has at most {MAX_ADDRESSES} addresses")
        if any(len(address) > MAX_ADDRESS_SIZE for address in self.addresses):
            raise InvalidContact(f"an address has at most {MAX_ADDRESS_SIZE} characters")
        object.__setattr__(self, "position", int.from_bytes(self.node_id))

    def joined_with(self, other: Contact) -> Contact:
        """The same node with the addresses of both, the own first, as many as are allowed."""
        both = tuple(dict.fromkeys((*self.addresses, *other.addresses)))[:MAX_ADDRESSES]
        return self if both == self.addresses else Contact(self.node_id, both)


def write_addresses(addresses: Iterable[str]) -> bytes:
    """Addresses as the value of a record, each with a line feed; none are one empty line."""
    lines = tuple(addresses)[:MAX_ADDRESSES]
    return "".join(f"{line}\n" for line in lines or ("",)).encode()


def read_addresses(value: bytes) -> tuple[str, ...]:
    """The addresses in the value of a record; what is none is left out."""
    lines = value.decode("ascii", "replace").split("\n", MAX_ADDRESSES)[:MAX_ADDRESSES]
    return tuple(line for line in lines if _is_address(line))


def _is_address(text: str) -> bool:
    if len(text) > MAX_ADDRESS_SIZE:
        return False
    try:
        parse_address(text)
    except InvalidAddress:
        return False
    return True
