"""Configured and joined addresses."""

from __future__ import annotations

import pytest

from maculaos.discovery.static import MAX_FOUND, MAX_JOINED, StaticPeers, TooManyPeers


def test_reading_the_configuration_again_tells_what_changed() -> None:
    peers = StaticPeers()
    assert peers.configure(("a:1", "b:1")) == (("a:1", "b:1"), ())
    assert peers.configure(("b:1", "c:1")) == (("c:1",), ("a:1",))
    assert "b:1" in peers
    assert "a:1" not in peers


def test_a_joined_address_outlives_the_configuration() -> None:
    peers = StaticPeers()
    peers.configure(("a:1",))
    peers.join("a:1")
    assert peers.configure(()) == ((), ())
    assert "a:1" in peers


def test_joined_addresses_are_bounded() -> None:
    peers = StaticPeers()
    for port in range(MAX_JOINED):
        peers.join(f"a:{port}")
    with pytest.raises(TooManyPeers):
        peers.join("b:1")
    peers.join("a:1")


def test_what_is_found_is_wanted_until_nobody_names_it() -> None:
    peers = StaticPeers()
    peers.configure(["a:1"])
    assert peers.find("mdns", ["a:1", "b:1"]) == (("b:1",), ())
    assert peers.find("srv", ["b:1", "c:1"]) == (("c:1",), ())
    assert peers.find("mdns", []) == ((), ())
    assert peers.find("srv", []) == ((), ("b:1", "c:1"))
    assert list(peers) == ["a:1"]


def test_one_way_of_discovery_cannot_crowd_out_the_others() -> None:
    peers = StaticPeers()
    added, _ = peers.find("noisy", [f"a:{port}" for port in range(1, 1000)])
    assert len(added) == MAX_FOUND
