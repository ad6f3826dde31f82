"""What the parsers refuse, and forms that the recorded machine was not asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd import (
    gpart,
    ifconfig,
    jls,
    kenv,
    mount,
    netstat,
    pfctl,
    ps,
    rctl,
    sysctl,
    zfs,
)
from jails.freebsd.unreadable import UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address

PARSERS: dict[str, tuple[Callable[[str], object], ...]] = {
    "jls": (jls.parse_jls, jls.parse_jls_parameters),
    "ifconfig": (ifconfig.parse_interfaces, ifconfig.parse_created),
    "mount": (mount.parse_mounts,),
    "rctl": (rctl.parse_rules, rctl.parse_usage),
    "pfctl": (pfctl.parse_rules, pfctl.parse_anchors),
    "zfs": (zfs.parse_datasets,),
    "sysctl": (sysctl.parse_tunables, sysctl.parse_change),
    "netstat": (netstat.parse_routes, netstat.parse_traffic),
    "ps": (ps.parse_processes,),
    "kenv": (kenv.parse_environment,),
    "gpart": (gpart.parse_tables,),
}
EACH = [(tool, parse) for tool, parses in PARSERS.items() for parse in parses]
BRIDGE = """\
bridge0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> metric 0 mtu 1500
\tether 58:9c:fc:10:10:57
\tmember: epair0a flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>
\t        ifmaxaddr 0 port 4 priority 128 path cost 2000
\tmember: vtnet0 flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>
\t        ifmaxaddr 0 port 1 priority 128 path cost 2000
\tsomething-new: of a later release
"""


@pytest.mark.parametrize(("tool", "parse"), EACH)
def test_a_strange_line_is_told_with_its_tool(tool: str, parse: Callable[[str], object]) -> None:
    line = "Segmentation fault (core dumped) ???"
    with pytest.raises(UnreadableAnswer) as refused:
        parse(f"{line}\n")
    assert refused.value.tool == tool
    assert line in refused.value.line
    assert str(refused.value).startswith(f"{tool}: cannot read its line")


@pytest.mark.parametrize(("tool", "parse"), EACH)
@given(text=st.text())
def test_no_text_makes_a_parser_fall_over(
    tool: str, parse: Callable[[str], object], text: str
) -> None:
    del tool
    with suppress(UnreadableAnswer):
        parse(text)


@pytest.mark.parametrize(
    "bad",
    [
        "lo0: flags=8049<UP> metric 0 mtu 16384\n\tinet 127.0.0.300 netmask 0xff000000\n",
        "lo0: flags=8049<UP> metric 0 mtu 16384\n\tinet6 zz prefixlen 64\n",
        "lo0: flags=8049<UP> metric 0 mtu 16384\n\tether 02:00\n",
        "lo0: flags=8049<UP> metric 0 mtu 16384\n\toptions=zz\n",
        "\tinet 127.0.0.1\n",
    ],
)
def test_ifconfig_reads_addresses_in_full_or_not_at_all(bad: str) -> None:
    with pytest.raises(UnreadableAnswer):
        ifconfig.parse_interfaces(bad)


def test_a_bridge_knows_its_members() -> None:
    bridge = ifconfig.parse_interfaces(BRIDGE)["bridge0"]
    assert bridge.members == ("epair0a", "vtnet0")
    assert bridge.is_up


@pytest.mark.parametrize(
    "entry",
    [
        '{"jid": 1, "name": "a", "hostname": "", "path": "/"}',
        '{"jid": 1, "name": "a", "hostname": "", "path": "/", "state": "ODD"}',
        '{"jid": "x", "name": "a", "hostname": "", "path": "/", "state": "ACTIVE"}',
        '{"jid": 1, "name": 5, "hostname": "", "path": "/", "state": "ACTIVE"}',
    ],
)
def test_jls_rows_are_whole(entry: str) -> None:
    with pytest.raises(UnreadableAnswer):
        jls.parse_jls(f'{{"jail-information": {{"jail": [{entry}]}}}}')


def test_a_dying_jail_is_seen_as_such() -> None:
    entry = '{"jid": 1, "name": "a", "hostname": "h", "path": "/", "state": "DYING"}'
    (row,) = jls.parse_jls(f'{{"jail-information": {{"jail": [{entry}]}}}}')
    assert row.is_dying


def test_rules_of_other_subjects_are_passed_over() -> None:
    assert rctl.parse_rules("user:root:maxproc:deny=5\njail:a:pcpu:deny=50/jail\n") == (
        rctl.Rule(jail="a", resource="pcpu", amount=50),
    )


@given(
    port=st.integers(1, 65535),
    inner=st.none() | st.integers(1, 65535),
    address=st.ip_addresses(v=4),
    protocol=st.sampled_from(["udp", "tcp"]),
)
def test_a_redirect_is_listed_as_it_was_loaded(
    port: int, inner: int | None, address: IPv4Address, protocol: str
) -> None:
    wanted = pfctl.Redirect(
        interface="em0", protocol=protocol, port=port, address=address, inner_port=inner
    )
    listed = wanted.text().replace(" to (", " from any to (").replace(") port ", ") port = ")
    assert pfctl.parse_redirects(listed) == (wanted,)


def test_foreign_anchors_are_no_jails() -> None:
    with pytest.raises(UnreadableAnswer):
        pfctl.parse_anchors("  other/node1\n")


def test_ps_without_a_process_is_empty() -> None:
    assert ps.parse_processes("PID PPID JID USER COMMAND\n") == ()


def test_no_route_is_no_way_out() -> None:
    routes = netstat.parse_routes("Routing tables\n")
    assert routes == ()
    assert netstat.default_interface(routes) is None


def test_traffic_is_what_the_link_counted() -> None:
    rows = (
        '{"name":"em0","network":"10.0.2.0/24","received-bytes":1,"sent-bytes":2},'
        '{"name":"em0","network":"<Link#1>","received-bytes":30,"sent-bytes":40}'
    )
    text = f'{{"__version":"1","statistics":{{"interface":[{rows}]}}}}'
    assert netstat.parse_traffic(text) == netstat.Traffic(received=30, sent=40)
    assert netstat.parse_traffic('{"statistics":{}}') is None


def test_a_mount_is_written_as_fstab_wants_it() -> None:
    line = "/bin /data/jails/a/root/bin nullfs ro 0 0"
    (parsed,) = mount.parse_mounts(line)
    assert parsed.fstab_line() == line


def test_unmounting_asks_for_force_only_when_told() -> None:
    assert mount.unmount_argv("/a") == ("umount", "/a")
    assert mount.unmount_argv("/a", by_force=True) == ("umount", "-f", "/a")
