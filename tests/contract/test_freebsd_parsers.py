"""Every parser reads every fitting answer of the recorded FreeBSD, with exact results."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

import pytest

from contract import recordings
from jails.freebsd import gpart, ifconfig, jls, kenv, mount, netstat, pfctl, ps, rctl, sysctl
from jails.freebsd.jail import is_existing_jail, is_unknown_jail

pytestmark = pytest.mark.contract

ALL = ("vnet-jail", "vnet-jail-failing", "host", "disk-and-supervised-jail")
NODE1 = jls.JailRow(
    jid=3,
    name="node1",
    hostname="node1.edge",
    path="/data/jails/node1/root",
    is_dying=False,
)
WEB = jls.JailRow(
    jid=1,
    name="web",
    hostname="web.edge",
    path="/data/jails/web/root",
    is_dying=False,
    addresses=("10.88.0.5",),
)


def check_all(parsed: list[object], expected: list[object]) -> None:
    assert parsed == expected


def everywhere(*argv: str) -> list[recordings.Recorded]:
    """Every full answer without an error, in every recording, to a command that starts so."""
    found = [each for name in ALL for each in recordings.answers(name, *argv)]
    return [each for each in found if not each.stderr]


def test_jls_lists_jails_and_says_who_is_dying() -> None:
    rows = [
        jls.parse_jls(each.stdout)
        for name in ALL
        for each in recordings.answers(name, "jls")
        if each.argv[-3:] == ("--libxo", "json", "-v")
    ]
    check_all(list(rows), [(), (NODE1,), (), (), (), (), (), (WEB,)])
    assert set(jls.jls_argv()) == {"jls", "-d", "--libxo", "json", "-v"}


def test_jls_names_parameters() -> None:
    argv = jls.jls_parameters_argv(
        "name", "jid", "path", "host.hostname", "vnet", "persist", "dying", "ip4.addr"
    )
    parsed = [jls.parse_jls_parameters(each.stdout) for each in everywhere(*argv)]
    one = {
        "name": "node1",
        "jid": "3",
        "path": "/data/jails/node1/root",
        "host.hostname": "node1.edge",
        "vnet": "new",
        "persist": True,
        "dying": False,
        "ip4.addr": (),
    }
    check_all(list(parsed), [(one,), ()])


def test_ifconfig_reads_every_interface() -> None:
    parsed = [ifconfig.parse_interfaces(each.stdout) for each in everywhere(*ifconfig.list_argv())]
    assert [list(each) for each in parsed] == [
        ["vtnet0", "lo0", "bridge0", "epair0a", "epair0b"],
        ["vtnet0", "lo0", "bridge0", "epair0a", "epair0b"],
        ["vtnet0", "lo0", "bridge0", "mac_edge_a", "epair0b"],
    ]
    uplink, loopback, bridge, pair, _ = parsed[0].values()
    assert uplink == ifconfig.Interface(
        name="vtnet0",
        flags=frozenset({"UP", "BROADCAST", "RUNNING", "SIMPLEX", "MULTICAST"}),
        mtu=1500,
        options=frozenset({"VLAN_MTU", "JUMBO_MTU", "LINKSTATE"}),
        ether="52:54:00:12:34:56",
        addresses=(IPv4Interface("10.0.2.15/24"),),
    )
    assert loopback.addresses == (
        IPv4Interface("127.0.0.1/8"),
        IPv6Interface("::1/128"),
        IPv6Interface("fe80::1/64"),
    )
    assert bridge.addresses == (IPv4Interface("10.77.0.1/24"),)
    assert (bridge.is_up, bridge.options, bridge.groups) == (True, frozenset(), ("bridge",))
    assert (pair.is_up, pair.ether, pair.groups) == (False, "02:4d:88:e2:f8:0a", ("epair",))
    assert parsed[2]["mac_edge_a"].ether == "02:00:00:aa:bb:01"


def test_ifconfig_reads_one_stack_and_both_ways_of_writing_a_network() -> None:
    (inside,) = [each for each in everywhere("jexec", "node1", "ifconfig") if not each.stderr]
    assert ifconfig.parse_interfaces(inside.stdout)["epair0b"].addresses == (
        IPv4Interface("10.77.0.11/24"),
    )
    (cidr,) = everywhere("ifconfig", "-f", "inet:cidr", "lo0")
    assert ifconfig.parse_interfaces(cidr.stdout)["lo0"].addresses[0] == IPv4Interface(
        "127.0.0.1/8"
    )
    (empty,) = everywhere("ifconfig", "lo1")[:1] and [
        each for each in everywhere("ifconfig", "lo1") if len(each.argv) == 2
    ]
    assert ifconfig.parse_interfaces(empty.stdout)["lo1"].addresses == (
        IPv6Interface("fe80::1/64"),
    )


def test_ifconfig_says_what_it_made() -> None:
    made = [*everywhere("ifconfig", "epair0", "create"), *everywhere("ifconfig", "epair", "create")]
    assert [ifconfig.parse_created(each.stdout) for each in made] == ["epair0a"] * 3


def test_mount_lists_in_the_order_of_mounting() -> None:
    (listed,) = everywhere(*mount.list_argv())
    assert [(each.source, each.path, each.kind, each.options) for each in mount.parse_mounts(
        listed.stdout
    )] == [
        ("/dev/gpt/slotB", "/", "ufs", ("ro",)),
        ("devfs", "/dev", "devfs", ("rw",)),
        ("tmpfs", "/etc", "tmpfs", ("rw",)),
        ("tmpfs", "/var", "tmpfs", ("rw",)),
        ("/dev/gpt/data", "/data", "ufs", ("rw",)),
        ("tmpfs", "/tmp", "tmpfs", ("rw",)),  # noqa: S108  as recorded
    ]  # fmt: skip


def test_umount_says_busy_and_not_mounted() -> None:
    refusals = [
        each.stderr for name in ALL for each in recordings.answers(name, "umount") if each.stderr
    ]
    assert [(mount.is_busy(each), mount.is_not_mounted(each)) for each in refusals] == [
        (False, True),
        (True, False),
    ]


def test_rctl_lists_rules_with_plain_amounts() -> None:
    both = (
        rctl.Rule(jail="node1", resource="maxproc", amount=50),
        rctl.Rule(jail="node1", resource="memoryuse", amount=64 << 20),
    )
    lists = [each for each in everywhere("rctl") if len(each.argv) == 1]
    assert [rctl.parse_rules(each.stdout) for each in lists] == [both, both, (), both, both, ()]


def test_rctl_tells_usage_whole_or_filtered() -> None:
    full = [rctl.parse_usage(each.stdout) for each in everywhere("rctl", "-u")]
    assert [each["pcpu"] for each in full] == [39, 0, 0]
    assert {len(each) for each in full} == {25}
    (some,) = [
        each for each in recordings.load("disk-and-supervised-jail") if each.argv[:2] == (
            "rctl", "-u",
        )
    ]  # fmt: skip
    assert rctl.parse_usage(some.stdout) == {
        "cputime": 0,
        "memoryuse": 3514368,
        "maxproc": 2,
        "openfiles": 0,
        "vmemoryuse": 26120192,
        "pcpu": 4,
    }


def test_pfctl_lists_what_was_loaded() -> None:
    wanted = pfctl.Redirect(
        interface="vtnet0", protocol="udp", port=4433, address=IPv4Address("10.77.0.11")
    )
    (listed,) = everywhere(*pfctl.list_argv("node1"))
    assert pfctl.parse_redirects(listed.stdout) == (wanted,)
    (anchors,) = everywhere(*pfctl.anchors_argv())
    assert pfctl.parse_anchors(anchors.stdout) == ("node1",)
    host = recordings.load("host")
    loaded = next(n for n, each in enumerate(host) if each.argv == pfctl.load_argv("node1"))
    said = host[loaded - 1].argv[1].encode().decode("unicode_escape")
    assert pfctl.rules_text([wanted]).decode() == said


def test_sysctl_reads_values_and_changes() -> None:
    changes = [
        sysctl.parse_change(each.stdout) for each in everywhere("sysctl") if "=" in each.argv[1]
    ]
    assert changes == [
        ("262144", "262144"),
        ("16777216", "16777216"),
        ("42080", "262144"),
        ("2097152", "16777216"),
    ]
    reads = [
        sysctl.parse_tunables(each.stdout)
        for each in everywhere("sysctl")
        if "=" not in each.argv[1]
    ]
    assert [len(each) for each in reads] == [26, 26, 10, 1]
    assert reads[0]["net.isr.dispatch"] == "direct"
    assert reads[2]["hw.model"] == "QEMU TCG CPU version 2.5+"
    assert reads[2]["kern.cp_time"] == "941 0 2348 349 15628"


def test_netstat_knows_the_way_out() -> None:
    (listed,) = everywhere(*netstat.routes_argv())
    routes = netstat.parse_routes(listed.stdout)
    assert routes[0] == netstat.Route(
        destination="default", gateway="10.0.2.2", flags="UGS", interface="vtnet0"
    )
    assert [each.interface for each in routes] == ["vtnet0", "vtnet0", "lo0", "lo0"]
    assert netstat.default_interface(routes) == "vtnet0"


def test_ps_lists_supervisor_and_child() -> None:
    (listed,) = everywhere(*ps.list_argv("web"))
    assert ps.parse_processes(listed.stdout) == (
        ps.JailProcess(pid=778, parent=1, jid=1, user="root", command="daemon: web[779] (daemon)"),
        ps.JailProcess(pid=779, parent=778, jid=1, user="root", command="/bin/sleep 600"),
    )


def test_kenv_reads_quoted_values() -> None:
    (listed,) = [each for each in recordings.load("host") if each.argv == kenv.read_argv()]
    environment = kenv.parse_environment(listed.stdout)
    assert len(environment) == 40
    assert environment["currdev"] == "disk0p4:"
    assert environment["acpi.oem"] == "BOCHS "
    assert environment["comconsole_pcidev"] == ""


def test_gpart_reads_labels_types_and_marks() -> None:
    (labels,) = gpart.parse_tables(everywhere(*gpart.labels_argv())[0].stdout)
    assert (labels.disk, labels.scheme, labels.start, labels.size) == (
        "vtbd0", "GPT", 34, 2457533,
    )  # fmt: skip
    assert [(each.index, each.what) for each in labels.partitions] == [
        (1, "boot"), (2, "efi"), (3, "slotA"), (4, "slotB"), (5, "cfg"), (6, "data"),
    ]  # fmt: skip
    assert labels.partitions[3] == gpart.Partition(
        index=4,
        start=630784,
        size=614400,
        what="slotB",
        attributes=frozenset({"bootfailed", "bootme"}),
    )
    corrupt, mended = (
        gpart.parse_tables(each.stdout)[0] for each in everywhere(*gpart.types_argv("vtbd0"))
    )
    assert (corrupt.is_corrupt, mended.is_corrupt) == (True, False)
    assert corrupt.partitions[2].attributes == {"bootme"}
    assert (corrupt.partitions[5].size, mended.partitions[5].size) == (614400, 2883544)


def test_refusals_about_jails_are_told_apart() -> None:
    refusals = {
        line
        for name in ALL
        for each in recordings.load(name)
        for line in each.stderr.splitlines()
        if each.argv[0] in ("jail", "jls", "jexec", "ps") and each.status != 0
    }
    unknown = {each for each in refusals if is_unknown_jail(each, "node1")}
    assert unknown == {
        'jail: "node1" not found',
        'jls: jail "node1" not found',
        'jexec: jail "node1" not found',
    }
    assert {each for each in refusals if is_unknown_jail(each, "web")} == {
        'jail: "web" not found',
        'jexec: jail "web" not found',
        "ps: Invalid jail id: web",
    }
    assert {each for each in refusals if is_existing_jail(each, "node1")} == {
        'jail: "node1" already exists'
    }
