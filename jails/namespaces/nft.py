"""nft(8): forwards and address translation of one jail, as a table of its own. Pure.

Rules are written and read as JSON (libnftables-json(5)), so no text of a spec is ever parsed as a
rule. A table is replaced as a whole in one transaction: the old rules stand, or the new ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING, Any, Final

from jails.namespaces.ip import UnreadableAnswer
from jails.spec import Forward

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IPV4: Final = "ip"
IPV6: Final = "ip6"
FAMILIES: Final = (IPV4, IPV6)
_ADDRESS_TYPES = {IPV4: "ipv4_addr", IPV6: "ipv6_addr"}
# Sets in the table of a jail: its bridge and address, where it wants to be reached from, and by
# which ports.
JAILS: Final = "jails"
THROUGH: Final = "through"
PORTS: Final = "ports"
# Where netfilter translates destinations and sources: NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC.
_BEFORE_ROUTING = -100
_AFTER_ROUTING = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """What is translated for one jail, and what ``jails.namespaces.guard`` has to let through."""

    table: str
    address: IPv4Interface | IPv6Interface
    bridge: str
    # Whether what leaves through other interfaces than the bridge gets the host's address.
    is_masqueraded: bool
    forwards: tuple[Forward, ...]

    @property
    def family(self) -> str:
        """The family of its table."""
        return IPV4 if self.address.version == 4 else IPV6


@dataclass(frozen=True, slots=True)
class Elements:
    """A set of names and addresses in some table; each element as words."""

    family: str
    table: str
    name: str
    words: frozenset[tuple[str, ...]]


def load_argv(nft: str) -> tuple[str, ...]:
    """Carry out the commands on standard input, all or none."""
    return (nft, "-j", "-f", "-")


def tables_argv(nft: str) -> tuple[str, ...]:
    """List all tables, for ``parse_tables``."""
    return (nft, "-j", "list", "tables")


def delete_argv(nft: str, family: str, table: str) -> tuple[str, ...]:
    """Delete a table with all its rules."""
    return (nft, "delete", "table", family, table)


def sets_argv(nft: str) -> tuple[str, ...]:
    """List the sets of all tables, for ``parse_sets``."""
    return (nft, "-j", "list", "sets")


def parse_tables(text: str) -> frozenset[tuple[str, str]]:
    """Family and name of the tables of our families; raises ``UnreadableAnswer``."""
    found = ((str(each["family"]), str(each["name"])) for each in _said(text, "table"))
    return frozenset(each for each in found if each[0] in FAMILIES)


def parse_sets(text: str) -> tuple[Elements, ...]:
    """The sets of our families, as far as plain words are in them; raises ``UnreadableAnswer``."""
    return tuple(
        Elements(
            str(each["family"]),
            str(each["table"]),
            str(each["name"]),
            frozenset(filter(None, map(_words, each.get("elem", ())))),
        )
        for each in _said(text, "set", "table")
        if each["family"] in FAMILIES
    )


def _said(text: str, kind: str, *more: str) -> list[dict[str, Any]]:
    try:
        found = [each[kind] for each in json.loads(text)["nftables"] if kind in each]
        if all({"family", "name", *more} <= each.keys() for each in found):
            return found
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableAnswer("nft", text) from error
    raise UnreadableAnswer("nft", text)


def _words(element: Any) -> tuple[str, ...]:
    """The words of one element; none for what we never write, such as ranges."""
    said = element.get("concat", ()) if isinstance(element, dict) else (element,)
    is_plain = all(isinstance(word, str | int) for word in said)
    return tuple(map(str, said)) if is_plain else ()


def commands(wanted: Ruleset) -> bytes:
    """Commands that make the table what ``wanted`` says, whatever it was."""
    return replacement(wanted.family, wanted.table, _contents(wanted))


def replacement(family: str, table: str, contents: Iterable[dict[str, Any]]) -> bytes:
    """Commands that make a table of these contents, whatever it was."""
    named = {"table": {"family": family, "name": table}}
    # Added before it is deleted, so that deleting cannot fail.
    said = [{"add": named}, {"delete": named}, {"add": named}]
    return json.dumps({"nftables": [*said, *contents]}).encode()


def address_set(table: tuple[str, str], elements: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The set of bridges and addresses of jails, in the table of that family and name."""
    return named_set(table, JAILS, ("ifname", _ADDRESS_TYPES[table[0]]), elements)


