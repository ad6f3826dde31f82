"""Names derived from identity: interfaces, hardware addresses, and an address in a network.

The same identity has the same names on every machine and after every crash, so nothing has to be
remembered. Names are short, so two may meet: ``collisions`` finds that before anything starts.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network

# Marks an interface as ours, whatever jail it is of.
PREFIX = "mj"
_DIGITS = 11
# Locally administered and unicast; not the 02 that FreeBSD's own epairs start with, and not the
# same for both ends of one pair.
_HOST_OCTET = 0x06
_JAIL_OCTET = 0x0A
# The network itself, the bridge's own address, one host, and the broadcast address.
_SMALLEST_NETWORK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What is derived for one jail."""

    jail: str
    # The end of the epair on the host, and the one inside.
    host_interface: str
    jail_interface: str
    host_mac: str
    jail_mac: str
    # Only with a network of its own.
    address: IPv4Address | None = None


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Collision:
    """Two or more jails that would have one ``name`` (an interface, a MAC or an address)."""

    name: str
    jails: tuple[str, ...]


def derive(identity: str, *, address: IPv4Address | None = None) -> Names:
    """The names of the jail ``identity``; distinct identities nearly always differ in all."""
    stem = PREFIX + _digest("interface", identity).hex()[:_DIGITS]
    return Names(
        jail=identity,
        host_interface=f"{stem}a",
        jail_interface=f"{stem}b",
        host_mac=_mac(_HOST_OCTET, identity),
        jail_mac=_mac(_JAIL_OCTET, identity),
        address=address,
    )


def derive_address(identity: str, network: IPv4Network) -> IPv4Address:
    """An address for ``identity``; never the network's, the first (the bridge's) or the last.

    Raises ``ValueError`` if the network has no address left beside these.
    """
    if network.num_addresses < _SMALLEST_NETWORK:
        raise ValueError(f"{network} has no address for a jail")
    choices = network.num_addresses - (_SMALLEST_NETWORK - 1)
    return network[2 + int.from_bytes(_digest("address", identity)) % choices]


def mac_of_bridge(bridge: str) -> str:
    """The hardware address of a bridge that we made, by which it is known as ours."""
    return derive(f"bridge {bridge}").host_mac


def is_ours(interface: str) -> bool:
    """Whether the name of an interface was derived here."""
    digits, end = interface[len(PREFIX) : -1], interface[-1:]
    is_hex = len(digits) == _DIGITS and set(digits) <= set("0123456789abcdef")
    return interface.startswith(PREFIX) and is_hex and end in ("a", "b")


def collisions(wanted: Iterable[Names]) -> tuple[Collision, ...]:
    """Everything that two different jails would share, in a fixed order; empty means: none."""
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for names in wanted:
        for name in (names.host_interface, names.host_mac, names.jail_mac, names.address):
            if name is not None:
                holders[str(name)].add(names.jail)
    shared = ((name, jails) for name, jails in holders.items() if len(jails) > 1)
    return tuple(sorted(Collision(name=name, jails=tuple(sorted(j))) for name, j in shared))


def _digest(purpose: str, identity: str) -> bytes:
    # The purpose keeps the names of one jail independent of each other.
    return hashlib.sha256(f"macula {purpose}\0{identity}".encode()).digest()


def _mac(first: int, identity: str) -> str:
    octets = (first, *_digest(f"mac {first}", identity)[:5])
    return ":".join(f"{octet:02x}" for octet in octets)
