"""Translations of one jail: its way out and its forwards, there as long as it is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import freebsdyard
from jails.freebsd import pfctl
from jails.freebsd.model import ModelHost
from jails.naming import derive
from jails.runtime import JailError
from jails.spec import Forward, Isolation, JailSpec, Network, NetworkKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freebsdyard import Yard

VNET = Network(
    kind=NetworkKind.VNET, bridge="bridge0", address="10.77.0.11/24", gateway="10.77.0.1"
)
FORWARD = Forward(interface="vtnet0", protocol="udp", port=4433)
WAY_OUT = [
    "nat on vtnet0 inet proto udp from 10.77.0.11 to any -> (vtnet0:0) static-port",
    "nat on vtnet0 inet from 10.77.0.11 to any -> (vtnet0:0)",
]


@pytest.fixture
def yard() -> Iterator[Yard]:
    with freebsdyard.yard() as yard:
        yield yard


def spec(network: Network = VNET, *forwards: Forward, name: str = "n1") -> JailSpec:
    isolation = Isolation(network=network, forwards=forwards)
    return JailSpec(name=name, command=("/x",), isolation=isolation)


def test_a_jail_with_a_gateway_gets_out_and_keeps_the_ports_of_udp(yard: Yard) -> None:
    yard.runtime().ensure(spec())
    assert yard.host.firewall.anchors == {"macula/n1": WAY_OUT}
    assert yard.host.tunables.values["net.inet.ip.forwarding"] == "1"
    yard.runtime().stop("n1")
    assert yard.host.firewall.anchors == {}


def test_a_bridge_that_cannot_be_made_is_told_with_the_next_move(yard: Yard) -> None:
    with pytest.raises(JailError, match="there is no bridge macula0; make it, or name it bridge"):
        yard.runtime().ensure(spec(replace(VNET, bridge="macula0")))


def test_a_jail_without_a_gateway_has_no_way_out(yard: Yard) -> None:
    yard.runtime().ensure(spec(replace(VNET, gateway="")))
    assert yard.host.firewall.anchors == {}
    assert yard.host.tunables.values["net.inet.ip.forwarding"] == "0"


def test_forwards_stand_beside_the_way_out_and_are_not_loaded_again(yard: Yard) -> None:
    yard.runtime().ensure(spec(VNET, FORWARD))
    (rules,) = yard.host.firewall.anchors.values()
    assert rules[:2] == WAY_OUT
    assert rules[2].startswith("rdr pass on vtnet0 inet proto udp")
    loaded = yard.host.asked.count(pfctl.load_argv("n1"))
    yard.runtime().ensure(spec(VNET, FORWARD))
    assert yard.host.asked.count(pfctl.load_argv("n1")) == loaded


def test_a_machine_whose_jails_share_its_stack_does_not_become_a_router(yard: Yard) -> None:
    shared = Network(kind=NetworkKind.SHARED, interface="lo1", address="10.88.0.5/32")
    yard.runtime().ensure(spec(shared, FORWARD))
    assert list(yard.host.firewall.anchors) == ["macula/n1"]
    assert yard.host.tunables.values["net.inet.ip.forwarding"] == "0"


def test_rules_that_nobody_here_wrote_are_replaced(yard: Yard) -> None:
    yard.runtime().ensure(spec())
    yard.host.firewall.anchors["macula/n1"] = ["pass all"]
    yard.runtime().ensure(spec())
    assert yard.host.firewall.anchors == {"macula/n1": WAY_OUT}


def test_a_machine_without_a_way_out_runs_the_jail_and_sets_the_rules_when_it_has_one(
    yard: Yard,
) -> None:
    yard.host.has_way_out = False
    yard.runtime().ensure(spec())
    assert yard.host.firewall.anchors == {}
    yard.host.has_way_out = True
    yard.runtime().ensure(spec())
    assert yard.host.firewall.anchors == {"macula/n1": WAY_OUT}


def test_traffic_is_told_from_where_the_jail_stands(yard: Yard) -> None:
    yard.runtime().ensure(spec())
    end = yard.host.network.stacks[""].find(derive("n1").host_interface)
    assert end is not None
    end.received_bytes, end.sent_bytes = 10, 2000
    usage = yard.runtime().usage("n1")
    assert (usage.received_bytes, usage.sent_bytes) == (2000, 10)


@pytest.mark.parametrize(
    "network",
    [Network(), Network(kind=NetworkKind.SHARED, interface="lo1", address="10.88.0.5/32")],
)
def test_traffic_of_a_stack_that_is_shared_is_not_told(yard: Yard, network: Network) -> None:
    yard.runtime().ensure(spec(network))
    usage = yard.runtime().usage("n1")
    assert usage.received_bytes is usage.sent_bytes is None


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("n291133", "n5695290", f"{derive('n291133').host_interface}"),
        ("n164867", "n331847", f"{derive('n164867').host_mac}"),
    ],
)
def test_jails_whose_derived_names_meet_are_refused(
    yard: Yard, one: str, other: str, what: str
) -> None:
    yard.runtime().ensure(JailSpec(name=one, command=("/x",)))
    with pytest.raises(JailError, match=f"its derived name {what} is also that of {one}"):
        yard.runtime().ensure(JailSpec(name=other, command=("/x",)))
    assert list(yard.runtime().look()) == [one]
    yard.runtime().remove(one)
    yard.runtime().ensure(JailSpec(name=other, command=("/x",)))


TRANSLATIONS = st.builds(
    pfctl.Translation,
    interface=st.sampled_from(["em0", "vtnet0", "em0.100"]),
    address=st.ip_addresses(v=4),
    protocol=st.sampled_from(["", "udp", "tcp"]),
    keeps_port=st.booleans(),
)


@given(rules=st.lists(TRANSLATIONS, max_size=4))
def test_translations_are_listed_as_they_were_loaded(rules: list[pfctl.Translation]) -> None:
    host = ModelHost()
    host.run(*pfctl.load_argv("n1"), stdin=pfctl.rules_text(rules))
    assert pfctl.parse_rules(host.run(*pfctl.list_argv("n1"))) == tuple(rules)


def test_an_interface_without_a_number_may_be_taken_in_turn() -> None:
    listed = "nat on wan inet from 10.0.0.1 to any -> (wan:0) round-robin static-port\n"
    (rule,) = pfctl.parse_rules(listed)
    assert rule == pfctl.Translation(
        interface="wan", address=IPv4Address("10.0.0.1"), keeps_port=True
    )


@pytest.mark.parametrize("interface", ["", "em0; x", "em0\nem1", "0em", "a" * 16, "(em0)"])
def test_no_rule_can_be_made_of_an_interface_that_is_none(interface: str) -> None:
    with pytest.raises(ValueError, match="cannot be said in a rule"):
        pfctl.Translation(interface=interface, address=IPv4Address("10.0.0.1"))
    with pytest.raises(ValueError, match="cannot be said in a rule"):
        pfctl.Redirect(interface=interface, protocol="udp", port=1, address=IPv4Address("10.0.0.1"))


@pytest.mark.parametrize(("port", "inner"), [(0, None), (65536, None), (1, 0), (1, 65536)])
def test_no_redirect_can_be_made_of_ports_that_are_none(port: int, inner: int | None) -> None:
    with pytest.raises(ValueError, match="no redirect of ports"):
        pfctl.Redirect(
            interface="em0",
            protocol="udp",
            port=port,
            address=IPv4Address("10.0.0.1"),
            inner_port=inner,
        )
