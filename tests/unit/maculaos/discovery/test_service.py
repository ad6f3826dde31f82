"""What is announced in a local network, and whose announcements count."""

from __future__ import annotations

import pytest

from discovering import identity
from maculaos.discovery.service import TYPE, addresses_at, is_other, services_of


def test_a_node_announces_one_service_for_each_port() -> None:
    advertised = ("10.0.0.1:4701", "[fd00::1]:4701", "10.0.0.1:5000", "edge.example:4701")
    first, second = services_of(identity("n1"), advertised)
    assert (first.port, first.ips) == (4701, ("10.0.0.1", "fd00::1"))
    assert (second.port, second.ips) == (5000, ("10.0.0.1",))
    assert first.instance != second.instance
    assert first.instance.endswith(f".{TYPE}")
    assert all(len(label) <= 63 for label in first.instance.split("."))


def test_no_service_has_an_address_that_means_nothing_elsewhere() -> None:
    assert services_of(identity("n1"), ("edge.example:4701", "[fe80::1%2]:4701")) == ()


def txt(name: str, realm: str = "home") -> dict[bytes, bytes | None]:
    (service,) = services_of(identity(name, realm), ("10.0.0.1:4701",))
    return {key.encode(): value.encode() for key, value in service.txt.items()}


def test_only_other_nodes_of_the_own_realm_count() -> None:
    me = identity("n1")
    assert is_other(txt("n2"), me)
    assert not is_other(txt("n1"), me)
    assert not is_other(txt("n2", "away"), me)


@pytest.mark.parametrize("said", [{}, {b"realm": None}, {b"id": b"x"}, {b"realm": b"home "}])
def test_who_names_no_realm_does_not_count(said: dict[bytes, bytes | None]) -> None:
    assert not is_other(said, identity("n1"))


def test_an_address_that_names_no_interface_where_it_must_is_left_out() -> None:
    ips = ["10.0.0.1", "fe80::1", "fe80::1%2", "169.254.1.1", "224.0.0.1"]
    assert addresses_at(ips, 4701) == ("10.0.0.1:4701", "[fe80::1%2]:4701")
    assert addresses_at(ips, 0) == ()
