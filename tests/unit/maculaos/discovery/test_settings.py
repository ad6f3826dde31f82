"""The settings of discovery, as a configuration file says them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maculaos.configuration import read_settings
from maculaos.discovery.methods.remembered import file_of
from maculaos.discovery.settings import DiscoverySettings, DnsSettings, MdnsSettings
from maculaos.documents import InvalidDocument, read_document

if TYPE_CHECKING:
    from pathlib import Path


def read(text: str) -> DiscoverySettings:
    return read_document(text.encode(), "discovery.yaml", DiscoverySettings).value


def test_the_defaults_stand_for_an_empty_section() -> None:
    assert read("{}") == DiscoverySettings()


@pytest.mark.parametrize(
    "text",
    [
        "dns: {domains: ['a b']}",
        "dns: {domains: ['-a.example']}",
        "dns: {domains: ['']}",
        f"dns: {{domains: ['{'a.' * 121}']}}",
        "dns: {nameservers: [ns.example]}",
        "dns: {interval_min_s: 10.0, interval_max_s: 5.0}",
        "mdns: {interfaces: [eth0]}",
        "retry_base_s: 10.0\nretry_max_s: 5.0",
        "carrier_pigeon: {}",
        "bootstrap: {size: 0}",
    ],
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocument):
        read(text)


def test_a_domain_is_kept_without_its_last_dot() -> None:
    assert read("dns: {domains: [mesh.example.]}").dns.domains == ("mesh.example",)


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1", "localhost"])
def test_multicast_dns_is_off_for_a_node_at_loopback_unless_it_is_told_where(
    listening: str,
) -> None:
    assert MdnsSettings().off_because(listening)
    assert MdnsSettings(interfaces=("127.0.0.1",)).off_because(listening) is None
    assert MdnsSettings(enabled=False, interfaces=("127.0.0.1",)).off_because(listening)


@pytest.mark.parametrize(
    ("listening", "chosen"),
    [("10.0.0.1", ("10.0.0.1",)), ("0.0.0.0", ()), ("::", ()), ("edge.example", ())],  # noqa: S104
)
def test_multicast_dns_asks_where_the_node_listens(listening: str, chosen: tuple[str, ...]) -> None:
    assert MdnsSettings().off_because(listening) is None
    assert MdnsSettings().chosen(listening) == chosen
    assert MdnsSettings(interfaces=("10.0.0.7",)).chosen(listening) == ("10.0.0.7",)


def test_dns_is_off_without_domains() -> None:
    assert DnsSettings().off_because("10.0.0.1")
    assert DnsSettings(domains=("mesh.example",)).off_because("10.0.0.1") is None


def test_dns_honours_a_time_to_live_within_bounds() -> None:
    settings = DnsSettings(interval_min_s=5.0, interval_max_s=60.0)
    assert [settings.pause_s(ttl) for ttl in (0, 30, 1e9)] == [5.0, 30, 60.0]


def test_waits_grow_up_to_their_ceiling() -> None:
    settings = DiscoverySettings(retry_base_s=1.0, retry_max_s=30.0)
    ceilings = [settings.retry_ceiling_s(failures) for failures in (1, 2, 10, 10_000)]
    assert ceilings == [2.0, 4.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("section", "file"),
    [("", None), ("discovery: {remembered: {file: var/peers}}\n", "var/peers")],
)
def test_a_relative_path_is_seen_from_the_folder_of_the_configuration(
    tmp_path: Path, section: str, file: str | None
) -> None:
    config = tmp_path / "n1.yaml"
    config.write_text(
        "version: 1\nname: n1\nrealm: home\nlisten: {port: 4701}\ncontrol_socket: n1.sock\n"
        f"credentials: {{certificate: n1.crt, key: n1.key, realm_ca: ca.crt}}\n{section}"
    )
    settings = read_settings(config)
    assert settings.discovery.remembered.file == (None if file is None else tmp_path / file)
    assert file_of(settings) == tmp_path / (file or "n1.sock.peers")
