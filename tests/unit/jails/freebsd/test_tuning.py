"""Tunables inside a vnet jail: each with a reason, and none that could stop a start."""

from __future__ import annotations

import re

import freebsdyard
from jails.freebsd import tuning
from jails.freebsd.place import Place
from jails.freebsd.render import jail_conf
from jails.naming import derive
from jails.spec import Isolation, JailSpec, JailState, Network, NetworkKind

VNET = Network(kind=NetworkKind.VNET, bridge="bridge0", address="10.77.0.11/24")
SPEC = JailSpec(name="n1", command=("/x",), isolation=Isolation(network=VNET))


def test_each_is_named_once_with_a_reason() -> None:
    names = [each.name for each in tuning.TUNABLES]
    assert len(names) == len(set(names))
    assert all(len(each.reason) > 20 for each in tuning.TUNABLES)
    assert all(re.fullmatch(r"net\.[a-z0-9_.]+", name) for name in names)


def test_a_vnet_jail_has_them_set_in_its_own_stack() -> None:
    with freebsdyard.yard() as yard:
        yard.host.tunables.values["net.inet.udp.blackhole"] = "2"
        yard.runtime().ensure(SPEC)
        assert yard.host.tunables.values["net.inet.udp.blackhole"] == "0"


def test_a_jail_without_a_stack_of_its_own_sets_none() -> None:
    with freebsdyard.yard() as yard:
        conf = jail_conf(
            JailSpec(name="n1", command=("/x",)), Place(yard.root / "n1"), derive("n1")
        )
        assert "sysctl" not in conf


def test_names_that_a_release_does_not_know_fail_no_start() -> None:
    with freebsdyard.yard() as yard:
        for each in tuning.TUNABLES:
            yard.host.tunables.values.pop(each.name, None)
        yard.runtime().ensure(SPEC)
        assert yard.runtime().look()["n1"].state is JailState.RUNNING
