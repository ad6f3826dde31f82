"""Rumours as the wire carries them, and back; what a peer says is checked here."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from maculaos.addresses import InvalidAddress, parse_address
from maculaos.errors import RemoteProtocolError
from maculaos.identity import NODE_ID_SIZE, InvalidIdentity, NodeId, check_name
from maculaos.swim.rumour import (
    MAX_INCARNATION,
    MAX_METADATA_SIZE,
    NOBODY,
    Health,
    Rumour,
)
from maculaos.wire.messages import Rumour as Saying

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ADDRESSES: Final = 8
# A host name has at most 253 characters (RFC 1035, 2.3.4), then colon and port.
MAX_ADDRESS_SIZE: Final = 253 + 6
# A rumour comes once over each link and goes out over the others: most were translated before.
_REMEMBERED: Final = 1 << 14


def to_wire(rumours: Iterable[Rumour]) -> tuple[Saying, ...]:
    """The wire form of rumours."""
    return tuple(map(_saying, rumours))


def from_wire(sayings: tuple[Saying, ...], limit: int) -> tuple[Rumour, ...]:
    """The rumours a peer sent; raises ``RemoteProtocolError`` for absurd ones, or too many."""
    if len(sayings) > limit:
        raise RemoteProtocolError(f"{len(sayings)} rumours at once, at most {limit} are taken")
    return tuple(map(_check, sayings))


def check_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a peer advertises if it can be dialled; raise ``RemoteProtocolError`` if not."""
    if len(addresses) > MAX_ADDRESSES:
        raise RemoteProtocolError(f"{len(addresses)} addresses, at most {MAX_ADDRESSES} are taken")
    longest = max(map(len, addresses), default=0)
    if longest > MAX_ADDRESS_SIZE:
        raise RemoteProtocolError(f"an address of {longest} characters")
    try:
        return tuple(str(parse_address(address)) for address in addresses)
    except InvalidAddress as error:
        raise RemoteProtocolError(str(error)) from error


@lru_cache(maxsize=_REMEMBERED)
def _saying(said: Rumour) -> Saying:
    return Saying(
        said.node_id,
        said.name,
        said.addresses,
        said.incarnation,
        int(said.health),
        said.metadata,
        said.accuser,
    )


@lru_cache(maxsize=_REMEMBERED)
def _check(saying: Saying) -> Rumour:
    if len(saying.node_id) != NODE_ID_SIZE or len(saying.accuser) not in (0, NODE_ID_SIZE):
        raise RemoteProtocolError(f"a node id of {len(saying.node_id)} bytes")
    if not 0 <= saying.incarnation <= MAX_INCARNATION:
        raise RemoteProtocolError(f"incarnation {saying.incarnation}")
    if len(saying.metadata) > MAX_METADATA_SIZE:
        raise RemoteProtocolError(f"{len(saying.metadata)} bytes of metadata")
    try:
        name, health = check_name(saying.name), Health(saying.health)
    except (InvalidIdentity, ValueError) as error:
        raise RemoteProtocolError(str(error)) from error
    addresses = check_addresses(saying.addresses)
    is_accusation = health in (Health.SUSPECT, Health.DEAD)
    accuser = NodeId(saying.accuser) if is_accusation else NOBODY
    node_id = NodeId(saying.node_id)
    return Rumour(saying.incarnation, health, addresses, name, node_id, saying.metadata, accuser)