def named_set(
    table: tuple[str, str], name: str, kinds: tuple[str, ...], elements: Iterable[tuple[str, ...]]
) -> dict[str, Any]:
    """A set with its elements; ``kinds`` is the type of each word of an element."""
    words = sorted(elements)
    listed = [each[0] if len(each) == 1 else {"concat": list(each)} for each in words]
    where = {"family": table[0], "table": table[1], "name": name}
    what = {"type": kinds[0] if len(kinds) == 1 else list(kinds)}
    return {"add": {"set": where | what | ({"elem": listed} if listed else {})}}


def match(operator: str, left: dict[str, Any], right: Any) -> dict[str, Any]:
    """An expression that compares; a rule goes on only if it holds."""
    return {"match": {"op": operator, "left": left, "right": right}}


def chain(table: tuple[str, str], name: str, kind: str, hook: str, priority: int) -> dict[str, Any]:
    """A chain that is entered at ``hook`` and lets through what no rule of it decides on."""
    where = {"family": table[0], "table": table[1], "name": name}
    how = {"type": kind, "hook": hook, "prio": priority, "policy": "accept"}
    return {"add": {"chain": where | how}}


def rule(table: tuple[str, str], chain: str, *expressions: dict[str, Any]) -> dict[str, Any]:
    """A rule at the end of a chain."""
    where = {"family": table[0], "table": table[1], "chain": chain}
    return {"add": {"rule": where | {"expr": list(expressions)}}}


def _contents(wanted: Ruleset) -> Iterator[dict[str, Any]]:
    table, address = (wanted.family, wanted.table), str(wanted.address.ip)
    through = {wanted.bridge, *(forward.interface for forward in wanted.forwards)}
    yield address_set(table, [(wanted.bridge, address)])
    yield named_set(table, THROUGH, ("ifname",), [(each,) for each in through])
    ports = map(port_words, wanted.forwards)
    yield named_set(table, PORTS, ("ifname", "inet_proto", "inet_service"), ports)
    yield chain(table, "arriving", "nat", "prerouting", _BEFORE_ROUTING)
    for forward in wanted.forwards:
        yield rule(table, "arriving", *_redirect(forward, address))
    yield chain(table, "leaving", "nat", "postrouting", _AFTER_ROUTING)
    if wanted.is_masqueraded:
        source = match("==", payload(wanted.family, "saddr"), address)
        way_out = match("!=", {"meta": {"key": "oifname"}}, wanted.bridge)
        yield rule(table, "leaving", source, way_out, {"masquerade": None})


def port_words(forward: Forward) -> tuple[str, ...]:
    """The element of the set ``PORTS`` that stands for a forward."""
    return (forward.interface, forward.protocol, str(forward.port))


def payload(protocol: str, field: str) -> dict[str, Any]:
    """A field of a packet; that of addresses is named like the family."""
    return {"payload": {"protocol": protocol, "field": field}}


def _redirect(forward: Forward, address: str) -> list[dict[str, Any]]:
    port = forward.port if forward.inner_port is None else forward.inner_port
    # Only what is meant for the host itself; what it passes on has nothing to do with its ports.
    meant = {"fib": {"result": "type", "flags": "daddr"}}
    return [
        match("==", {"meta": {"key": "iifname"}}, forward.interface),
        match("==", meant, "local"),
        match("==", payload(forward.protocol, "dport"), forward.port),
        {"dnat": {"addr": address, "port": port}},
    ]
