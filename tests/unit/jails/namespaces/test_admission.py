"""What cannot be had is refused before anything starts, all of it at once."""

from __future__ import annotations

import pytest

from jails.namespaces.abilities import TOOLS, Abilities
from jails.namespaces.admission import refuse_unsupported
from jails.runtime import JailError
from jails.spec import (
    Forward,
    Isolation,
    JailSpec,
    Limits,
    Network,
    NetworkKind,
    Root,
    RootKind,
    SharedFolder,
)

FULL = Abilities(
    is_root=True,
    tools={name: f"/bin/{name}" for name in TOOLS},
    controllers=frozenset({"memory", "pids", "cpu"}),
)
ORDINARY = Abilities(is_root=False, tools=FULL.tools)
GATEWAY = "10.77.1.1"


def vnet(**changes: str) -> Network:
    said = {"bridge": "br0", "address": "10.77.1.11/24", "gateway": GATEWAY} | changes
    return Network(kind=NetworkKind.VNET, **said)


FORWARD = Forward(interface="eth0", protocol="udp", port=7000)
GOOD = Isolation(
    network=vnet(),
    forwards=(FORWARD,),
    user="nobody",
    limits=Limits(memory_bytes=1, processes=1, open_files=1, cpu_percent=1),
    mounts=(SharedFolder(source="/srv", target="/srv"),),
)


def refuse(
    isolation: Isolation,
    abilities: Abilities = FULL,
    others: dict[str, tuple[str, str]] | None = None,
) -> None:
    spec = JailSpec(name="n1", command=("true",), isolation=isolation)
    refuse_unsupported(spec, abilities, others or {})


def test_what_can_be_had_is_let_through() -> None:
    refuse(GOOD)
    refuse(Isolation(), ORDINARY)


@pytest.mark.parametrize(
    ("isolation", "why"),
    [
        (Isolation(root=Root(kind=RootKind.THIN, base="base")), "no absolute path"),
        (Isolation(mounts=(SharedFolder(source="/a/../b", target="/c"),)), "no absolute path"),
        (Isolation(mounts=(SharedFolder(source="/a", target="/"),)), "root folder as its target"),
        (Isolation(mounts=(SharedFolder(source="/a", target="/c"),) * 2), "one target"),
        (Isolation(network=Network(kind=NetworkKind.SHARED)), "take vnet or host"),
        (Isolation(network=vnet(bridge="a-bridge-too-long")), "no name of a bridge"),
        (Isolation(network=vnet(bridge="br 0")), "no name of a bridge"),
        (Isolation(network=vnet(address="10.77.1.11")), "no address with a length"),
        (Isolation(network=vnet(address="fd00::1%eth0/64")), "no address with a length"),
        (Isolation(network=vnet(address="fe80::11/64")), "no address with a length"),
        (Isolation(network=vnet(address="224.0.0.1/24")), "no address with a length"),
        (Isolation(network=vnet(address="::/64")), "no address with a length"),
        (Isolation(network=vnet(address="fd00::11/64")), "no other address in fd00::/64"),
        (Isolation(network=vnet(bridge="all")), "no name of a bridge"),
        (Isolation(network=vnet(gateway="10.78.1.1")), "no other address in 10.77.1.0/24"),
        (Isolation(network=vnet(gateway="10.77.1.11")), "no other address in 10.77.1.0/24"),
        (Isolation(forwards=(FORWARD,)), "network of its own"),
        (Isolation(network=vnet(gateway=""), forwards=(FORWARD,)), "needs a gateway"),
        (Isolation(network=vnet(), forwards=(FORWARD, FORWARD)), "forwarded twice"),
        (
            Isolation(
                network=vnet(), forwards=(Forward(interface="eth0", protocol="icmp", port=1),)
            ),
            "port icmp 1 on 'eth0' cannot be forwarded",
        ),
        (Isolation(limits=Limits(processes=0)), "more than nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(isolation: Isolation, why: str) -> None:
    with pytest.raises(JailError, match=why):
        refuse(isolation)


def test_an_address_of_ipv6_is_let_through_and_compared_as_an_address() -> None:
    network = vnet(address="fd00:77::11/64", gateway="fd00:77::1")
    refuse(Isolation(network=network, forwards=(FORWARD,)))
    with pytest.raises(JailError, match="is that of the jail n2"):
        refuse(Isolation(network=network), others={"n2": ("br0", "fd00:0077::0011/64")})
    with pytest.raises(JailError, match="no other address"):
        refuse(Isolation(network=vnet(address="fd00:77::11/64", gateway="fd00:77:0::11")))


def test_an_ordinary_user_is_told_everything_in_one_message() -> None:
    with pytest.raises(JailError) as refused:
        refuse(GOOD, ORDINARY)
    for what in ("network of its own", "forwards", "account", "processes", "processor share"):
        assert what in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_address_of_another_jail_on_the_same_bridge_is_refused() -> None:
    isolation = Isolation(network=vnet())
    refuse(isolation, others={"n1": ("br0", "10.77.1.11/24"), "n2": ("br1", "10.77.1.11/24")})
    with pytest.raises(JailError, match="is that of the jail n2"):
        refuse(isolation, others={"n2": ("br0", "10.77.1.11/25")})


def test_where_no_jail_can_be_made_the_reason_is_told() -> None:
    broken = Abilities(is_root=True, tools={}, obstacle="bwrap is not installed")
    with pytest.raises(JailError, match="namespaces do not work here: bwrap is not installed"):
        refuse(Isolation(), broken)


@pytest.mark.parametrize(
    ("abilities", "words"),
    [
        (FULL, ("namespaces work here in full",)),
        (ORDINARY, ("not as root", "no control group v2 for memory, pids, cpu")),
        (Abilities(is_root=True, tools={"bwrap": "/bin/bwrap"}), ("ip, nft", "not installed")),
    ],
)
def test_the_statement_says_in_one_line_what_is_missing(
    abilities: Abilities, words: tuple[str, ...]
) -> None:
    statement = abilities.statement()
    assert all(word in statement for word in words)
    assert "\n" not in statement
