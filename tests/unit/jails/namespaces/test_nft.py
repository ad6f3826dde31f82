"""Rules of one jail: replaced as a whole, and never made of text."""

from __future__ import annotations

import json
from ipaddress import IPv4Interface
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
FORWARD = Forward(interface="eth0", protocol="udp", port=7000, inner_port=4433)


def said(*forwards: Forward, is_masqueraded: bool = True) -> list[dict[str, Any]]:
    ruleset = nft.Ruleset(
        table="t",
        address=IPv4Interface("10.77.1.11/24"),
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


def test_tables_of_our_family_are_read() -> None:
    assert nft.parse_tables(TABLES) == {"macula-1-n1"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nftables": [{"table": {}}]}', "null"])
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(UnreadableAnswer, match="cannot read what nft said"):
        nft.parse_tables(text)
