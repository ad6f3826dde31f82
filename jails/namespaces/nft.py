"""nft(8): forwards and address translation of one jail, as a table of its own. Pure.

Rules are written and read as JSON (libnftables-json(5)), so no text of a spec is ever parsed as a
rule. A table is replaced as a whole in one transaction: the old rules stand, or the new ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, Any

from jails.namespaces.ip import UnreadableAnswer
from jails.spec import Forward

if TYPE_CHECKING:
    from collections.abc import Iterator

FAMILY = "ip"
# Where netfilter translates destinations and sources: NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC.
_BEFORE_ROUTING = -100
_AFTER_ROUTING = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """What is translated for one jail."""

    table: str
    address: IPv4Interface
    bridge: str
    # Whether what leaves through other interfaces than the bridge gets the host's address.
    is_masqueraded: bool
    forwards: tuple[Forward, ...]


def load_argv(nft: str) -> tuple[str, ...]:
    """Carry out the commands on standard input, all or none."""
    return (nft, "-j", "-f", "-")


def tables_argv(nft: str) -> tuple[str, ...]:
    """List all tables, for ``parse_tables``."""
    return (nft, "-j", "list", "tables")


def delete_argv(nft: str, table: str) -> tuple[str, ...]:
    """Delete a table with all its rules."""
    return (nft, "delete", "table", FAMILY, table)


def parse_tables(text: str) -> frozenset[str]:
    """Names of the tables of our family; raises ``UnreadableAnswer``."""
    try:
        said = json.loads(text)["nftables"]
        tables = [each["table"] for each in said if "table" in each]
        return frozenset(str(each["name"]) for each in tables if each["family"] == FAMILY)
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableAnswer("nft", text) from error


def commands(wanted: Ruleset) -> bytes:
    """Commands that make the table what ``wanted`` says, whatever it was."""
    table = {"table": {"family": FAMILY, "name": wanted.table}}
    # Added before it is deleted, so that deleting cannot fail.
    said = [{"add": table}, {"delete": table}, {"add": table}, *_contents(wanted)]
    return json.dumps({"nftables": said}).encode()


def _contents(wanted: Ruleset) -> Iterator[dict[str, Any]]:
    yield _chain(wanted, "arriving", "prerouting", _BEFORE_ROUTING)
    for forward in wanted.forwards:
        yield _rule(wanted, "arriving", _redirect(forward, wanted.address))
    yield _chain(wanted, "leaving", "postrouting", _AFTER_ROUTING)
    if wanted.is_masqueraded:
        source = _match(
            "==", {"payload": {"protocol": "ip", "field": "saddr"}}, str(wanted.address.ip)
        )
        way_out = _match("!=", {"meta": {"key": "oifname"}}, wanted.bridge)
        yield _rule(wanted, "leaving", [source, way_out, {"masquerade": None}])


def _redirect(forward: Forward, address: IPv4Interface) -> list[dict[str, Any]]:
    port = forward.port if forward.inner_port is None else forward.inner_port
    asked = {"payload": {"protocol": forward.protocol, "field": "dport"}}
    # Only what is meant for the host itself; what it passes on has nothing to do with its ports.
    meant = {"fib": {"result": "type", "flags": "daddr"}}
    return [
        _match("==", {"meta": {"key": "iifname"}}, forward.interface),
        _match("==", meant, "local"),
        _match("==", asked, forward.port),
        {"dnat": {"addr": str(address.ip), "port": port}},
    ]


def _match(operator: str, left: dict[str, Any], right: str | int) -> dict[str, Any]:
    return {"match": {"op": operator, "left": left, "right": right}}


def _chain(wanted: Ruleset, name: str, hook: str, priority: int) -> dict[str, Any]:
    where = {"family": FAMILY, "table": wanted.table, "name": name}
    how = {"type": "nat", "hook": hook, "prio": priority, "policy": "accept"}
    return {"add": {"chain": where | how}}


def _rule(wanted: Ruleset, chain: str, expression: list[dict[str, Any]]) -> dict[str, Any]:
    rule = {"family": FAMILY, "table": wanted.table, "chain": chain, "expr": expression}
    return {"add": {"rule": rule}}
