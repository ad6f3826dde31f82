"""What a node announces of itself in a local network, and whose announcements count.

DNS-SD (RFC 6763): one service for each port at which the node is to be dialled, with the realm
and the node id as TXT. Both are claims; what counts as proof is the certificate of whoever
answers there. Nothing is sent here.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.addresses import Address, parse_address
from maculaos.discovery.candidates import dialable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maculaos.identity import Identity

TYPE: Final = "_macula._udp.local."
# Of the node id, in hex: a DNS label has room for it and a port.
_SHORT: Final = 32


@dataclass(frozen=True, slots=True)
class Service:
    """One service to announce; ``host`` and ``instance`` are full DNS names."""

    instance: str
    host: str
    port: int
    ips: tuple[str, ...]
    txt: dict[str, str]


def services_of(identity: Identity, advertised: Iterable[str]) -> tuple[Service, ...]:
    """The services of a node that others are told to dial at ``advertised``.

    Host names are left out: a service has addresses, and whoever announces a name has DNS.
    """
    ports: dict[int, list[str]] = {}
    for address in map(parse_address, advertised):
        if _is_announced(address.host):
            ports.setdefault(address.port, []).append(address.host)
    return tuple(_service(identity, port, tuple(ips)) for port, ips in ports.items())


def is_other(txt: Mapping[bytes, bytes | None], identity: Identity) -> bool:
    """Whether ``txt`` is of another node of the same realm, by its own words."""
    realm, node_id = txt.get(b"realm"), txt.get(b"id")
    return realm == identity.realm.encode() and node_id != _short_id(identity).encode()


def addresses_at(ips: Iterable[str], port: int) -> tuple[str, ...]:
    """What to dial of a service; link-local addresses only if they say on which interface."""
    found = (ip for ip in ips if "%" in ip or not ipaddress.ip_address(ip).is_link_local)
    written = (str(Address(ip, port)) for ip in found) if 1 <= port <= 65_535 else ()
    return tuple(dict.fromkeys(filter(None, map(dialable, written))))


def _service(identity: Identity, port: int, ips: tuple[str, ...]) -> Service:
    short = _short_id(identity)
    txt = {"version": "1", "realm": identity.realm, "id": short, "name": identity.name}
    return Service(f"{short}-{port}.{TYPE}", f"{short}.local.", port, ips, txt)


def _short_id(identity: Identity) -> str:
    return identity.node_id.hex()[:_SHORT]


def _is_announced(host: str) -> bool:
    try:
        # A zone means something on this machine only.
        return not ipaddress.ip_address(host).is_unspecified and "%" not in host
    except ValueError:
        return False
