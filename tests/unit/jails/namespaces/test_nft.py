"""Rules of one jail: replaced as a whole, and never made of text."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.namespaces import nft
from jails.namespaces.ip import UnreadableAnswer
from jails.spec import Forward

TABLES = """{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
{"table": {"family": "inet", "name": "filter", "handle": 1}},
{"table": {"family": "ip", "name": "macula-1-n1", "handle": 2}}]}"""
SETS = """{"nftables": [{"metainfo": {"version": "1.0.6"}},
{"set": {"family": "ip", "name": "jails", "table": "t", "type": ["ifname", "ipv4_addr"],
 "handle": 2, "elem": [{"concat": ["br0", "10.77.1.11"]}, "eth0", {"range": ["1.0.0.1", "1.0.0.9"]},
 {"concat": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, "x"]}, 7]}},
{"set": {"family": "ip6", "name": "empty", "table": "t", "type": "ifname", "handle": 3}},
{"set": {"family": "inet", "name": "other", "table": "t", "type": "ifname", "handle": 3}}]}"""
FORWARD = Forward(interface="eth0", protocol="udp", port=7000, inner_port=4433)


def said(
    *forwards: Forward, is_masqueraded: bool = True, address: str = "10.77.1.11/24"
) -> list[dict[str, Any]]:
    ruleset = nft.Ruleset(
        table="t",
        address=ip_interface(address),
        bridge="br0",
        is_masqueraded=is_masqueraded,
        forwards=forwards,
    )
    found: list[dict[str, Any]] = json.loads(nft.commands(ruleset))["nftables"]
    return found


def rules(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each["add"]["rule"] for each in found if "rule" in each.get("add", {})]


def test_the_old_table_goes_in_the_same_transaction() -> None:
    kinds = [next(iter(each)) for each in said(FORWARD)[:3]]
    assert kinds == ["add", "delete", "add"]


def test_a_forward_leads_to_the_inner_port() -> None:
    (rule, masquerade) = rules(said(FORWARD))
    assert rule["expr"][-1] == {"dnat": {"addr": "10.77.1.11", "port": 4433}}
    assert masquerade["expr"][-1] == {"masquerade": None}


def test_a_forward_without_an_inner_port_keeps_its_own() -> None:
    (rule, _) = rules(said(Forward(interface="eth0", protocol="tcp", port=80)))
    assert rule["expr"][-1]["dnat"]["port"] == 80


def test_nothing_is_masqueraded_that_has_no_way_out() -> None:
    assert rules(said(is_masqueraded=False)) == []


@given(st.text(max_size=20))
def test_whatever_an_interface_is_called_it_stays_a_value(name: str) -> None:
    (rule, _) = rules(said(Forward(interface=name, protocol="udp", port=1)))
    assert rule["expr"][0]["match"]["right"] == name


def test_a_jail_with_an_address_of_ipv6_has_rules_of_that_family() -> None:
    found = said(FORWARD, address="fd00:77::11/64")
    assert {next(iter(each.values()))["family"] for each in map(_object, found)} == {"ip6"}
    (rule, masquerade) = rules(found)
    assert rule["expr"][-1] == {"dnat": {"addr": "fd00:77::11", "port": 4433}}
    assert masquerade["expr"][0]["match"]["left"]["payload"] == {
        "protocol": "ip6",
        "field": "saddr",
    }


def _object(command: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(command.values()))
    return found


def test_its_table_says_what_has_to_be_let_through() -> None:
    sets = {each["add"]["set"]["name"]: each["add"]["set"] for each in said(FORWARD)[3:5]}
    assert sets["jails"]["elem"] == [{"concat": ["br0", "10.77.1.11"]}]
    assert sets["through"]["elem"] == ["br0", "eth0"]


def test_tables_of_our_families_are_read() -> None:
    assert nft.parse_tables(TABLES) == {("ip", "macula-1-n1")}


def test_sets_are_read_as_far_as_they_are_plain() -> None:
    found = nft.parse_sets(SETS)
    assert [(each.family, each.table, each.name) for each in found] == [
        ("ip", "t", "jails"),
        ("ip6", "t", "empty"),
    ]
    assert found[0].words == {("br0", "10.77.1.11"), ("eth0",), ("7",)}
    assert found[1].words == frozenset()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nftables": [{"table": {}}]}', "null"])
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(UnreadableAnswer, match="cannot read what nft said"):
        nft.parse_tables(text)
    with pytest.raises(UnreadableAnswer, match="cannot read what nft said"):
        nft.parse_sets(text.replace("table", "set"))
