"""The files of /etc that a seed makes: read by sh and by the reconciler's own reader."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.configuration import RECONCILER_SETTINGS, ethernet, files
from appliance.seed import parse_seed
from maculaos.documents import read_document
from reconciler.settings import ReconcilerSettings
from reconciler.sources.trust import parse_signers
from unit.appliance.startyard import SEED
from unit.appliance.test_seed import FULL

if TYPE_CHECKING:
    from appliance.seed import Seed

INTERFACES = ("vtnet0", "vtnet1")


def made(seed: Seed | None) -> dict[str, str]:
    return {
        file.path: file.content.decode()
        for file in files(seed, "macula-1", INTERFACES)
        if file.content is not None
    }


def variables(made: dict[str, str]) -> dict[str, str]:
    """What sh makes of every file in rc.conf.d."""
    text = "".join(text for path, text in made.items() if path.startswith("/etc/rc.conf.d/"))
    done = subprocess.run(["sh", "-c", f"{text}\nset"], capture_output=True, text=True, check=True)
    return {
        name: value.strip("'")
        for name, _, value in (line.partition("=") for line in done.stdout.splitlines())
    }


def test_static_network_is_said_as_rc_wants_it() -> None:
    said = variables(made(parse_seed(FULL.encode())))
    assert said["ifconfig_igb0"] == "inet 192.0.2.10/24"
    assert said["ifconfig_igb0_ipv6"] == "inet6 2001:db8::10 prefixlen 64"
    assert said["defaultrouter"] == "192.0.2.1"
    assert said["ipv6_defaultrouter"] == "2001:db8::1"
    assert said["gateway_enable"] == "YES"
    assert "ifconfig_vtnet0" not in said


def test_without_seed_every_interface_asks_for_an_address() -> None:
    said = variables(made(None))
    assert {name for name in said if name.startswith("ifconfig_")} == {
        "ifconfig_vtnet0",
        "ifconfig_vtnet1",
    }
    assert (said["hostname"], said["reconciler_enable"]) == ("macula-1", "NO")
    assert (said["gateway_enable"], said["syslogd_flags"]) == ("NO", "-ss")


def test_reconciler_reads_its_settings() -> None:
    text = made(parse_seed(SEED))[RECONCILER_SETTINGS]
    settings = read_document(text.encode(), "x", ReconcilerSettings).value
    assert settings.repository.url == "https://git.example/site.git"
    assert settings.runtime == "jail"
    assert (settings.network.kind, settings.network.uplink) == ("vnet", "vtnet0")
    assert settings.credentials_dir == Path("/cfg/credentials")
    assert variables(made(parse_seed(SEED)))["reconciler_enable"] == "YES"


def test_signers_of_the_seed_are_those_that_the_reconciler_trusts() -> None:
    said = made(parse_seed(FULL.encode()))
    assert len(parse_signers(said["/etc/macula/allowed_signers"].encode())) == 1
    settings = read_document(said[RECONCILER_SETTINGS].encode(), "x", ReconcilerSettings).value
    assert settings.trust.allowed_signers == Path("/etc/macula/allowed_signers")
    assert variables(said)["reconciler_enable"] == "YES"
    unsigned = read_document(
        made(parse_seed(SEED))[RECONCILER_SETTINGS].encode(), "x", ReconcilerSettings
    ).value
    assert unsigned.trust.allowed_signers is None


def test_log_time_and_ports_follow_the_seed() -> None:
    said = made(parse_seed(FULL.encode()))
    assert said["/etc/syslog.d/remote.conf"].endswith("*.*\t@[2001:db8::14]:514\n")
    assert "server 192.0.2.123 iburst\npool time.example iburst\n" in said["/etc/ntp.servers.conf"]
    assert 'quic_ports = "{ 4433, 4701 }"' in said["/etc/pf.ports.conf"]
    assert said["/etc/resolv.conf"].count("nameserver ") == 2
    assert variables(said)["syslogd_flags"] == "-s"


def test_lease_gives_the_name_servers_unless_the_seed_does() -> None:
    assert "/etc/resolv.conf" not in made(None)
    seed = parse_seed(b"version = 1\n[network]\nnameservers = ['192.0.2.53']\n")
    assert "supersede domain-name-servers 192.0.2.53;" in made(seed)["/etc/dhclient.conf"]


def test_only_what_takes_a_cable_is_ethernet() -> None:
    made = ("lo0", "bridge77", "epair3a", "epair3b", "mc0012ab34a", "tap0", "pflog0", "wg0")
    assert ethernet(("igb0", *made, "vtnet1")) == ("igb0", "vtnet1")
