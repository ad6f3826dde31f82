"""Jails with networks of their own: they meet on the bridge, and nothing is left of them."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import jailyard
import namespaceyard
from jails.namespaces.record import delete_record
from jails.runtime import JailError
from jails.spec import Forward, Isolation, JailState, Network, NetworkKind
from namespaceyard import BRIDGE, GATEWAY, NETWORK, tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT = "import signal; signal.pause()"
# Answers every datagram with where it came from.
ECHO = (
    "import socket\n"
    "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "s.bind(('0.0.0.0', 4433)); print('bound', flush=True)\n"
    "while True:\n"
    "    data, peer = s.recvfrom(100); s.sendto(peer[0].encode(), peer)\n"
)
# Asks until it is answered: the bridge may need a moment to carry.
ASK = (
    "import socket, sys\n"
    "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.2)\n"
    "for _ in range(50):\n"
    "    try:\n"
    "        s.sendto(b'who am I', (sys.argv[1], int(sys.argv[2])))\n"
    "        print(s.recv(100).decode(), flush=True); break\n"
    "    except OSError: pass\n"
    "else: print('no answer', flush=True)\n"
)
MOVED = f"10.79.{namespaceyard.WORKER}"
OUTSIDE = f"mjout{namespaceyard.WORKER}"
OUTER_NETWORK = f"10.76.{100 + namespaceyard.WORKER}"


@pytest.fixture
def root() -> Iterator[Path]:
    namespaceyard.need_network()
    with namespaceyard.yard() as root:
        yield root


def vnet(number: int, gateway: str = "", forwards: tuple[Forward, ...] = ()) -> Isolation:
    return Isolation(network=namespaceyard.vnet(number, gateway), forwards=forwards)


def test_two_jails_meet_on_the_bridge(root: Path) -> None:
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(namespaceyard.jail("n1", ECHO, vnet(11)))
    asking = namespaceyard.jail("n2", f"{ASK}\n{WAIT}", vnet(12))
    runtime.ensure(replace(asking, command=(*asking.command, f"{NETWORK}.11", "4433")))
    assert namespaceyard.said(root, "n2") == [f"{NETWORK}.12"]
    usage = runtime.usage("n1")
    assert usage.received_bytes
    assert usage.sent_bytes
    for name in ("n1", "n2"):
        runtime.remove(name)
    namespaceyard.check_nothing_left(root)


def test_the_bridge_goes_with_its_last_jail_even_if_no_record_names_it(root: Path) -> None:
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(namespaceyard.jail("n1", WAIT, vnet(11)))
    delete_record(jailyard.directory_of(root))
    runtime.remove("n1")
    namespaceyard.check_nothing_left(root)


def test_a_jail_has_only_its_own_interfaces_and_cannot_change_them(root: Path) -> None:
    code = (
        "import fcntl, socket, struct\n"
        "names = sorted(name for _, name in socket.if_nameindex())\n"
        "down = struct.pack('16sh14x', names[0].encode(), 0)\n"
        "try: fcntl.ioctl(socket.socket(), 0x8914, down); how = 'changed'\n"
        f"except OSError: how = 'refused'\nprint(len(names), how, flush=True)\n{WAIT}"
    )
    namespaceyard.runtime_at(root).ensure(namespaceyard.jail("n1", code, vnet(11)))
    assert namespaceyard.said(root, "n1") == ["2 refused"]


def test_without_a_gateway_there_is_no_way_out(root: Path) -> None:
    code = (
        "import socket\n"
        "try: socket.create_connection(('192.0.2.1', 9), 1); print('out', flush=True)\n"
        f"except OSError as e: print(e.strerror, flush=True)\n{WAIT}"
    )
    namespaceyard.runtime_at(root).ensure(namespaceyard.jail("n1", code, vnet(11)))
    assert namespaceyard.said(root, "n1") == ["Network is unreachable"]


@pytest.fixture
def outside() -> Iterator[str]:
    """A network namespace that stands for another machine; the host's interface towards it."""
    namespaceyard.need_network()
    tool("ip", "netns", "add", OUTSIDE)
    try:
        inner = ("peer", "name", "far", "netns", OUTSIDE)
        tool("ip", "link", "add", "name", OUTSIDE, "type", "veth", *inner)
        tool("ip", "address", "add", f"{OUTER_NETWORK}.1/24", "dev", OUTSIDE)
        tool("ip", "link", "set", "dev", OUTSIDE, "up")
        # One way out among others, and the last to be taken.
        metric = str(9900 + namespaceyard.WORKER)
        way_out = ("default", "via", f"{OUTER_NETWORK}.2", "dev", OUTSIDE, "metric", metric)
        tool("ip", "route", "add", *way_out)
        there = ("ip", "-netns", OUTSIDE)
        tool(*there, "address", "add", f"{OUTER_NETWORK}.2/24", "dev", "far")
        tool(*there, "link", "set", "dev", "far", "up")
        yield OUTSIDE
    finally:
        # The namespace goes when its last socket does; its pair is deleted at once.
        tool("ip", "link", "delete", "dev", OUTSIDE)
        tool("ip", "netns", "delete", OUTSIDE)


