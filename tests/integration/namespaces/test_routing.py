"""A machine with jails forwards for them, and does not become a router for anybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import namespaceyard
import netmachine
from jails.namespaces import guard
from netmachine import BRIDGE, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[False, True], ids=["ipv4", "ipv6"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    namespaceyard.need_network()
    with (
        namespaceyard.yard() as root,
        netmachine.machine(root, is_ipv6=request.param) as machine,
    ):
        yield machine
        machine.do("remove")


def family(machine: Machine) -> str:
    return "ip6" if machine.plan.is_ipv6 else "ip"


def is_router_for_strangers(machine: Machine, tries: int = 4) -> bool:
    plan = machine.plan
    return machine.asked_from("stranger", plan.address(2, 2), tries=tries) == plan.address(1, 2)


def test_jails_reach_and_are_reached_and_nobody_else_is_forwarded(machine: Machine) -> None:
    plan = machine.plan
    assert not is_router_for_strangers(machine)
    machine.do("ensure", plan.is_ipv6)
    # The jail sees who asks, and is seen as the machine.
    assert machine.asked_from("stranger", plan.address(1, 1), 7000) == plan.address(1, 2)
    assert machine.do("ask", plan.address(2, 2)) == plan.address(2, 1)
    assert not is_router_for_strangers(machine)
    for side in ("stranger", "other"):
        # Not by its own address either: only what was opened is open.
        assert machine.asked_from(side, plan.address(3, 2), tries=4) == ""
    assert machine.asked_from("other", plan.address(2, 1), 7000, tries=4) == ""


def test_without_the_guard_strangers_would_be_forwarded_and_ensure_brings_it_back(
    machine: Machine,
) -> None:
    """So it is the guard that refuses; and what runs is not touched."""
    before = machine.do("ensure", machine.plan.is_ipv6)
    machine.run("nft", "delete", "table", family(machine), guard.TABLE)
    assert is_router_for_strangers(machine, tries=50)
    assert machine.do("state").split() == before.split()[:1]
    machine.do("ensure", machine.plan.is_ipv6)
    assert machine.do("state") == before
    assert not is_router_for_strangers(machine)


def test_a_firewall_that_was_flushed_leaves_no_router_behind(machine: Machine) -> None:
    """All records are gone then, but those in the switches."""
    machine.do("ensure", machine.plan.is_ipv6)
    machine.run("nft", "flush", "ruleset")
    machine.do("ensure", machine.plan.is_ipv6)
    assert not is_router_for_strangers(machine)
    machine.do("remove")
    assert machine.switches() == {}


def test_only_what_jails_need_is_switched_on_and_off_again_with_the_last(
    machine: Machine,
) -> None:
    assert machine.switches() == {}
    machine.do("ensure", machine.plan.is_ipv6)
    on = machine.switches()
    if machine.plan.is_ipv6 and "all/forwarding" in on:
        assert set(on) == {"all/forwarding"}  # a kernel that has one switch for all
    else:
        assert {name.split("/")[0] for name in on} == {"left", "right", BRIDGE}
    machine.do("remove")
    assert machine.switches() == {}
    assert machine.run("nft", "list", "tables") == ""


@pytest.mark.parametrize("interface", ["left", "right", BRIDGE])
def test_a_switch_that_somebody_put_back_is_seen_and_repaired(
    machine: Machine, interface: str
) -> None:
    before = machine.do("ensure", machine.plan.is_ipv6)
    (name,) = [each for each in machine.switches() if each.split("/")[0] in (interface, "all")]
    which = "ipv6" if machine.plan.is_ipv6 else "ipv4"
    switch = f"/proc/sys/net/{which}/conf/{name}"
    machine.run("sh", "-c", f"echo 0 > {switch}")
    pid, _, digest = machine.do("state").partition(" ")
    assert (pid, digest) == (before.split()[0], "")
    assert machine.do("ensure", machine.plan.is_ipv6) == before


def test_a_machine_that_was_a_router_stays_one(machine: Machine) -> None:
    which = "ipv6" if machine.plan.is_ipv6 else "ipv4"
    machine.run("sh", "-c", f"echo 1 > /proc/sys/net/{which}/conf/all/forwarding")
    assert is_router_for_strangers(machine, tries=50)
    before = machine.switches()
    machine.do("ensure", machine.plan.is_ipv6)
    assert is_router_for_strangers(machine, tries=50)
    plan = machine.plan
    assert machine.asked_from("stranger", plan.address(1, 1), 7000) == plan.address(1, 2)
    machine.do("remove")
    assert is_router_for_strangers(machine, tries=50)
    assert machine.switches() == before


def test_a_machine_that_becomes_a_router_meanwhile_is_let_be(machine: Machine) -> None:
    before = machine.do("ensure", machine.plan.is_ipv6)
    if "all/forwarding" in machine.switches():
        pytest.skip("this kernel has one switch for all: whose it is cannot be told")
    which = "ipv6" if machine.plan.is_ipv6 else "ipv4"
    machine.run("sh", "-c", f"echo 1 > /proc/sys/net/{which}/conf/all/forwarding")
    assert not is_router_for_strangers(machine)
    assert machine.do("ensure", machine.plan.is_ipv6) == before
    assert is_router_for_strangers(machine, tries=50)
    machine.do("remove")
    assert is_router_for_strangers(machine, tries=50)
