"""ip(8): links, bridges, network namespaces; argument builders and parsers side by side. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the kernel takes as the name of an interface.
LONGEST_NAME = 15


class UnreadableAnswer(ValueError):
    """A tool said what it never should; with the tool and the beginning of its words."""

    def __init__(self, tool: str, text: str) -> None:
        super().__init__(f"cannot read what {tool} said: {text[:200]!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An interface of the host."""

    name: str
    # ``bridge``, ``veth`` and so on; empty for hardware.
    kind: str = ""
    # Free text that its maker set; shown by ``ip link``.
    alias: str = ""
    master: str = ""
    mac: str = ""
    is_up: bool = False
    # With the length of their network.
    addresses: tuple[str, ...] = ()


def links_argv(ip: str) -> tuple[str, ...]:
    """List the interfaces of the host, for ``parse_links``."""
    return (ip, "-json", "-details", "address", "show")


def links_within_argv(ip: str, namespace: str) -> tuple[str, ...]:
    """List the interfaces in a network namespace, for ``parse_links``."""
    return (ip, "-netns", namespace, *links_argv(ip)[1:])


def parse_links(text: str) -> Mapping[str, Link]:
    """Interfaces by name; raises ``UnreadableAnswer``."""
    return {link.name: link for link in map(_link, _list(text))}


def namespaces_argv(ip: str) -> tuple[str, ...]:
    """List the named network namespaces, for ``parse_namespaces``."""
    return (ip, "-json", "netns", "list")


def parse_namespaces(text: str) -> tuple[str, ...]:
    """Names; raises ``UnreadableAnswer``. Where there is none, ip(8) says nothing at all."""
    return tuple(str(_field(each, "name", text)) for each in _list(text))


def add_bridge_argv(ip: str, name: str, mac: str) -> tuple[str, ...]:
    """Make a bridge with that hardware address, whoever its members are."""
    return (ip, "link", "add", "name", name, "address", mac, "type", "bridge")


def alias_argv(ip: str, name: str, alias: str) -> tuple[str, ...]:
    """Write down on an interface whose it is."""
    return (ip, "link", "set", "dev", name, "alias", alias)


def up_argv(ip: str, name: str) -> tuple[str, ...]:
    """Switch an interface on."""
    return (ip, "link", "set", "dev", name, "up")


def join_argv(ip: str, name: str, bridge: str) -> tuple[str, ...]:
    """Make an interface a member of a bridge, and switch it on."""
    return (ip, "link", "set", "dev", name, "master", bridge, "up")


def delete_argv(ip: str, name: str) -> tuple[str, ...]:
    """Delete an interface, and with it the other end of its pair."""
    return (ip, "link", "delete", "dev", name)


def address_argv(ip: str, name: str, address: str) -> tuple[str, ...]:
    """Give an interface an address; it may have it already."""
    return (ip, "address", "replace", address, "dev", name, *_at_once(address))


def drop_address_argv(ip: str, name: str, address: str) -> tuple[str, ...]:
    """Take an address from an interface that has it."""
    return (ip, "address", "delete", address, "dev", name)


def default_routes_argv(ip: str, *, is_ipv6: bool) -> tuple[str, ...]:
    """List the default routes, for ``parse_route_interfaces``."""
    return (ip, "-json", _family(is_ipv6=is_ipv6), "route", "show", "default")


def parse_route_interfaces(text: str) -> frozenset[str]:
    """The interfaces that routes lead out by; raises ``UnreadableAnswer``."""
    ways = [way for route in _list(text) for way in (route, *route.get("nexthops", ()))]
    return frozenset(str(way["dev"]) for way in ways if "dev" in way)


def add_namespace_argv(ip: str, name: str) -> tuple[str, ...]:
    """Make a named network namespace."""
    return (ip, "netns", "add", name)


def delete_namespace_argv(ip: str, name: str) -> tuple[str, ...]:
    """Take the name away; the namespace goes with its last process."""
    return (ip, "netns", "delete", name)


def within(ip: str, namespace: str) -> tuple[str, ...]:
    """Words before a command that is to run in a network namespace, as the same process."""
    return (ip, "netns", "exec", namespace)


def add_pair_argv(
    ip: str, outer: tuple[str, str], inner: tuple[str, str], into: str
) -> tuple[str, ...]:
    """A pair of interfaces, each by name and hardware address; the inner end in ``into``."""
    return (
        *(ip, "link", "add", "name", outer[0], "address", outer[1], "type", "veth"),
        *("peer", "name", inner[0], "address", inner[1], "netns", into),
    )


def inside_argvs(
    ip: str, namespace: str, interface: str, address: str, gateway: str
) -> tuple[tuple[str, ...], ...]:
    """What is set inside a namespace: loopback, address and, if there is one, the way out."""
    there = (ip, "-netns", namespace)
    family = _family(is_ipv6=":" in gateway)
    route = [(*there, family, "route", "replace", "default", "via", gateway)] if gateway else []
    return (
        (*there, "link", "set", "dev", "lo", "up"),
        (*there, "address", "replace", address, "dev", interface, *_at_once(address)),
        (*there, "link", "set", "dev", interface, "up"),
        *route,
    )


def _family(*, is_ipv6: bool) -> str:
    return "-6" if is_ipv6 else "-4"


def _at_once(address: str) -> tuple[str, ...]:
    """Addresses are derived and checked: nobody is asked first whether another has it (RFC 4862).

    Asking would keep an IPv6 address from being used for a second or more.
    """
    return ("nodad",) if ":" in address else ()


def _link(said: dict[str, Any]) -> Link:
    return Link(
        name=str(_field(said, "ifname", str(said))),
        kind=str(said.get("linkinfo", {}).get("info_kind", "")),
        alias=str(said.get("ifalias", "")),
        master=str(said.get("master", "")),
        mac=str(said.get("address", "")),
        is_up="UP" in said.get("flags", ()),
        addresses=tuple(map(_address, filter(None, said.get("addr_info", ())))),
    )


def _address(said: dict[str, Any]) -> str:
    return f"{_field(said, 'local', str(said))}/{_field(said, 'prefixlen', str(said))}"


def _list(text: str) -> list[dict[str, Any]]:
    try:
        said = json.loads(text or "[]")
    except ValueError as error:
        raise UnreadableAnswer("ip", text) from error
    if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
        raise UnreadableAnswer("ip", text)
    # ip(8) fills up with empty objects where an interface has nothing of what was asked for.
    return [each for each in said if each]


def _field(said: dict[str, Any], key: str, text: str) -> Any:
    if key not in said:
        raise UnreadableAnswer("ip", text)
    return said[key]