def test_a_forwarded_port_is_reached_from_outside(root: Path, outside: str) -> None:
    forward = Forward(interface=outside, protocol="udp", port=7000, inner_port=4433)
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(namespaceyard.jail("n1", ECHO, vnet(11, GATEWAY, (forward,))))
    namespaceyard.said(root, "n1")
    ask = (*jailyard.python(ASK), f"{OUTER_NETWORK}.1", "7000")
    # The jail sees who asks: what arrives keeps its address.
    assert tool("ip", "netns", "exec", outside, *ask).strip() == f"{OUTER_NETWORK}.2"
    runtime.stop("n1")
    assert namespaceyard.left_on_host(root) == []


def test_what_leaves_by_the_gateway_has_the_hosts_address(root: Path, outside: str) -> None:
    listening = namespaceyard.jail("far", ECHO)
    with namespaceyard.yard() as other:
        # The program of another machine, which knows no way back to the jail's own network.
        argv = ("ip", "netns", "exec", outside, *listening.command)
        far = jailyard.runtime_at(other)
        far.ensure(replace(listening, command=argv))
        asking = namespaceyard.jail("n1", f"{ASK}\n{WAIT}", vnet(11, GATEWAY))
        command = (*asking.command, f"{OUTER_NETWORK}.2", "4433")
        namespaceyard.runtime_at(root).ensure(replace(asking, command=command))
        assert namespaceyard.said(root, "n1") == [f"{OUTER_NETWORK}.1"]


def test_two_jails_meet_by_ipv6_as_soon_as_they_run(root: Path) -> None:
    """No address is held back until it is sure that nobody else has it."""
    code = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('fd00:77::{0}', 4433))\n"
        "print('bound', flush=True)\n"
        "while True:\n"
        "    data, peer = s.recvfrom(100)\n"
        "    if data == b'who am I': s.sendto(peer[0].encode(), peer)\n"
    )
    ask = (
        "import socket, sys, time\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(5)\n"
        "s.bind((sys.argv[1], 0)); s.sendto(b'who am I', (sys.argv[2], 4433))\n"
        "print(s.recv(100).decode())\n"
    )
    runtime = namespaceyard.runtime_at(root)
    for number, name in (("11", "n1"), ("12", "n2")):
        network = Network(kind=NetworkKind.VNET, bridge=BRIDGE, address=f"fd00:77::{number}/64")
        isolation = Isolation(network=network)
        runtime.ensure(namespaceyard.jail(name, code.replace("{0}", number), isolation))
        namespaceyard.said(root, name)
    for here, there, name in (("11", "12", "n1"), ("12", "11", "n2")):
        command = (*jailyard.python(ask), f"fd00:77::{here}", f"fd00:77::{there}")
        assert runtime.exec(name, command).strip() == f"fd00:77::{here}"
    for name in ("n1", "n2"):
        runtime.remove(name)
    namespaceyard.check_nothing_left(root)


@pytest.mark.parametrize(
    ("what", "is_kept"),
    [
        ("pair", False),
        ("namespace", False),
        ("bridge", True),
        ("membership", True),
        ("gateway", True),
        ("table", True),
    ],
)
def test_damage_is_seen_and_repaired_under_a_running_program_where_it_can_be(
    root: Path, what: str, *, is_kept: bool
) -> None:
    runtime = namespaceyard.runtime_at(root)
    spec = jailyard.idle(isolation=vnet(11, GATEWAY))
    runtime.ensure(spec)
    before = runtime.look()["n1"]
    assert before.program_digest == spec.program_digest()
    labels = namespaceyard.labels_of(root)
    tool(
        *{
            "pair": ("ip", "link", "delete", "dev", labels.interfaces.host_interface),
            "bridge": ("ip", "link", "delete", "dev", BRIDGE),
            "membership": ("ip", "link", "set", labels.interfaces.host_interface, "nomaster"),
            "gateway": ("ip", "address", "flush", "dev", BRIDGE),
            "namespace": ("ip", "netns", "delete", labels.place),
            "table": ("nft", "delete", "table", "ip", labels.place),
        }[what]
    )
    assert runtime.look()["n1"].program_digest == ""
    runtime.ensure(spec)
    after = runtime.look()["n1"]
    assert after.program_digest == spec.program_digest()
    assert (after.pid == before.pid) is is_kept
    runtime.remove("n1")
    namespaceyard.check_nothing_left(root)


