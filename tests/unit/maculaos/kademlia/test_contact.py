"""Contacts are bounded, and addresses survive the way through a record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kademlia_parts import contact_at
from maculaos.identity import NodeId
from maculaos.kademlia.contact import (
    MAX_ADDRESSES,
    Contact,
    InvalidContact,
    read_addresses,
    write_addresses,
)

addresses = st.builds("10.0.{}.{}:{}".format, *[st.integers(0, 255)] * 2, st.integers(1, 65535))


@given(st.lists(addresses, max_size=MAX_ADDRESSES))
def test_addresses_survive_the_way_through_a_record(written: list[str]) -> None:
    value = write_addresses(written)
    assert value
    assert read_addresses(value) == tuple(written)


@given(st.binary(max_size=5000))
def test_any_value_reads_as_few_addresses_and_none_that_is_no_address(value: bytes) -> None:
    assert len(read_addresses(value)) <= MAX_ADDRESSES


def test_what_is_no_address_is_left_out() -> None:
    assert read_addresses(b"nonsense\n10.0.0.1:1\n\xff:1\n") == ("10.0.0.1:1",)


@pytest.mark.parametrize(
    ("node_id", "written"),
    [(b"short", ()), (bytes(32), ("a:1",) * 9), (bytes(32), ("a" * 260,))],
)
def test_a_contact_beyond_its_bounds_is_refused(node_id: bytes, written: tuple[str, ...]) -> None:
    with pytest.raises(InvalidContact):
        Contact(NodeId(node_id), written)


def test_joining_keeps_the_own_addresses_first_and_the_bound() -> None:
    own = contact_at(1, "a:1", "b:1")
    other = contact_at(1, "b:1", *(f"c:{port}" for port in range(1, 8)))
    joined = own.joined_with(other)
    assert joined.addresses[:3] == ("a:1", "b:1", "c:1")
    assert len(joined.addresses) == MAX_ADDRESSES
    assert own.joined_with(contact_at(1, "a:1")) is own
