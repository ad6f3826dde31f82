"""Derived names: short enough, stable, told apart, and found when they meet."""

from __future__ import annotations

import re
from ipaddress import IPv4Network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jails.freebsd.ifconfig import LONGEST_NAME
from jails.naming import Names, collisions, derive, derive_address, is_ours

IDENTITIES = st.text(min_size=1, max_size=64)
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@given(IDENTITIES)
def test_interface_names_fit_the_kernel(identity: str) -> None:
    names = derive(identity)
    for name in (names.host_interface, names.jail_interface):
        assert len(name) <= LONGEST_NAME
        assert name.isascii()
        assert name.isalnum()
        assert is_ours(name)
    assert names.host_interface != names.jail_interface


@given(IDENTITIES)
def test_macs_are_local_unicast_and_differ_at_both_ends(identity: str) -> None:
    names = derive(identity)
    assert names.host_mac != names.jail_mac
    for mac in (names.host_mac, names.jail_mac):
        assert MAC.fullmatch(mac)
        first = int(mac[:2], 16)
        assert first & 0b01 == 0
        assert first & 0b10 == 0b10


def test_names_never_change() -> None:
    # A change of these would make every running jail a stranger.
    assert derive("n1") == Names(
        jail="n1",
        host_interface="mj823efbe90eca",
        jail_interface="mj823efbe90ecb",
        host_mac="06:3e:07:10:7e:39",
        jail_mac="0a:3b:84:8c:19:7d",
    )


@given(st.sets(IDENTITIES, max_size=20))
def test_distinct_jails_do_not_meet(identities: set[str]) -> None:
    assert collisions(derive(identity) for identity in identities) == ()


@given(IDENTITIES, st.integers(8, 30), st.integers(0, 2**32 - 1))
def test_addresses_lie_inside_and_leave_the_ends_free(
    identity: str, length: int, start: int
) -> None:
    network = IPv4Network((start, length), strict=False)
    address = derive_address(identity, network)
    assert address in network
    assert address not in (network[0], network[1], network[-1])


@given(IDENTITIES, st.integers(31, 32))
def test_a_network_without_room_is_refused(identity: str, length: int) -> None:
    with pytest.raises(ValueError, match="has no address for a jail"):
        derive_address(identity, IPv4Network((0, length), strict=False))


@given(IDENTITIES, IDENTITIES)
def test_two_jails_with_one_address_are_found(one: str, other: str) -> None:
    assume(one != other)
    address = derive_address("x", IPv4Network("10.77.0.0/24"))
    (found,) = collisions([derive(one, address=address), derive(other, address=address)])
    assert found.name == str(address)
    assert found.jails == tuple(sorted((one, other)))


@given(IDENTITIES)
def test_a_jail_does_not_meet_itself(identity: str) -> None:
    assert collisions([derive(identity), derive(identity)]) == ()


@pytest.mark.parametrize("name", ["", "mj", "lo0", "epair0a", "mj0123456789xa", "mj01234567890c"])
def test_other_interfaces_are_not_ours(name: str) -> None:
    assert not is_ours(name)