def test_a_mended_network_carries_and_forwards_as_before(root: Path, outside: str) -> None:
    forward = Forward(interface=outside, protocol="udp", port=7000, inner_port=4433)
    runtime = namespaceyard.runtime_at(root)
    spec = namespaceyard.jail("n1", ECHO, vnet(11, GATEWAY, (forward,)))
    runtime.ensure(spec)
    namespaceyard.said(root, "n1")
    before = jailyard.pid_of(root)
    tool("ip", "link", "delete", "dev", BRIDGE)
    tool("nft", "delete", "table", "ip", namespaceyard.labels_of(root).place)
    runtime.ensure(spec)
    ask = (*jailyard.python(ASK), f"{OUTER_NETWORK}.1", "7000")
    assert tool("ip", "netns", "exec", outside, *ask).strip() == f"{OUTER_NETWORK}.2"
    assert jailyard.pid_of(root) == before


def test_a_gateway_goes_with_the_last_jail_that_it_serves(root: Path) -> None:
    runtime = namespaceyard.runtime_at(root)
    moved = Network(
        kind=NetworkKind.VNET, bridge=BRIDGE, address=f"{MOVED}.12/24", gateway=f"{MOVED}.1"
    )
    for name, isolation in (
        ("n1", vnet(11, GATEWAY)),
        ("n2", vnet(12, GATEWAY)),
        ("n2", Isolation(network=moved)),
    ):
        runtime.ensure(jailyard.idle(name, isolation=isolation))
    assert f"{GATEWAY}/24" in tool("ip", "address", "show", "dev", BRIDGE)
    runtime.ensure(jailyard.idle("n1", isolation=vnet(11)))
    held = tool("ip", "address", "show", "dev", BRIDGE)
    assert f"{GATEWAY}/24" not in held
    assert f"{MOVED}.1/24" in held


def test_a_jail_that_changes_networks_leaves_nothing_of_the_former_one(root: Path) -> None:
    runtime, other = namespaceyard.runtime_at(root), f"{BRIDGE}b"
    elsewhere = Network(
        kind=NetworkKind.VNET, bridge=other, address=f"{MOVED}.11/24", gateway=f"{MOVED}.1"
    )
    for isolation in (
        Isolation(),
        vnet(11, GATEWAY),
        Isolation(network=elsewhere),
        vnet(12),
        Isolation(),
    ):
        spec = jailyard.idle(isolation=isolation)
        runtime.ensure(spec)
        assert runtime.look()["n1"].program_digest == spec.program_digest()
        links = tool("ip", "-brief", "link", "show", "type", "bridge")
        assert {each for each in (BRIDGE, other) if f"{each} " in links} == {
            isolation.network.bridge
        } - {""}
        assert (namespaceyard.labels_of(root).place in tool("nft", "list", "tables")) is bool(
            isolation.network.gateway
        )
    namespaceyard.runtime_at(root).stop("n1")
    assert namespaceyard.left_on_host(root) == []


def test_one_address_under_two_roots_is_refused_on_one_bridge(root: Path) -> None:
    with namespaceyard.yard() as other:
        namespaceyard.runtime_at(other).ensure(jailyard.idle("n1", isolation=vnet(11)))
        with pytest.raises(JailError, match=r"\.11/24 is that of macula-.*-n1 on"):
            namespaceyard.runtime_at(root).ensure(jailyard.idle("n1", isolation=vnet(11)))
        namespaceyard.runtime_at(root).ensure(jailyard.idle("n1", isolation=vnet(12)))
        assert [each.state for each in namespaceyard.runtime_at(other).look().values()] == [
            JailState.RUNNING
        ]


