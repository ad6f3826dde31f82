"""Entries of the bootstrap list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.discovery.bootstrap import MAX_ADDRESSES, MAX_SIZE, decode, encode, key_of
from maculaos.discovery.candidates import dialable


@given(st.lists(st.integers(1, 65_535).map(lambda port: f"10.0.0.1:{port}"), unique=True))
def test_an_entry_is_read_as_it_was_written(addresses: list[str]) -> None:
    assert decode(encode(addresses)) == tuple(addresses[:MAX_ADDRESSES])


@given(st.binary())
def test_whatever_an_entry_holds_only_addresses_come_of_it(value: bytes) -> None:
    assert all(dialable(each) == each for each in decode(value))


def test_hostile_entries_are_empty() -> None:
    assert decode(b"[" * MAX_SIZE) == decode(b'"a:1"') == decode(b'[1, {}, "x"]') == ()
    assert decode(b'["a:1"]' + b" " * MAX_SIZE) == ()


def test_every_realm_has_a_key_of_its_own() -> None:
    assert len(key_of("home")) == 32
    assert key_of("home") != key_of("away")
