"""ifconfig(8): bridges, epairs, addresses and offload; what to ask for and what is there.

Attributes that nothing here needs (media, nd6, spanning tree) are passed over, so that a newer
release may print more; what is read must be read in full.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from jails.freebsd.unreadable import UnreadableAnswer

# IFNAMSIZ is 16 with the closing zero; longer names are refused by the kernel.
LONGEST_NAME = 15

_HEADER = re.compile(r"(\S+): flags=[0-9a-f]+<([^>]*)>(?: metric \d+)? mtu (\d+)$")
_SET = re.compile(r"[0-9a-f]+<([^>]*)>")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_INET = re.compile(r"([0-9.]+)(?:/(\d+))?(?: --> [0-9.]+)?(?: netmask 0x([0-9a-f]{8}))?(?: .*)?")
_INET6 = re.compile(r"([0-9a-f:.]+)(?:%\S+)?(?:/(\d+))?(?: prefixlen (\d+))?(?: .*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One network interface, as the stack that was asked sees it."""

    name: str
    flags: frozenset[str]
    # Bytes of the largest packet.
    mtu: int
    # Capabilities that are switched on, such as TXCSUM.
    options: frozenset[str] = frozenset()
    ether: str | None = None
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    groups: tuple[str, ...] = ()
    # Of a bridge: the interfaces that it joins.
    members: tuple[str, ...] = ()

    @property
    def is_up(self) -> bool:
        """Whether it was switched on."""
        return "UP" in self.flags


def list_argv() -> tuple[str, ...]:
    """Every interface in full."""
    return ("ifconfig", "-a")


def create_argv(kind: str) -> tuple[str, ...]:
    """A new interface; ``kind`` is ``epair``, ``bridge``, ``lo``, or one of these with a number."""
    return ("ifconfig", kind, "create")


def destroy_argv(name: str) -> tuple[str, ...]:
    """Destroy an interface; of an epair both ends go."""
    return ("ifconfig", name, "destroy")


def rename_argv(name: str, new: str) -> tuple[str, ...]:
    """Give an interface another name of at most ``LONGEST_NAME`` characters."""
    return ("ifconfig", name, "name", new)


def ether_argv(name: str, mac: str) -> tuple[str, ...]:
    """Set the hardware address."""
    return ("ifconfig", name, "ether", mac)


def up_argv(name: str) -> tuple[str, ...]:
    """Switch an interface on."""
    return ("ifconfig", name, "up")


def address_argv(name: str, address: IPv4Interface) -> tuple[str, ...]:
    """Set the address of an interface and switch it on."""
    return ("ifconfig", name, "inet", str(address), "up")


def alias_argv(name: str, address: IPv4Interface) -> tuple[str, ...]:
    """Add an address to those of an interface."""
    return ("ifconfig", name, "inet", str(address), "alias")


def unalias_argv(name: str, address: IPv4Interface | IPv6Interface) -> tuple[str, ...]:
    """Take an address from an interface."""
    family = "inet" if address.version == 4 else "inet6"
    return ("ifconfig", name, family, str(address), "-alias")


def plain_argv(name: str) -> tuple[str, ...]:
    """Switch checksum offload off, so that every member of a bridge can do the same."""
    return ("ifconfig", name, "-txcsum", "-txcsum6")


def add_member_argv(bridge: str, member: str) -> tuple[str, ...]:
    """Join an interface to a bridge."""
    return ("ifconfig", bridge, "addm", member)


def delete_member_argv(bridge: str, member: str) -> tuple[str, ...]:
    """Take an interface out of a bridge."""
    return ("ifconfig", bridge, "deletem", member)


def parse_created(text: str) -> str:
    """The name that ``create`` printed; raises ``UnreadableAnswer``."""
    name = text.strip()
    if not name or len(name.split()) != 1:
        raise UnreadableAnswer("ifconfig", text)
    return name


def parse_interfaces(text: str) -> dict[str, Interface]:
    """Answer of ``list_argv``, by name; raises ``UnreadableAnswer``."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        if line[:1].isspace():
            if not blocks:
                raise UnreadableAnswer("ifconfig", line)
            blocks[-1].append(line)
        elif line:
            blocks.append([line])
    found = (_interface(block[0], block[1:]) for block in blocks)
    return {interface.name: interface for interface in found}


def _interface(header: str, lines: list[str]) -> Interface:
    match = _HEADER.match(header)
    if match is None:
        raise UnreadableAnswer("ifconfig", header)
    attributes: dict[str, list[str]] = {}
    for line in lines:
        # "options=8<VLAN_MTU>", "ether 02:...", "groups: epair"
        key, value = re.split(r"[ =]", line.strip(), maxsplit=1) if line.strip() else ("", "")
        attributes.setdefault(key.rstrip(":"), []).append(value)
    return Interface(
        name=match[1],
        flags=_set(match[2]),
        mtu=int(match[3]),
        options=_options(attributes.get("options", [])),
        ether=_ether(attributes.get("ether", [])),
        addresses=(
            *(_inet(value) for value in attributes.get("inet", [])),
            *(_inet6(value) for value in attributes.get("inet6", [])),
        ),
        groups=tuple(word for value in attributes.get("groups", []) for word in value.split()),
        members=tuple(value.split()[0] for value in attributes.get("member", [])),
    )


def _set(words: str) -> frozenset[str]:
    return frozenset(filter(None, words.split(",")))


def _options(values: list[str]) -> frozenset[str]:
    if not values:
        return frozenset()
    match = _SET.fullmatch(values[0])
    if match is None:
        raise UnreadableAnswer("ifconfig", f"options={values[0]}")
    return _set(match[1])


def _ether(values: list[str]) -> str | None:
    if not values:
        return None
    if _MAC.fullmatch(values[0]) is None:
        raise UnreadableAnswer("ifconfig", f"ether {values[0]}")
    return values[0]


def _inet(value: str) -> IPv4Interface:
    match = _INET.fullmatch(value)
    try:
        if match is None:
            raise ValueError(value)
        length = int(match[2]) if match[2] else int(match[3] or "ffffffff", 16).bit_count()
        return IPv4Interface(f"{match[1]}/{length}")
    except ValueError as error:
        raise UnreadableAnswer("ifconfig", f"inet {value}") from error


def _inet6(value: str) -> IPv6Interface:
    match = _INET6.fullmatch(value)
    try:
        found = ip_interface(f"{match[1]}/{match[2] or match[3] or 128}") if match else None
        if not isinstance(found, IPv6Interface):
            raise ValueError(value)
    except ValueError as error:
        raise UnreadableAnswer("ifconfig", f"inet6 {value}") from error
    return found