def test_one_port_of_the_uplink_is_forwarded_under_one_root_only(root: Path, outside: str) -> None:
    here, there = (
        vnet(number, GATEWAY, (Forward(interface=outside, protocol="udp", port=7000),))
        for number in (11, 12)
    )
    with namespaceyard.yard() as other:
        namespaceyard.runtime_at(other).ensure(jailyard.idle(isolation=here))
        runtime = namespaceyard.runtime_at(root)
        with pytest.raises(JailError, match=rf"udp port 7000 of {outside} is forwarded to macula-"):
            runtime.ensure(jailyard.idle(isolation=there))
        assert namespaceyard.labels_of(root).place not in tool("nft", "list", "tables")
        by_tcp = replace(there, forwards=(replace(there.forwards[0], protocol="tcp"),))
        runtime.ensure(jailyard.idle(isolation=by_tcp))
    runtime.ensure(jailyard.idle(isolation=there))


def test_what_a_crash_left_is_known_by_its_name_alone(root: Path) -> None:
    place = namespaceyard.labels_of(root).place
    tool("ip", "netns", "add", place)
    tool("nft", "add", "table", "ip", place)
    runtime = namespaceyard.runtime_at(root)
    assert {name: facts.state for name, facts in runtime.look().items()} == {
        "n1": JailState.STOPPED
    }
    runtime.remove("n1")
    assert namespaceyard.left_on_host(root) == []


def test_a_start_over_leftovers_works(root: Path) -> None:
    labels = namespaceyard.labels_of(root)
    tool("ip", "netns", "add", labels.place)
    tool("ip", "link", "add", "name", labels.interfaces.host_interface, "type", "veth")
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(jailyard.idle(isolation=vnet(11)))
    assert runtime.look()["n1"].state is JailState.RUNNING
    runtime.remove("n1")
    namespaceyard.check_nothing_left(root)


def test_a_start_that_fails_leaves_nothing(root: Path) -> None:
    tool("ip", "link", "add", "name", BRIDGE, "type", "veth")
    try:
        with pytest.raises(JailError, match="is no bridge; name another"):
            namespaceyard.runtime_at(root).ensure(jailyard.idle(isolation=vnet(11)))
    finally:
        tool("ip", "link", "delete", "dev", BRIDGE)
    assert namespaceyard.left_on_host(root) == []


def test_an_interface_of_a_stranger_is_left_alone(root: Path) -> None:
    name = namespaceyard.labels_of(root).interfaces.host_interface
    tool("ip", "link", "add", "name", name, "type", "veth")
    tool("ip", "link", "set", "dev", name, "alias", "a stranger's")
    try:
        with pytest.raises(JailError, match="is somebody else's"):
            namespaceyard.runtime_at(root).ensure(jailyard.idle(isolation=vnet(11)))
        assert "a stranger's" in tool("ip", "link", "show", "dev", name)
    finally:
        tool("ip", "link", "delete", "dev", name)


def test_one_address_for_two_jails_is_refused(root: Path) -> None:
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(jailyard.idle("n1", isolation=vnet(11)))
    with pytest.raises(JailError, match="is that of the jail n1"):
        runtime.ensure(jailyard.idle("n2", isolation=vnet(11)))
    assert list(runtime.look()) == ["n1"]


def test_a_bridge_that_was_there_before_stays(root: Path) -> None:
    tool("ip", "link", "add", "name", BRIDGE, "type", "bridge")
    try:
        runtime = namespaceyard.runtime_at(root)
        runtime.ensure(jailyard.idle(isolation=vnet(11)))
        runtime.remove("n1")
        assert BRIDGE in tool("ip", "link", "show", "dev", BRIDGE)
    finally:
        tool("ip", "link", "delete", "dev", BRIDGE)


def test_a_killed_jail_comes_back_with_its_network(root: Path) -> None:
    runtime = namespaceyard.runtime_at(root)
    runtime.ensure(namespaceyard.jail("n1", ECHO, vnet(11)))
    asking = namespaceyard.jail("n2", f"{ASK}\n{WAIT}", vnet(12))
    pid = jailyard.pid_of(root)
    for each in (jailyard.keeper_of(root), pid):
        os.kill(each, signal.SIGKILL)
    jailyard.eventually("that is seen", lambda: runtime.look()["n1"].pid != pid)
    runtime.ensure(namespaceyard.jail("n1", ECHO, vnet(11)))
    runtime.ensure(replace(asking, command=(*asking.command, f"{NETWORK}.11", "4433")))
    assert namespaceyard.said(root, "n2") == [f"{NETWORK}.12"]


def test_many_come_and_go_on_one_bridge_at_once(root: Path) -> None:
    def come_and_go(number: int) -> None:
        runtime = namespaceyard.runtime_at(root)
        for _ in range(2):
            runtime.ensure(jailyard.idle(f"n{number}", isolation=vnet(number, GATEWAY)))
            runtime.remove(f"n{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(11, 15)))
    namespaceyard.check_nothing_left(root)
