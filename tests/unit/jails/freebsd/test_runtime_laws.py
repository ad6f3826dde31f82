"""Laws of the FreeBSD runtime on the model machine, whatever is done and wherever it breaks off."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import freebsdyard
from jails.freebsd.model import Crashed
from jails.naming import is_ours
from jails.runtime import JailError
from jails.spec import (
    Forward,
    Isolation,
    JailFile,
    JailSpec,
    JailState,
    Limits,
    Network,
    NetworkKind,
)

if TYPE_CHECKING:
    from freebsdyard import Yard
    from jails.freebsd.runtime import FreeBsdRuntime

LIMITS = Limits(memory_bytes=64 << 20, processes=50)
FORWARD = Forward(interface="vtnet0", protocol="udp", port=4433)
OWN = Network(kind=NetworkKind.VNET, bridge="bridge0", address="10.77.0.11/24", gateway="10.77.0.1")
SHARED = Network(kind=NetworkKind.SHARED, interface="lo1", address="10.88.0.5/32")
COMMAND = ("/usr/local/bin/node", "--data", "{data}")
ISOLATIONS = (
    Isolation(),
    Isolation(network=OWN, limits=LIMITS, forwards=(FORWARD,)),
    Isolation(network=SHARED, user="macula"),
)
VERBS = ("ensure", "ensure", "ensure", "update_files", "stop", "remove", "rename", "kill")
FILES = (JailFile(path="c", content=b"one"), JailFile(path="c", content=b"two"))
SPECS = tuple(
    JailSpec(name=name, command=COMMAND, isolation=isolation, files=(file,))
    for name, isolations in (("n1", ISOLATIONS), ("n2", ISOLATIONS[:1]))
    for isolation in isolations
    for file in FILES
)
FOREIGN = """\
n1 {
  path = "/data/foreign";
  mount = "/bin /data/foreign/bin nullfs ro 0 0";
  vnet;
  vnet.interface = epair7b;
  exec.start = "/usr/sbin/daemon -f -r /bin/sleep 600";
  persist;
}
"""
FOREIGN_INTERFACES = ("vtnet0", "lo0", "epair7a", "epair8a", "epair8b", "bridge9")
# These stay: a bridge and a loopback may serve others as well.
OTHERS = (*FOREIGN_INTERFACES, "bridge0", "lo1")


@dataclass(frozen=True)
class Act:
    """One operation, the moment in which it breaks off, and what is in its way."""

    verb: str
    spec: JailSpec
    crash_after: int | None
    busy: int
    looks: int


ACTS = st.builds(
    Act,
    verb=st.sampled_from(VERBS),
    spec=st.sampled_from(SPECS),
    crash_after=st.none() | st.integers(1, 90),
    busy=st.integers(0, 30),
    looks=st.integers(0, 40),
)


def settle_foreigners(yard: Yard) -> None:
    """A jail with the name of ours, an epair, a rule and an anchor that belong to somebody else."""
    host = yard.host
    for path in ("bin", "root", "dev", "var/run"):
        host.files.make_folder(f"/data/foreign/{path}")
    for path in ("/usr/sbin/daemon", "/bin/sleep"):
        host.files.write(f"/data/foreign{path}", b"")
    host.files.write("/data/foreign.conf", FOREIGN.encode())
    host.run("ifconfig", "epair7", "create")
    host.run("ifconfig", "epair8", "create")
    host.run("ifconfig", "bridge9", "create")
    host.run("ifconfig", "bridge9", "addm", "epair8a")
    host.run("jail", "-f", "/data/foreign.conf", "-c", "n1")
    host.run("rctl", "-a", "jail:n1:maxproc:deny=9")
    rule = b"rdr pass on vtnet0 inet proto udp to (vtnet0:0) port 9 -> 10.0.0.9\n"
    host.run("pfctl", "-a", "other/n1", "-f", "-", stdin=rule)


def foreign_things(yard: Yard) -> tuple[object, ...]:
    host = yard.host
    return (
        host.jails.alive["n1"].jid,
        [each for each in host.mounts.table if not each.path.startswith(str(yard.folder))],
        [each.pid for each in host.processes.of("n1")],
        [each.name for each in host.network.stacks["n1"].interfaces],
        [
            (each.name, [member.name for member in each.members if not is_ours(member.name)])
            for each in host.network.stacks[""].interfaces
            if each.name in FOREIGN_INTERFACES
        ],
        [rule for rule in host.limits.rules if not rule.jail.startswith("macula-")],
        {name: rules for name, rules in host.firewall.anchors.items() if "macula/" not in name},
    )


def things_of_ours(yard: Yard) -> tuple[list[object], ...]:
    host = yard.host
    return (
        [each for each in host.jails.alive if each.startswith("macula-")],
        [each for each in host.mounts.table if each.path.startswith(str(yard.root))],
        [name for name in host.pool.systems if name != "tank"],
        [each for each in host.processes.alive.values() if each.jail.startswith("macula-")],
        [each.name for each in host.network.stacks[""].interfaces if each.name not in OTHERS],
        [each for each in host.limits.rules if each.jail.startswith("macula-")],
        [name for name in host.firewall.anchors if name.startswith("macula/")],
        [str(each) for i in host.network.stacks[""].interfaces if i.name == "lo1"
         for each in i.addresses],
    )  # fmt: skip


def perform(yard: Yard, act: Act) -> None:
    host = yard.host
    runtime = yard.runtime()
    for each in host.mounts.table:
        if act.busy and each.path.startswith(str(yard.folder)):
            host.mounts.busy[each.path] = act.busy
    host.jails.linger = {"macula-n1": act.looks} if act.looks else {}
    host.crash_at = None if act.crash_after is None else host.moments + act.crash_after
    with suppress(Crashed, JailError):
        do(runtime, yard, act)
    host.crash_at = None
    host.mounts.busy.clear()


def do(runtime: FreeBsdRuntime, yard: Yard, act: Act) -> None:
    match act.verb:
        case "ensure":
            runtime.ensure(act.spec)
        case "update_files":
            runtime.update_files(act.spec)
        case "stop":
            runtime.stop(act.spec.name)
        case "remove":
            runtime.remove(act.spec.name)
        case "rename":
            runtime.rename(act.spec.name, "n2" if act.spec.name == "n1" else "n1")
        case _:
            for each in yard.host.processes.of(f"macula-{act.spec.name}")[:1]:
                yard.host.run("kill", "-9", str(each.pid))


def check_whole(yard: Yard, spec: JailSpec) -> None:
    """The jail is there once, with all that it needs and nothing twice."""
    host = yard.host
    facts = yard.runtime().look()[spec.name]
    assert facts.state is JailState.RUNNING
    assert facts.program_digest == spec.program_digest()
    assert facts.files_digest == spec.files_digest()
    kernel_name = f"macula-{spec.name}"
    assert len(host.processes.of(kernel_name)) == 3
    paths = [
        e.path for e in host.mounts.table if e.path.startswith(f"{yard.root}/{spec.name}/root/")
    ]
    assert len(paths) == len(set(paths)) == 8
    limits = spec.isolation.limits
    wanted = [each for each in (limits.memory_bytes, limits.processes) if each is not None]
    assert len([each for each in host.limits.rules if each.jail == kernel_name]) == len(wanted)
    has_anchor = f"macula/{spec.name}" in host.firewall.anchors
    assert has_anchor == bool(spec.isolation.forwards or spec.isolation.network.gateway)
    if spec.isolation.network.kind is NetworkKind.VNET:
        bridge = host.network.stacks[""].find("bridge0")
        assert bridge is not None
        assert len(bridge.members) == 1
        assert all(each.is_up for each in bridge.members)
        inner = [
            each for each in host.network.stacks[kernel_name].interfaces if each.kind == "epair"
        ]
        assert [str(each.addresses[0]) for each in inner] == [spec.isolation.network.address]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts=st.lists(ACTS, max_size=6), last=st.sampled_from(SPECS), has_pool=st.booleans())
@example(acts=[], last=SPECS[2], has_pool=False)
def test_whatever_breaks_off_ensure_makes_whole_and_remove_leaves_nothing(
    acts: list[Act], last: JailSpec, has_pool: bool
) -> None:
    with freebsdyard.yard(has_pool=has_pool) as yard:
        settle_foreigners(yard)
        before = foreign_things(yard)
        for act in acts:
            perform(yard, act)
            assert foreign_things(yard) == before
        yard.host.jails.linger = {}
        if last.name == "n1":
            yard.runtime().remove("n2")
        yard.runtime().ensure(last)
        check_whole(yard, last)
        pids = [each.pid for each in yard.host.processes.of(f"macula-{last.name}")]
        yard.runtime().ensure(last)
        assert [each.pid for each in yard.host.processes.of(f"macula-{last.name}")] == pids
        for name in ("n1", "n2"):
            yard.runtime().remove(name)
        assert not any(things_of_ours(yard))
        assert foreign_things(yard) == before
        assert list(yard.root.iterdir()) == []


@pytest.mark.parametrize("has_pool", [False, True])
def test_every_single_moment_of_a_start_can_be_the_last(has_pool: bool) -> None:
    """Not drawn but all of them: the widest spec, broken off at each moment, then made whole."""
    spec = SPECS[2]
    with freebsdyard.yard(has_pool=has_pool) as yard:
        yard.runtime().ensure(spec)
        moments = yard.host.moments
    assert moments > 60
    for moment in range(1, moments + 1):
        with freebsdyard.yard(has_pool=has_pool) as yard:
            perform(yard, Act("ensure", spec, moment, 0, 0))
            yard.runtime().ensure(spec)
            check_whole(yard, spec)
            check_nothing_left(yard, spec)
        with freebsdyard.yard(has_pool=has_pool) as yard:
            perform(yard, Act("ensure", spec, moment, 0, 0))
            check_nothing_left(yard, spec)


def check_nothing_left(yard: Yard, spec: JailSpec) -> None:
    """When the jail is removed all goes with it, the bridge that was made for it too."""
    yard.runtime().remove(spec.name)
    assert not any(things_of_ours(yard))
    assert yard.host.network.stacks[""].find("bridge0") is None
    assert not yard.root.exists() or list(yard.root.iterdir()) == []


@pytest.mark.parametrize("has_pool", [False, True])
def test_every_single_moment_of_a_removal_can_be_the_last(has_pool: bool) -> None:
    spec = SPECS[2]
    moments = 1
    while True:
        with freebsdyard.yard(has_pool=has_pool) as yard:
            yard.runtime().ensure(spec)
            first = yard.host.moments
            perform(yard, Act("remove", spec, moments, 0, 0))
            is_done = yard.host.moments < first + moments
            yard.runtime().remove(spec.name)
            assert not any(things_of_ours(yard))
            assert list(yard.root.iterdir()) == []
        if is_done:
            break
        moments += 1
    assert moments > 20


def test_a_spec_is_replaced_not_mixed() -> None:
    with freebsdyard.yard() as yard:
        for spec in (SPECS[2], SPECS[0], SPECS[4], replace(SPECS[2], stop_deadline_s=3.0)):
            yard.runtime().ensure(spec)
            check_whole(yard, spec)
