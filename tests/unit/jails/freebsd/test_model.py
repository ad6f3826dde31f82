"""The model machine beyond the recordings: what can be made to go wrong, and what it refuses."""

from __future__ import annotations

import pytest

from jails.freebsd.model import Crashed, ModelHost
from jails.freebsd.model.answer import UntaughtCommand
from maculaos.host.commands import CommandFailed

CONF = """\
# one jail
n1 {
  path = "/data/n1";
  host.hostname = "${name}.edge";
  mount.fstab = /data/n1.fstab;
  mount.devfs;
  exec.start = "/usr/sbin/daemon -f -r -R 2 -P /n1.pid -t n1 /bin/sleep 600";
  persist;
}
"""
CREATE = ("jail", "-f", "/data/n1.conf", "-c", "n1")
REMOVE = ("jail", "-f", "/data/n1.conf", "-r", "n1")
DIED = "umount: unmount of /data/n1/usr failed: Device busy\n"


@pytest.fixture
def host() -> ModelHost:
    host = ModelHost()
    host.files.write("/data/n1.conf", CONF.encode())
    shared = ("bin", "usr")
    table = "".join(f"/{name} /data/n1/{name} nullfs ro 0 0\n" for name in shared)
    host.files.write("/data/n1.fstab", table.encode())
    for folder in (*shared, "dev", "root"):
        host.files.make_folder(f"/data/n1/{folder}")
    return host


def paths(host: ModelHost) -> list[str]:
    return [each.path for each in host.mounts.table if each.path.startswith("/data/")]


def test_what_it_was_never_taught_fails_the_test(host: ModelHost) -> None:
    for argv in [("rm", "-rf", "/"), ("jail", "-c", "path=/"), ("ifconfig", "lo0", "media", "x")]:
        with pytest.raises(UntaughtCommand, match=argv[0]):
            host.run(*argv)


def test_failed_commands_raise_as_real_ones_do(host: ModelHost) -> None:
    with pytest.raises(CommandFailed) as failed:
        host.run(*REMOVE)
    assert (failed.value.exit_status, failed.value.stderr) == (1, 'jail: "n1" not found\n')


def test_a_jail_comes_and_goes(host: ModelHost) -> None:
    assert host.run(*CREATE) == "n1: created\n"
    assert host.jails.alive["n1"].hostname == "n1.edge"
    assert paths(host) == ["/data/n1/bin", "/data/n1/usr", "/data/n1/dev"]
    assert host.files.read("/data/n1/n1.pid") == b"778"
    assert host.run(*REMOVE) == "n1: removed\n"
    assert paths(host) == []
    assert host.processes.alive == {}


def test_a_crash_can_come_at_any_moment_and_leaves_what_was_done(host: ModelHost) -> None:
    host.answer(*CREATE)
    last = host.moments
    seen = set()
    for moment in range(1, last + 1):
        fresh = ModelHost()
        fresh.files = host.files
        fresh.mounts._files = host.files
        fresh.crash_at = moment
        with pytest.raises(Crashed):
            fresh.run(*CREATE)
        seen.add((len(paths(fresh)), len(fresh.jails.alive), len(fresh.processes.alive)))
    assert seen == {(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (3, 1, 0), (3, 1, 2)}


def test_a_used_mount_is_busy_until_the_jail_is_gone(host: ModelHost) -> None:
    host.run(*CREATE)
    assert host.answer("umount", "/data/n1/usr").stderr == DIED
    host.run("umount", "-f", "/data/n1/usr")
    assert "/data/n1/usr" not in paths(host)


def test_a_mount_can_be_told_to_be_busy(host: ModelHost) -> None:
    host.mounts.busy["/data/n1/usr"] = 1
    host.run(*CREATE)
    answer = host.answer(*REMOVE)
    assert DIED in answer.stderr
    assert paths(host) == ["/data/n1/usr"]
    host.run("umount", "/data/n1/usr")


def test_a_start_upon_leftover_mounts_is_refused(host: ModelHost) -> None:
    host.run("mount", "-t", "nullfs", "-o", "ro", "/bin", "/data/n1/bin")
    with pytest.raises(CommandFailed, match="Resource deadlock avoided"):
        host.run(*CREATE)


def test_a_removed_jail_can_linger(host: ModelHost) -> None:
    host.jails.linger["n1"] = 2
    host.run(*CREATE)
    host.run(*REMOVE)
    look = ("jls", "-d", "--libxo", "json", "-v")
    assert [host.run(*look).count("DYING") for _ in range(3)] == [1, 1, 0]
    assert host.run(*look[:1], *look[2:]).count("DYING") == 0


def test_a_killed_child_comes_back_and_a_killed_supervisor_does_not(host: ModelHost) -> None:
    host.run(*CREATE)
    host.run("kill", "-9", "779")
    host.advance(1.9)
    assert [each.pid for each in host.processes.of("n1")] == [778]
    host.advance(0.2)
    assert [each.pid for each in host.processes.of("n1")] == [778, 780]
    host.run("kill", "-9", "778")
    host.advance(60.0)
    assert [each.pid for each in host.processes.of("n1")] == [780]


def test_a_bridge_shows_members_and_keeps_no_dead_ones() -> None:
    host = ModelHost()
    for argv in (("bridge0", "create"), ("epair", "create"), ("bridge0", "addm", "epair0a")):
        host.run("ifconfig", *argv)
    assert "member: epair0a flags=143" in host.run("ifconfig", "bridge0")
    assert "PROMISC" in host.run("ifconfig", "epair0a")
    with pytest.raises(CommandFailed, match="File exists"):
        host.run("ifconfig", "bridge0", "addm", "epair0a")
    host.run("ifconfig", "epair0b", "destroy")
    assert "member" not in host.run("ifconfig", "bridge0")
    assert host.run("ifconfig", "-l") == "vtnet0 lo0 bridge0\n"


def test_offload_of_newer_epairs_can_be_switched_off() -> None:
    host = ModelHost()
    host.network.epair_offload = ("TXCSUM", "TXCSUM_IPV6")
    host.run("ifconfig", "epair0", "create")
    assert "options=40000a<TXCSUM,VLAN_MTU,TXCSUM_IPV6>" in host.run("ifconfig", "epair0a")
    host.run("ifconfig", "epair0a", "-txcsum", "-txcsum6")
    assert "options=8<VLAN_MTU>" in host.run("ifconfig", "epair0a")


def test_an_anchor_is_loaded_whole_or_not_at_all() -> None:
    host = ModelHost()
    load = ("pfctl", "-a", "macula/n1", "-f", "-")
    show = ("pfctl", "-a", "macula/n1", "-s", "nat")
    rule = b"rdr pass on vtnet0 inet proto udp to (vtnet0:0) port 1 -> 10.0.0.1\n"
    host.run(*load, stdin=rule)
    before = host.run(*show)
    with pytest.raises(CommandFailed, match="stdin:2: syntax error"):
        host.run(*load, stdin=rule + b"junk\n")
    assert host.run(*show) == before
    host.run(*load, stdin=b"")
    assert host.firewall.anchors == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n1 { path = ", "unexpected EOF"),
        ('n1 { path = "/data', "unexpected EOF"),
        ("n2 { persist; }", 'jail: "n1" not found'),
        ("n1 { path = /data { }", "syntax error"),
    ],
)
def test_a_file_that_jail_cannot_read_is_refused(host: ModelHost, text: str, said: str) -> None:
    host.files.write("/data/n1.conf", text.encode())
    with pytest.raises(CommandFailed, match=said):
        host.run(*CREATE)
