"""Parties: clients, links and paths never have the same number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.rpc.parties import is_client, is_path, number_of, of_client, of_link


@given(st.integers(1, 1 << 40), st.integers(-(1 << 40), 1 << 40))
def test_party_says_what_it_is_and_of_which_number(client: int, link: int) -> None:
    assert of_client(client) != of_link(link)
    assert (number_of(of_client(client)), number_of(of_link(link))) == (client, link)
    assert is_client(of_client(client))
    assert not is_client(of_link(link))
    assert is_path(of_link(link)) == (link < 0)
    assert not is_path(of_client(client))
