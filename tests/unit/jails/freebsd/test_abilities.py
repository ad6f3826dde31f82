"""What a machine can do is found by asking, said in one line, and never asked of a jail in vain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import freebsdyard
from jails.freebsd import jls
from jails.freebsd.abilities import Abilities, probe
from jails.freebsd.model import ModelHost
from jails.freebsd.runtime import FreeBsdRuntime
from jails.runtime import JailError
from jails.spec import Forward, Isolation, JailSpec, Limits, Network, NetworkKind
from maculaos.host.commands import CommandFailed, ScriptedRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freebsdyard import Yard

ALL = Abilities(has_network=True, has_limits=True, has_firewall=True, has_zfs=True)
VNET = Network(
    kind=NetworkKind.VNET, bridge="bridge0", address="10.77.0.11/24", gateway="10.77.0.1"
)
SHARED = Network(kind=NetworkKind.SHARED, interface="lo1", address="10.88.0.5/32")
FORWARD = Forward(interface="vtnet0", protocol="udp", port=4433)
WIDEST = Isolation(network=VNET, forwards=(FORWARD,), limits=Limits(processes=5))


@pytest.fixture
def yard() -> Iterator[Yard]:
    with freebsdyard.yard() as yard:
        yield yard


def test_a_machine_that_has_everything_says_so(yard: Yard) -> None:
    yard.host.pool.make("tank", yard.folder, yard.folder / "pool")
    assert probe(yard.host) == ALL
    assert ALL.statement() == "jails work here in full"


def test_what_is_missing_is_named_with_what_it_costs() -> None:
    host = ModelHost()
    host.tunables.values["kern.racct.enable"] = "0"
    del host.tunables.values["kern.features.vimage"]
    assert probe(host) == Abilities()
    assert probe(host).statement() == (
        "jails work here, but the kernel has no VIMAGE: no network of its own for a jail;"
        " kern.racct.enable is not 1 (set it in /boot/loader.conf): no limits;"
        " pf is not loaded and enabled (service pf onestart): no forwards, no way out;"
        " no ZFS is mounted: writable parts are folders, and snapshots are copies"
    )


def test_a_packet_filter_counts_only_loaded_and_enabled(yard: Yard) -> None:
    assert probe(yard.host).has_firewall
    yard.host.run("pfctl", "-d")
    assert not probe(yard.host).has_firewall
    yard.host.firewall.is_loaded = False
    assert not probe(yard.host).has_firewall


@pytest.mark.parametrize(
    ("system", "user", "said"),
    [
        ("Linux", "0", "jails do not work here: jail(8) is of FreeBSD, and this is Linux"),
        ("FreeBSD", "1001", "jails do not work here: only root can make jails"),
    ],
)
def test_an_obstacle_is_told_and_refuses_every_jail(
    yard: Yard, system: str, user: str, said: str
) -> None:
    yard.host.system, yard.host.user = system, user
    assert probe(yard.host).statement() == said
    with pytest.raises(JailError, match=r"n1: jails do not work here: .*take the runtime process"):
        yard.runtime().ensure(JailSpec(name="n1", command=("/x",)))
    assert not yard.root.exists()


def test_a_machine_without_any_of_the_tools_has_an_obstacle_and_no_error() -> None:
    asked = ("uname", "-s")
    runner = ScriptedRunner({asked: CommandFailed(asked, 127, "uname: not found")})
    assert probe(runner).obstacle == "jail(8) is of FreeBSD, and this is another system"


def test_jls_that_fails_is_the_obstacle_in_its_own_words() -> None:
    runner = ScriptedRunner(
        {
            ("uname", "-s"): "FreeBSD\n",
            ("id", "-u"): "0\n",
            jls.jls_argv(): CommandFailed(jls.jls_argv(), 127, "jls: not found"),
        }
    )
    assert probe(runner).obstacle == "jls: not found"


@pytest.mark.parametrize(
    ("abilities", "isolation", "said"),
    [
        (
            replace(ALL, has_network=False),
            WIDEST,
            "a network of its own needs a kernel with VIMAGE",
        ),
        (replace(ALL, has_limits=False), WIDEST, r"limits need kern\.racct\.enable=1"),
        (
            replace(ALL, has_firewall=False),
            WIDEST,
            "for forwards and a way out pf must be loaded and enabled",
        ),
        (replace(ALL, has_firewall=False), Isolation(network=VNET), "for a way out pf must be"),
        (
            replace(ALL, has_firewall=False),
            Isolation(network=SHARED, forwards=(FORWARD,)),
            "for forwards pf must",
        ),
    ],
)
def test_what_the_machine_lacks_is_refused_before_anything_is_made(
    yard: Yard, abilities: Abilities, isolation: Isolation, said: str
) -> None:
    runtime = FreeBsdRuntime(yard.root, yard.clock, runner=yard.host, abilities=abilities)
    with pytest.raises(JailError, match=said):
        runtime.ensure(JailSpec(name="n1", command=("/x",), isolation=isolation))
    assert not yard.root.exists()


def test_all_that_is_lacking_is_told_in_one_message(yard: Yard) -> None:
    runtime = FreeBsdRuntime(yard.root, yard.clock, runner=yard.host, abilities=Abilities())
    with pytest.raises(JailError, match=r"VIMAGE; limits need .*; for forwards and a way out"):
        runtime.ensure(JailSpec(name="n1", command=("/x",), isolation=WIDEST))


def test_a_jail_that_asks_for_nothing_special_runs_anywhere(yard: Yard) -> None:
    yard.host.firewall.is_loaded = False
    yard.host.tunables.values["kern.racct.enable"] = "0"
    runtime = yard.runtime()
    runtime.ensure(JailSpec(name="n1", command=("/x",), isolation=Isolation(network=SHARED)))
    assert runtime.usage("n1").processes is None
    runtime.remove("n1")
