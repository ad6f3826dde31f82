"""Where things of a jail lie, on the machine and as seen from inside; addresses of vnets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.spec import Forward, Isolation, Network, NetworkKind, SharedFolder
from maculaos.documents import read_document
from maculaos.settings import NodeSettings
from reconciler.placement import OwnNetwork, Placement
from reconciler.render import HeldCredentials, MachinePaths, Rendered, render
from reconciler.specs.desired import Desired
from reconciler.specs.spec import AppSpec, Listen, NodeSpec, RealmSpec

if TYPE_CHECKING:
    from random import Random

    from jails.spec import JailSpec

WIDE = OwnNetwork(bridge="macula0", subnet=IPv4Network("10.77.0.0/16"))
HELD = HeldCredentials("aa", has_revocations=True)
SOCKETS_OF_N1 = SharedFolder(source="/run/m/n1", target="/macula/run", is_writable=True)

subnets = st.integers(8, 28).flatmap(
    lambda length: st.integers(0, 2**length - 1).map(
        lambda prefix: IPv4Network((prefix << (32 - length), length))
    )
)
jails = st.text("abcdefghij-", min_size=1, max_size=32)


def node(name: str, address: str = "127.0.0.1", advertise: tuple[str, ...] = ()) -> NodeSpec:
    listen = Listen(address=address, port=4701, advertise=advertise)
    return NodeSpec(version=1, name=name, realm="demo", listen=listen)


def rendered(placement: Placement, *nodes: NodeSpec, app: str = "") -> Rendered:
    machine = MachinePaths(
        macula=("macula",),
        credentials_dir=Path("/etc/keys"),
        run_dir=Path("/run/m"),
        credentials=MappingProxyType({each.name: HELD for each in nodes}),
        placement=placement,
    )
    apps = {app: AppSpec(version=1, name=app, node=nodes[0].name, command=("x",))} if app else {}
    realm = RealmSpec(version=1, name="demo")
    return render(Desired.of(realm, nodes, apps.values()), machine)


def settings_in(jail: JailSpec) -> NodeSettings:
    (file,) = jail.files
    return read_document(file.content, file.path, NodeSettings).value


@given(subnets, jails)
def test_address_is_a_host_of_the_subnet_and_never_the_gateway(
    subnet: IPv4Network, jail: str
) -> None:
    network = OwnNetwork(bridge="b", subnet=subnet, uplink="em0").network_of(jail)
    address = IPv4Address(network.address.partition("/")[0])
    taken = (subnet.network_address, subnet.broadcast_address, IPv4Address(network.gateway))
    assert address in subnet
    assert address not in taken


def test_address_of_a_name_never_changes() -> None:
    assert WIDE.address_of("node-n1") == "10.77.249.55"


@given(st.lists(jails, unique=True, max_size=20), st.randoms(use_true_random=False))
def test_clashes_name_all_who_share_whatever_their_order(names: list[str], random: Random) -> None:
    narrow = OwnNetwork(bridge="b", subnet=IPv4Network("10.0.0.0/28"))
    clashing = narrow.clashes(names)
    for name in names:
        sharing = [
            n for n in names if n != name and narrow.address_of(n) == narrow.address_of(name)
        ]
        assert (name in clashing) == bool(sharing)
        assert all(other in clashing[name] for other in sharing)
    shuffled = list(names)
    random.shuffle(shuffled)
    assert narrow.clashes(shuffled) == clashing


def test_without_isolation_everything_lies_where_the_machine_has_it() -> None:
    made = rendered(Placement(), node("n1"), app="a")
    assert all(jail.isolation == Isolation() for jail in made.jails.values())
    assert settings_in(made.jails["node-n1"]).control_socket == Path("/run/m/n1/control.sock")
    assert made.jails["app-a"].environment["MACULA_SOCKET"] == "/run/m/n1/control.sock"


def test_isolated_node_sees_its_own_identity_and_its_own_sockets_alone() -> None:
    jail = rendered(Placement(isolates=True), node("n1"), node("n2")).jails["node-n1"]
    read = settings_in(jail)
    assert read.credentials.key == Path("/macula/identity/node.key")
    assert read.credentials.revocations == Path("/macula/identity/realm.crl")
    assert read.control_socket == Path("/macula/run/control.sock")
    assert jail.isolation.mounts == (
        SharedFolder(source="/etc/keys/n1", target="/macula/identity"),
        SOCKETS_OF_N1,
    )


def test_isolated_app_sees_the_sockets_of_its_node_and_cannot_change_them() -> None:
    jail = rendered(Placement(isolates=True), node("n1"), app="a").jails["app-a"]
    assert jail.isolation.mounts == (replace(SOCKETS_OF_N1, is_writable=False),)
    assert jail.environment["MACULA_SOCKET"] == "/macula/run/control.sock"


def test_nodes_with_own_networks_bind_and_dial_each_others_addresses() -> None:
    made = rendered(Placement(isolates=True, own_network=WIDE), node("n1"), node("n2"))
    first, second = (settings_in(made.jails[f"node-{name}"]) for name in ("n1", "n2"))
    assert first.listen.address == WIDE.address_of("node-n1")
    assert first.peers == (f"{second.listen.address}:4701",)
    assert made.reach["n2"] == f"{second.listen.address}:4701"
    assert made.jails["node-n1"].isolation.network == Network(
        kind=NetworkKind.VNET, bridge="macula0", address=f"{first.listen.address}/16"
    )


def test_uplink_leads_to_a_node_that_listens_for_the_world_and_out_of_its_network() -> None:
    own = replace(WIDE, uplink="em0")
    far = node("n1", "0.0.0.0", ("a.example:4701",))  # noqa: S104  # a spec, not a socket
    made = rendered(Placement(isolates=True, own_network=own), far, node("n2"))
    jail = made.jails["node-n1"]
    assert jail.isolation.forwards == (Forward(interface="em0", protocol="udp", port=4701),)
    assert jail.isolation.network.gateway == "10.77.0.1"
    assert settings_in(jail).listen.advertise == ("a.example:4701",)
    # On the machine itself the name would lead out and back in.
    assert settings_in(made.jails["node-n2"]).peers == (made.reach["n1"],)
    assert made.jails["node-n2"].isolation.forwards == ()


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.7", "::"])  # noqa: S104  # specs
def test_node_that_nobody_could_reach_is_blocked_with_the_next_move(address: str) -> None:
    far = node("n1", address, ("a.example:4701",))
    made = rendered(Placement(isolates=True, own_network=WIDE), far)
    assert list(made.jails) == []
    assert "network.uplink" in made.blocked["node-n1"]


def test_jails_whose_addresses_clash_are_all_blocked() -> None:
    narrow = replace(WIDE, subnet=IPv4Network("10.0.0.0/28"))
    nodes = [node(f"n{number}") for number in range(14)]
    made = rendered(Placement(isolates=True, own_network=narrow), *nodes)
    assert made.blocked
    assert len(made.jails) + len(made.blocked) == len(nodes)
    assert len({jail.isolation.network.address for jail in made.jails.values()}) == len(made.jails)


def test_nodes_that_want_one_port_of_the_uplink_are_all_blocked() -> None:
    own = replace(WIDE, uplink="em0")
    # On two addresses of one machine, so that they share no socket.
    first, second = node("n1", "192.0.2.7"), node("n2", "192.0.2.8")
    made = rendered(Placement(isolates=True, own_network=own), first, second, node("n3"))
    assert list(made.jails) == ["node-n3"]
    assert "4701 of em0 is also wanted by node-n2" in made.blocked["node-n1"]
    assert "node-n1" in made.blocked["node-n2"]


def test_a_node_behind_the_uplink_is_advertised_where_the_uplink_is_reached() -> None:
    own = replace(WIDE, uplink="em0")
    made = rendered(Placement(isolates=True, own_network=own), node("n1", "192.0.2.7"))
    listen = settings_in(made.jails["node-n1"]).listen
    assert listen.advertised == ("192.0.2.7:4701",)
    assert listen.address == WIDE.address_of("node-n1")


def test_a_local_node_in_its_own_network_is_advertised_where_its_neighbours_reach_it() -> None:
    near = node("n1", "127.0.0.1", ("127.0.0.1:4701",))
    made = rendered(Placement(isolates=True, own_network=WIDE), near)
    listen = settings_in(made.jails["node-n1"]).listen
    assert listen.advertised == (f"{WIDE.address_of('node-n1')}:4701",)


@pytest.mark.parametrize(
    ("address", "advertise", "is_blocked"),
    [
        ("2001:db8::7", (), True),
        ("::", ("[2001:db8::7]:4701",), True),
        ("::", ("[2001:db8::7]:4701", "192.0.2.7:4701"), False),
        ("2001:db8::7", ("edge.example:4701",), False),
        ("::1", (), False),
    ],
)
def test_a_node_that_others_dial_by_ipv6_alone_is_blocked_behind_an_uplink(
    address: str, advertise: tuple[str, ...], *, is_blocked: bool
) -> None:
    own = replace(WIDE, uplink="em0")
    far = node("n1", address, advertise)
    blocked = rendered(Placement(isolates=True, own_network=own), far).blocked
    assert bool(blocked) is is_blocked
    assert all("only IPv4 leads into its own network" in why for why in blocked.values())
