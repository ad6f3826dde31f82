"""What ip(8) says is read as it is said, and never believed beyond that."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.namespaces import ip

LINKS = """[
{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"operstate":"UNKNOWN"},
{"ifindex":5,"ifname":"mjx0","flags":["BROADCAST","MULTICAST"],"operstate":"DOWN",
 "linkinfo":{"info_kind":"bridge","info_data":{"forward_delay":1500}},"address":"06:00:00:00:00:01"},
{"ifindex":6,"link_index":2,"ifname":"mjx1","flags":["BROADCAST","MULTICAST","UP"],"master":"mjx0",
 "linkinfo":{"info_kind":"veth","info_slave_kind":"bridge"},"ifalias":"macula-1-n1"}]"""
ADDRESSES = """[{},{"ifindex":2,"ifname":"x","addr_info":[
{"family":"inet","local":"10.77.1.1","prefixlen":24,"scope":"global","label":"x"}]}]"""


def test_interfaces_are_read_with_kind_owner_and_bridge() -> None:
    links = ip.parse_links(LINKS)
    assert links["lo"] == ip.Link(name="lo", is_up=True)
    assert links["mjx0"] == ip.Link(name="mjx0", kind="bridge", mac="06:00:00:00:00:01")
    assert links["mjx1"] == ip.Link(
        name="mjx1", kind="veth", alias="macula-1-n1", master="mjx0", is_up=True
    )


def test_addresses_and_namespaces_are_read() -> None:
    assert ip.parse_links(ADDRESSES)["x"].addresses == ("10.77.1.1/24",)
    assert ip.parse_namespaces('[{"name":"a","id":0},{"name":"b"}]') == ("a", "b")


def test_where_there_is_nothing_ip_says_nothing() -> None:
    assert ip.parse_namespaces("") == ()
    assert dict(ip.parse_links("")) == {}


@pytest.mark.parametrize("text", ["Cannot open", "{}", "[1]", '[{"id": 0}]', "[null]"])
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ip.UnreadableAnswer, match="cannot read what ip said"):
        ip.parse_namespaces(text)


@given(st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True), unique=True))
def test_every_namespace_is_found(names: list[str]) -> None:
    assert ip.parse_namespaces(json.dumps([{"name": name} for name in names])) == tuple(names)


def test_interfaces_of_default_routes_are_read() -> None:
    text = """[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},
    {"dst":"default","flags":[],"nexthops":[{"gateway":"10.0.0.1","dev":"a","weight":1,"flags":[]},
     {"gateway":"10.0.1.1","dev":"b","weight":1,"flags":[]}]},{"type":"unreachable","dst":"default"}]"""
    assert ip.parse_route_interfaces(text) == {"eth0", "a", "b"}
    assert ip.parse_route_interfaces("") == frozenset()


def test_an_address_of_ipv6_is_used_at_once_and_has_routes_of_its_own() -> None:
    words = ip.inside_argvs("ip", "n", "i", "fd00::2/64", "fd00::1")
    assert words[1][-3:] == ("dev", "i", "nodad")
    assert words[-1][-6:] == ("-6", "route", "replace", "default", "via", "fd00::1")
    assert ip.address_argv("ip", "i", "fd00::2/64")[-1] == "nodad"
    assert "nodad" not in ip.address_argv("ip", "i", "10.0.0.2/24")


def test_without_a_gateway_no_route_is_set() -> None:
    words = [word for argv in ip.inside_argvs("ip", "n", "i", "10.0.0.2/24", "") for word in argv]
    assert "route" not in words
    routed = ip.inside_argvs("ip", "n", "i", "10.0.0.2/24", "10.0.0.1")
    assert routed[-1][-4:] == ("replace", "default", "via", "10.0.0.1")
